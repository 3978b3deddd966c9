// The filters of 3x3 convolutions as winograd.cpp wants them: [channels_out / 32][FILTERS^2][channels][32] numbers, in bf16
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

// Writes the words of PACKED channels, whose taps load(channel, tap) gives; the numbers are `apart`
template <class W, class T, class Load> inline void write_words(Load load, uint32_t* to, long apart) {
    constexpr int NUMBERS = W::FILTERS * W::FILTERS, PACKED = Words16<T>::PACKED;
    Floats numbers[NUMBERS][PACKED];
    for (int channel = 0; channel < PACKED; ++channel)
        in_square<3, W::FILTERS>(
            W::filters, [&](int tap) { return load(channel, tap); },
            [&](int number, Floats value) { numbers[number][channel] = value; });
    for (int number = 0; number < NUMBERS; ++number)
        _mm512_store_si512(to + number * apart, Words16<T>::of(numbers[number]));
}

// From [channels_out][9][channels]
template <class W, class T>
void transform_filters(const float* filters, long channels, long channels_out, uint32_t* result) {
    constexpr long PACKED = Words16<T>::PACKED, NUMBERS = W::FILTERS * W::FILTERS;
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
                write_words<W, T>([&](int channel, int tap) { return taps[tap][word * PACKED + channel]; },
                                  to + word * COLUMNS, words * COLUMNS);
        }
}

// From [channels][9][channels_out], turned by half a turn
template <class W, class T>
void transform_turned_filters(const float* filters, long channels, long channels_out, uint32_t* result) {
    constexpr long PACKED = Words16<T>::PACKED, NUMBERS = W::FILTERS * W::FILTERS;
    long words = channels / PACKED;
#pragma omp parallel for collapse(2) schedule(static)
    for (long c = 0; c < channels_out; c += LANES)
        for (long word = 0; word < words; ++word) {
            const float* from = filters + word * PACKED * 9 * channels_out + c;
            write_words<W, T>(
                [=](int channel, int tap) { return load(from + (channel * 9 + 8 - tap) * channels_out); },
                result + (c / COLUMNS * NUMBERS * words + word) * COLUMNS + c % COLUMNS, words * COLUMNS);
        }
}

}  // namespace

// kind: as winograd.cpp has it; channels even and at least 16, channels_out a multiple of 32
#define EXPORT(T)                                                                                                      \
    extern "C" void winograd_filters_##T(const float* f, long kind, long c, long o, uint32_t* to) {                    \
        by_kind<T>(kind, [&](auto w) { transform_filters<decltype(w), T>(f, c, o, to); });                             \
    }                                                                                                                  \
    extern "C" void winograd_turned_filters_##T(const float* f, long kind, long c, long o, uint32_t* to) {             \
        by_kind<T>(kind, [&](auto w) { transform_turned_filters<decltype(w), T>(f, c, o, to); });                      \
    }

EXPORT(float)
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
EXPORT(bf16)

extern "C" void halving_filters(const float* f, long c, long o, uint32_t* to) { transform_filters<Halving, bf16>(f, c, o, to); }
extern "C" void doubling_filters(const float* f, long c, long o, uint32_t* to) {
    transform_turned_filters<Halving, bf16>(f, c, o, to);
}
#endif

#endif
