// What batch norm makes of the sums of a batch, per channel; batch_norm.py has the formulas.

#include <algorithm>
#include <cmath>

// sums: of x and of x * x over `num` values. Moves the running statistics by `momentum`.
// mean and r are what the gradient needs; scale * x + shift is the norm.
extern "C" void batch_statistics(const double* sums, long num, long channels, const float* weight, const float* bias,
                                 double momentum, double eps, float* running_mean, float* running_var, double* mean,
                                 double* r, float* scale, float* shift) {
    for (long c = 0; c < channels; ++c) {
        double m = sums[c] / num, variance = std::max(sums[channels + c] / num - m * m, 0.0);
        double unbiased = variance * num / (num - 1);
        running_mean[c] += (float)momentum * ((float)m - running_mean[c]);
        running_var[c] += (float)momentum * ((float)unbiased - running_var[c]);
        mean[c] = m, r[c] = 1 / std::sqrt(variance + eps);
        double by = r[c] * weight[c];
        scale[c] = by, shift[c] = bias[c] - m * by;
    }
}

// sums: of the gradient g and of g * x. The gradient for x is scale * g + of_x * x + constant.
extern "C" void batch_gradient(const double* sums, long num, long channels, const double* mean, const double* r,
                               const float* scale, float* for_weight, float* for_bias, float* of_x, float* constant) {
    for (long c = 0; c < channels; ++c) {
        double by = scale[c], centred = sums[channels + c] - sums[c] * mean[c];
        double by_x = -by * r[c] * r[c] * centred / num;
        for_weight[c] = r[c] * centred, for_bias[c] = sums[c];
        of_x[c] = by_x, constant[c] = -by * sums[c] / num - by_x * mean[c];
    }
}
