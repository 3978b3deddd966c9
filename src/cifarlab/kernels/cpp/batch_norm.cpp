// What batch norm makes of the sums of a batch, per channel; ops/batch_norm.py has the formulas.

#include "exported.h"
#include "lanes.h"

#include <algorithm>
#include <cmath>

// sums: of x and of x * x over `num` values. Moves the running statistics by `momentum`.
// moments [mean, r] are what the gradient needs; affine [scale, shift] makes the norm of x.
EXPORTED void batch_statistics(const double* sums, int64_t num, int64_t channels, const float* weight,
                               const float* bias, double momentum, double eps, float* running_mean, float* running_var,
                               double* moments, float* affine) {
    for (int64_t c = 0; c < channels; ++c) {
        double m = sums[c] / num, variance = std::max(sums[channels + c] / num - m * m, 0.0);
        double unbiased = variance * num / (num - 1);
        running_mean[c] += (float)momentum * ((float)m - running_mean[c]);
        running_var[c] += (float)momentum * ((float)unbiased - running_var[c]);
        double r = 1 / std::sqrt(variance + eps), by = r * weight[c];
        moments[c] = m, moments[channels + c] = r;
        affine[c] = by, affine[channels + c] = bias[c] - m * by;
    }
}

EXPORTED int64_t lanes() { return LANES; }
