// Transforms the filters of 3x3 convolutions; winograd_filters.h says how.

#if defined(__AVX512F__)

#include "winograd_filters.h"

// kind: as winograd.cpp has it; channels even and at least 16, channels_out a multiple of 32. From [channels_out][9]
// [channels]
#define EXPORT(T)                                                                                      \
    extern "C" void winograd_filters_##T(const float* taps, long kind, long c, long o, uint32_t* to) { \
        by_kind<T>(kind, [&](auto k) { transform_all<decltype(k), T>({taps, c, o, false}, to); });     \
    }

EXPORT(float)
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
EXPORT(bf16)
#endif

#endif
