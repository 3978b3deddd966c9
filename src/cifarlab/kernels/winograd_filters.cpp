// The filters of 3x3 convolutions as winograd.cpp wants them: [channels_out / 32][N * N][channels][32] numbers, in bf16
// as words of two channels. Sixteen channels_out are transformed at once.

#if defined(__AVX512F__)

#include "winograd.h"

#include <immintrin.h>
#include <algorithm>

namespace {

constexpr long COLUMNS = 32;  // channels_out that winograd.cpp takes at once

// How many channels fit into a word of 32 bits, and the words of 16 channels_out
template <class T> struct Words16;

template <> struct Words16<float> {
    static constexpr long PACKED = 1;
    static inline __m512i of(const Floats* channels) { return (__m512i)channels[0]; }
};

#if defined(__AVX512BF16__)
template <> struct Words16<bf16> {
    static constexpr long PACKED = 2;
    static inline __m512i of(const Floats* channels) { return paired(channels[0], channels[1]); }
};
#endif

// Writes the words of PACKED channels, whose taps load(channel, tap) gives; the N * N numbers are `apart`
template <int M, class T, class Load> inline void write_words(Load load, uint32_t* to, long apart) {
    constexpr int NUMBERS = Winograd<M>::N * Winograd<M>::N, PACKED = Words16<T>::PACKED;
    Floats numbers[NUMBERS][PACKED];
    for (int channel = 0; channel < PACKED; ++channel)
        in_square<3, Winograd<M>::N>(
            Winograd<M>::filters, [&](int tap) { return load(channel, tap); },
            [&](int number, Floats value) { numbers[number][channel] = value; });
    for (int number = 0; number < NUMBERS; ++number)
        _mm512_store_si512(to + number * apart, Words16<T>::of(numbers[number]));
}

// Rows become columns: squares of 1, 2, 4 and 8 beside the diagonal change places
inline void transpose(Floats* rows) {
#pragma GCC unroll 4
    for (int side = 1; side < LANES; side *= 2) {
        Ints upper, lower;
        for (int k = 0; k < LANES; ++k) upper[k] = k & side ? LANES + k - side : k, lower[k] = upper[k] + side;
#pragma GCC unroll 16
        for (int i = 0; i < LANES; ++i) {
            if (i & side) continue;
            __m512 one = (__m512)rows[i], other = (__m512)rows[i + side];
            rows[i] = (Floats)_mm512_permutex2var_ps(one, (__m512i)upper, other);
            rows[i + side] = (Floats)_mm512_permutex2var_ps(one, (__m512i)lower, other);
        }
    }
}

// From [channels_out][9][channels]
template <int M, class T>
void transform_filters(const float* filters, long channels, long channels_out, uint32_t* result) {
    constexpr long PACKED = Words16<T>::PACKED, NUMBERS = Winograd<M>::N * Winograd<M>::N;
    long words = channels / PACKED;
#pragma omp parallel for collapse(2) schedule(static)
    for (long c = 0; c < channels_out; c += LANES)
        for (long k = 0; k < channels; k += LANES) {
            long first = std::min(k, channels - LANES);  // the last ones overlap where 16 do not divide the channels
            Floats taps[9][LANES];
            for (long tap = 0; tap < 9; ++tap) {
                for (long i = 0; i < LANES; ++i) taps[tap][i] = load(filters + ((c + i) * 9 + tap) * channels + first);
                transpose(taps[tap]);
            }
            uint32_t* to = result + (c / COLUMNS * NUMBERS * words + first / PACKED) * COLUMNS + c % COLUMNS;
            for (long word = 0; word < LANES / PACKED; ++word)
                write_words<M, T>([&](int channel, int tap) { return taps[tap][word * PACKED + channel]; },
                                  to + word * COLUMNS, words * COLUMNS);
        }
}

// From [channels][9][channels_out], turned by half a turn
template <int M, class T>
void transform_turned_filters(const float* filters, long channels, long channels_out, uint32_t* result) {
    constexpr long PACKED = Words16<T>::PACKED, NUMBERS = Winograd<M>::N * Winograd<M>::N;
    long words = channels / PACKED;
#pragma omp parallel for collapse(2) schedule(static)
    for (long c = 0; c < channels_out; c += LANES)
        for (long word = 0; word < words; ++word) {
            const float* from = filters + word * PACKED * 9 * channels_out + c;
            write_words<M, T>(
                [=](int channel, int tap) { return load(from + (channel * 9 + 8 - tap) * channels_out); },
                result + (c / COLUMNS * NUMBERS * words + word) * COLUMNS + c % COLUMNS, words * COLUMNS);
        }
}

}  // namespace

// m: 2, in bf16 also 3 or 4, and 1 for strided.cpp; channels even and at least 16, channels_out a multiple of 32
#define EXPORT(T)                                                                                                      \
    extern "C" void winograd_filters_##T(const float* f, long m, long c, long o, uint32_t* to) {                       \
        if (m == 1) return transform_filters<1, T>(f, c, o, to);                                                       \
        by_side<T>(m, [&](auto side) { transform_filters<side(), T>(f, c, o, to); });                                  \
    }                                                                                                                  \
    extern "C" void winograd_turned_filters_##T(const float* f, long m, long c, long o, uint32_t* to) {                \
        if (m == 1) return transform_turned_filters<1, T>(f, c, o, to);                                                \
        by_side<T>(m, [&](auto side) { transform_turned_filters<side(), T>(f, c, o, to); });                           \
    }

EXPORT(float)
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
EXPORT(bf16)
#endif

#endif
