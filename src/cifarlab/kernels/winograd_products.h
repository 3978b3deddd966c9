// The products of winograd.cpp: small matrices that lie in a core's caches, summed up in registers.

#pragma once

#include "winograd_filters.h"

#include <immintrin.h>

namespace {

constexpr long ROWS = 8;  // patches at a time: 16 registers of sums

// What multiplies and adds the channels of a word
template <class T> struct Arithmetic;

template <> struct Arithmetic<float> {
    static inline __m512 add(__m512 sum, __m512i values, __m512i filters) {
        return _mm512_fmadd_ps((__m512)values, (__m512)filters, sum);
    }
};

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#define WITH_BF16
template <> struct Arithmetic<bf16> {
    static inline __m512 add(__m512 sum, __m512i values, __m512i filters) {
        return _mm512_dpbf16_ps(sum, (__m512bh)values, (__m512bh)filters);
    }
};
#endif

// sums[ROWS][COLUMNS] = values[ROWS][words] * filters[words][COLUMNS]
template <class T>
__attribute__((always_inline)) inline void multiply_here(const uint32_t* values, const uint32_t* filters, long words,
                                                         float* sums) {
    __m512 sum[ROWS][2];
    for (auto& row : sum) row[0] = row[1] = _mm512_setzero_ps();
    const uint32_t* from[ROWS / 4];
    for (long i = 0; i < ROWS / 4; ++i) from[i] = values + 4 * i * words;
    for (long word = 0; word < words; ++word) {
        __m512i left = _mm512_load_si512(filters + COLUMNS * word),
                right = _mm512_load_si512(filters + COLUMNS * word + 16);
#pragma GCC unroll 16
        for (long row = 0; row < ROWS; ++row) {
            __m512i value = _mm512_set1_epi32(from[row / 4][row % 4 * words + word]);
            sum[row][0] = Arithmetic<T>::add(sum[row][0], value, left);
            sum[row][1] = Arithmetic<T>::add(sum[row][1], value, right);
        }
    }
    for (long row = 0; row < ROWS; ++row)
        for (long half = 0; half < 2; ++half) _mm512_store_ps(sums + COLUMNS * row + 16 * half, sum[row][half]);
}

template <class T> inline void multiply(const uint32_t* values, const uint32_t* filters, long words, float* sums) {
    multiply_here<T>(values, filters, words, sums);
}

// Among everything else compilers lose its registers in float32, and it takes 1.2 times as long
template <>
__attribute__((noinline)) void multiply<float>(const uint32_t* values, const uint32_t* filters, long words,
                                               float* sums) {
    multiply_here<float>(values, filters, words, sums);
}

}  // namespace
