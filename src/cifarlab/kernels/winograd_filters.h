// Filters as winograd.cpp wants them: [channels_out / 32][FILTERS^2][channels][32] numbers, in bf16 as words of two
// channels, of which one more per channel_out is unused. Sixteen channels_out are transformed at once.

#pragma once

#include "winograd.h"

#include <immintrin.h>
#include <algorithm>

namespace {

constexpr long COLUMNS = 32;  // channels_out at a time, in two registers

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

// From one number of filters to the next one; in bf16, where filters are transformed in every step, cache lines more
// than there are, or all numbers would lie in the same places of the caches
template <class T> constexpr long matrix_words(long channels) {
    return (channels / Words16<T>::PACKED + Words16<T>::PACKED - 1) * COLUMNS;
}

// Writes the words of PACKED channels, whose taps load(channel, tap) gives; the numbers are `apart`, and so are the
// cache lines that are asked for, of the word after the next
template <class W, class T, class Load> inline void write_words(Load load, uint32_t* to, long apart) {
    constexpr int NUMBERS = W::FILTERS * W::FILTERS, PACKED = Words16<T>::PACKED;
    Floats numbers[NUMBERS][PACKED];
    for (int channel = 0; channel < PACKED; ++channel)
        in_square<3, W::FILTERS>(
            W::filters, [&](int tap) { return load(channel, tap); },
            [&](int number, Floats value) { numbers[number][channel] = value; });
    for (int number = 0; number < NUMBERS; ++number) __builtin_prefetch(to + number * apart + 2 * COLUMNS, 1, 2);
    for (int number = 0; number < NUMBERS; ++number)
        _mm512_store_si512(to + number * apart, Words16<T>::of(numbers[number]));
}

// Sixteen channels_out from `out` on, and sixteen channels from `channel` on, from [channels_out][9][channels]
template <class W, class T>
void transform_square(const float* filters, long channels, long out, long channel, uint32_t* to) {
    constexpr long PACKED = Words16<T>::PACKED;
    Floats taps[9][LANES];
    for (long tap = 0; tap < 9; ++tap) {
        for (long i = 0; i < LANES; ++i) {
            const float* from = filters + ((out + i) * 9 + tap) * channels + channel;
            __builtin_prefetch(from + LANES, 0, 2);  // of the next sixteen channels
            taps[tap][i] = load(from);
        }
        transpose(taps[tap]);
    }
    to += channel / PACKED * COLUMNS + out % COLUMNS;
    for (long word = 0; word < LANES / PACKED; ++word)
        write_words<W, T>([&](int channel, int tap) { return taps[tap][word * PACKED + channel]; }, to + word * COLUMNS,
                          matrix_words<T>(channels));
}

// The same from [channels][9][channels_out], turned by half a turn
template <class W, class T>
void transform_turned_square(const float* filters, long channels, long channels_out, long out, long channel,
                             uint32_t* to) {
    constexpr long PACKED = Words16<T>::PACKED;
    to += channel / PACKED * COLUMNS + out % COLUMNS;
    for (long word = 0; word < LANES / PACKED; ++word) {
        const float* from = filters + (channel + word * PACKED) * 9 * channels_out + out;
        write_words<W, T>([=](int channel, int tap) { return load(from + (channel * 9 + 8 - tap) * channels_out); },
                          to + word * COLUMNS, matrix_words<T>(channels));
    }
}

// Filters as they lie in memory
struct Filters {
    const float* taps;
    long channels, channels_out;
    bool turned;

    // `to`: where the numbers of the 32 channels_out begin
    template <class W, class T> void transform(long out, long channel, uint32_t* to) const {
        channel = std::min(channel, channels - LANES);  // the last ones overlap where 16 do not divide the channels
        if (turned)
            transform_turned_square<W, T>(taps, channels, channels_out, out, channel, to);
        else
            transform_square<W, T>(taps, channels, out, channel, to);
    }
};

// All of them
template <class W, class T> void transform_all(const Filters& filters, uint32_t* result) {
    long of_columns = W::FILTERS * W::FILTERS * matrix_words<T>(filters.channels);
#pragma omp parallel for collapse(2) schedule(static)
    for (long out = 0; out < filters.channels_out; out += LANES)
        for (long channel = 0; channel < filters.channels; channel += LANES)
            filters.transform<W, T>(out, channel, result + out / COLUMNS * of_columns);
}

}  // namespace
