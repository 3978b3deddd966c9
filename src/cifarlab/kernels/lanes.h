// Sixteen channels at once, as floats, whatever type they have in memory.

#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

struct bf16 {
    uint16_t bits;
};

inline Floats load(const float* from) {
    Floats x;
    std::memcpy(&x, from, sizeof x);
    return x;
}
inline void store(float* to, Floats x) { std::memcpy(to, &x, sizeof x); }

inline Floats load(const bf16* from) {
#if defined(__AVX512F__)
    // compilers make six instructions of the plain form
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
    return (Floats)_mm512_slli_epi32(words, 16);
#else
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return (Floats)(__builtin_convertvector(halves, Words) << 16);
#endif
}

// To the nearest, ties to even
inline void store(bf16* to, Floats x) {
#if defined(__AVX512BF16__)
    __m256bh halves = _mm512_cvtneps_pbh((__m512)x);
#else
    Words bits = (Words)x;
    Words nearest_even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    Words rounded = x == x ? nearest_even : (Words)(Ints{} + 0x7fc0);
    Halves halves = __builtin_convertvector(rounded, Halves);
#endif
    std::memcpy(to, &halves, sizeof halves);
}

#if defined(__AVX512BF16__)
// The bf16 numbers of both as pairs
inline __m512i paired(Floats one, Floats other) {
    alignas(64) static constexpr uint16_t IN_TURNS[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)other, (__m512)one);
    return _mm512_permutexvar_epi16(_mm512_load_si512(IN_TURNS), both);
}
#endif

// Both, one behind the other: a whole cache line of bf16 at once
inline void store_two(float* to, Floats x, Floats y) { store(to, x), store(to + LANES, y); }
inline void store_two(bf16* to, Floats x, Floats y) {
#if defined(__AVX512BF16__)
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x));
#else
    store(to, x), store(to + LANES, y);
#endif
}

#if defined(__AVX512F__)
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
#endif

// One bit per number, from the lowest on
inline uint16_t above_0(Floats x) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_GT_OQ);
#else
    uint16_t bits = 0;
    for (int i = 0; i < LANES; ++i) bits |= (uint16_t)(x[i] > 0.f) << i;
    return bits;
#endif
}

inline void add(float* to, Floats x) { store(to, load(to) + x); }

// The largest of four and its place (0 to 3), of equal ones the first; NaN counts as largest, as in torch
inline Floats largest(const Floats* values, Ints* place) {
    Floats best = values[0];
    *place = Ints{};
    for (int i = 1; i < 4; ++i) {
        Ints better = (values[i] > best) | (values[i] != values[i]);
        best = better ? values[i] : best;
        *place = better ? Ints{} + i : *place;
    }
    return best;
}

}  // namespace
