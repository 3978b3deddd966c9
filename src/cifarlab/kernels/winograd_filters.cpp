// Transforms the filters of 3x3 convolutions; winograd_filters.h says how.

#if defined(__AVX512F__)

#include "winograd_filters.h"

namespace {

template <class W, class T> void transform_all(const Filters& filters, uint32_t* result) {
    long of_columns = W::FILTERS * W::FILTERS * matrix_words<T>(filters.channels);
#pragma omp parallel for collapse(2) schedule(static)
    for (long out = 0; out < filters.channels_out; out += LANES)
        for (long channel = 0; channel < filters.channels; channel += LANES)
            filters.transform<W, T>(out, channel, result + out / COLUMNS * of_columns);
}

}  // namespace

// kind: as winograd.cpp has it; channels even and at least 16, channels_out a multiple of 32. From [channels_out][9]
// [channels], or turned from [channels][9][channels_out]
#define EXPORT(T)                                                                                                   \
    extern "C" void winograd_filters_##T(const float* taps, long turned, long kind, long c, long o, uint32_t* to) { \
        by_kind<T>(kind, [&](auto k) { transform_all<decltype(k), T>({taps, c, o, turned != 0}, to); });            \
    }

EXPORT(float)
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
EXPORT(bf16)
#endif

#endif
