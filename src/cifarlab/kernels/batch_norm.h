// What batch norm's gradient is made with; batch_norm.py has the formulas.

#pragma once

#include "lanes.h"

#include <vector>

namespace {

// Of a batch, per channel
struct Norm {
    const double* sums;     // of the gradient g behind the norm, and of g * x
    const double* moments;  // mean and r
    const float* affine;    // scale and shift
    float* weights;         // gets what the norm's weight and bias gain
};

// The gradient for `num` values x per channel: k * g + l * x + m
class Linear {
public:
    Linear(const Norm& norm, long num, long channels) : channels(channels), numbers(3 * channels) {
        for (long c = 0; c < channels; ++c) {
            double mean = norm.moments[c], r = norm.moments[channels + c], by = norm.affine[c], sum = norm.sums[c];
            double centred = norm.sums[channels + c] - sum * mean, by_x = -by * r * r * centred / num;
            norm.weights[c] = r * centred, norm.weights[channels + c] = sum;
            numbers[c] = by, numbers[channels + c] = by_x, numbers[2 * channels + c] = -by * sum / num - by_x * mean;
        }
    }

    inline Floats at(long c, Floats gradient, Floats x) const {
        const float* k = numbers.data() + c;
        return load(k) * gradient + load(k + channels) * x + load(k + 2 * channels);
    }

private:
    long channels;
    std::vector<float> numbers;
};

}  // namespace
