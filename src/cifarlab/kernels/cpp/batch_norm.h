// What batch norm's gradient is made with; ops/batch_norm.py has the formulas.

#pragma once

#include "lanes.h"
#include "memory.h"

namespace {

// Of a batch, per channel
struct Norm {
    const double* sums;     // of the gradient g behind the norm, and of g * x
    const double* moments;  // mean and r
    const float* affine;    // scale and shift
    float* weights;         // gets the gradients for the norm's weight and bias
};

// The gradient for `num` values x per channel: scale * g + slope * (x - mean) + shift
class Linear {
public:
    Linear(const Norm& norm, int64_t num, int64_t channels) : channels(channels), numbers(4 * channels) {
        for (int64_t c = 0; c < channels; ++c) {
            double mean = norm.moments[c], r = norm.moments[channels + c], scale = norm.affine[c], sum = norm.sums[c];
            double centred = norm.sums[channels + c] - sum * mean;
            norm.weights[c] = r * centred, norm.weights[channels + c] = sum;
            numbers[c] = scale, numbers[channels + c] = -scale * r * r * centred / num;
            numbers[2 * channels + c] = mean, numbers[3 * channels + c] = -scale * sum / num;
        }
    }

    inline Floats at(int64_t c, Floats gradient, Floats x) const {
        const float* of = numbers.start + c;
        return load(of) * gradient + load(of + channels) * (x - load(of + 2 * channels)) + load(of + 3 * channels);
    }

private:
    int64_t channels;
    Array<float> numbers;
};

}  // namespace
