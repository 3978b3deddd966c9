// Adds up, for 32 channels_out at a time, what batch norm needs.

#pragma once

#include "winograd_filters.h"

#include <omp.h>
#include <vector>

namespace {

// Sums of values and of values * others
struct Totals {
    Floats total[COLUMNS / LANES] = {}, products[COLUMNS / LANES] = {};

    inline void note(long half, Floats value, Floats other) { total[half] += value, products[half] += value * other; }

    void add_to(double* sums, long channels_out) const {
        for (long c = 0; c < COLUMNS; ++c) {
            sums[c] += total[c / LANES][c % LANES];
            sums[channels_out + c] += products[c / LANES][c % LANES];
        }
    }
};

// The sums that each core has for itself, until they are added up; none where `sums` is null
class Adding {
public:
    Adding(double* sums, long channels_out)
        : sums(sums), num(2 * channels_out), totals(sums ? omp_get_max_threads() * num : 0, 0.0) {}
    ~Adding() {
        for (size_t i = 0; i < totals.size(); ++i) sums[i % num] += totals[i];
    }
    double* mine() { return sums ? totals.data() + omp_get_thread_num() * num : nullptr; }

private:
    double* sums;
    long num;
    std::vector<double> totals;
};

}  // namespace
