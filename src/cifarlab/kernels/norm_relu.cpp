// Batch norm, a shortcut to add, and ReLU in one pass over memory, for maps stored as (N, H, W, C); see batch_norm.py.

#include "lanes.h"
#include "sums.h"

namespace {

// y = max(scale * x + shift + added, 0)
template <class T>
void relu_of_affine(const T* x, const T* added, long pixels, long channels, const float* scale, const float* shift,
                    T* y) {
#pragma omp parallel for schedule(static)
    for (long pixel = 0; pixel < pixels; ++pixel)
        for (long c = 0; c < channels; c += LANES) {
            long at = pixel * channels + c;
            Floats value = load(x + at) * load(scale + c) + load(shift + c);
            if (added) value += load(added + at);
            store(y + at, value < 0.f ? Floats{} : value);  // what is no number stays none
        }
}

// inner = gradient where y is above 0, and the sums of inner and inner * x per channel; without y where scale * x + shift
// is
template <class T>
void relu_gradient_and_sums(const T* gradient, const T* x, const T* y, const float* scale, const float* shift,
                            long images, long pixels, long channels, T* inner, double* total) {
    sum_over_images(images, channels, total, [=](long image, float* sum) {
        for (long pixel = image * pixels; pixel < (image + 1) * pixels; ++pixel)
            for (long c = 0; c < channels; c += LANES) {
                long at = pixel * channels + c;
                Floats of_x = load(x + at), output = y ? load(y + at) : of_x * load(scale + c) + load(shift + c);
                Floats value = output > 0.f ? load(gradient + at) : Floats{};
                store(inner + at, value);
                add(sum + c, value);
                add(sum + channels + c, value * of_x);
            }
    });
}

}  // namespace

#define EXPORT(T)                                                                                                      \
    extern "C" void relu_of_affine_##T(const T* x, const T* d, long p, long c, const float* a, const float* b, T* y) { \
        relu_of_affine(x, d, p, c, a, b, y);                                                                           \
    }                                                                                                                  \
    extern "C" void relu_gradient_and_sums_##T(const T* g, const T* x, const T* y, const float* a, const float* b,     \
                                               long n, long p, long c, T* z, double* total) {                          \
        relu_gradient_and_sums(g, x, y, a, b, n, p, c, z, total);                                                      \
    }

EXPORT(float)
EXPORT(bf16)
