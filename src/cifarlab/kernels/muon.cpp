// What Muon's step does with filters besides its products of matrices, in one pass over memory each; see muon_step.py.

#include "lanes.h"

// average = momentum * average + gradient; direction = gradient + momentum * average. `num` is a multiple of 16.
extern "C" void muon_average(const float* gradient, float* average, long num, double momentum, bf16* direction) {
    float by = (float)momentum;
#pragma omp parallel for schedule(static)
    for (long i = 0; i < num; i += LANES) {
        Floats of_step = load(gradient + i), mean = by * load(average + i) + of_step;
        store(average + i, mean);
        store(direction + i, of_step + by * mean);
    }
}

// filter = scale * filter + factor * direction
extern "C" void muon_move(float* filter, const bf16* direction, long num, double scale, double factor) {
    float by = (float)scale, step = (float)factor;
#pragma omp parallel for schedule(static)
    for (long i = 0; i < num; i += LANES) store(filter + i, by * load(filter + i) + step * load(direction + i));
}
