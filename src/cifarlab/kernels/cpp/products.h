// Products of small matrices that lie in a core's caches, summed up in registers.

#pragma once

#include "lanes.h"

namespace {

constexpr int64_t COLUMNS = 2 * LANES;  // channels_out at a time, in two registers

// Terms of a sum as they lie in the words of a register: one float each or, for the instruction that multiplies pairs,
// two bf16
template <class T> struct Terms;

template <> struct Terms<float> {
    static constexpr int64_t PACKED = 1;
    static inline Words pack(const Floats* x) { return (Words)x[0]; }
    static inline Floats add(Floats sum, Words values, Words filters) {
        return sum + (Floats)values * (Floats)filters;  // one instruction, by -ffp-contract=fast
    }
};

#if defined(__AVX512BF16__)
template <> struct Terms<bf16> {
    static constexpr int64_t PACKED = 2;
    static inline Words pack(const Floats* x) {
        alignas(64) static constexpr uint16_t IN_TURNS[] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                            21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                            11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)x[1], (__m512)x[0]);
        return (Words)_mm512_permutexvar_epi16(_mm512_load_si512(IN_TURNS), both);
    }
    static inline Floats add(Floats sum, Words values, Words filters) {
        return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)values, (__m512bh)filters);
    }
};
#endif

inline Words load_words(const uint32_t* from) {
    Words x;
    std::memcpy(&x, __builtin_assume_aligned(from, 4 * LANES), sizeof x);
    return x;
}

// sums[ROWS][COLUMNS] of the products of values with filters[word][COLUMNS], over some words
template <class T, int ROWS> struct Products {
    Floats sum[ROWS][2] = {};

    // values[word][APART], of which ROWS are used
    template <int APART>
    __attribute__((always_inline)) inline void add_rows(const uint32_t* values, const uint32_t* filters,
                                                        int64_t words) {
        add([=](int64_t row, int64_t word) { return values[APART * word + row]; }, filters, words);
    }

    // values[ROWS][words]
    __attribute__((always_inline)) inline void add_lines(const uint32_t* values, const uint32_t* filters,
                                                         int64_t words) {
        const uint32_t* from[(ROWS + 3) / 4];  // four rows each, which addresses can count by themselves
        for (int64_t i = 0; i < (ROWS + 3) / 4; ++i) from[i] = values + 4 * i * words;
        add([&](int64_t row, int64_t word) { return from[row / 4][row % 4 * words + word]; }, filters, words);
    }

    template <class Value>
    __attribute__((always_inline)) inline void add(Value value_at, const uint32_t* filters, int64_t words) {
        for (int64_t word = 0; word < words; ++word) {
            Words left = load_words(filters + COLUMNS * word), right = load_words(filters + COLUMNS * word + LANES);
#pragma GCC unroll 16
            for (int64_t row = 0; row < ROWS; ++row) {
                Words value = Words{} + value_at(row, word);
                sum[row][0] = Terms<T>::add(sum[row][0], value, left);
                sum[row][1] = Terms<T>::add(sum[row][1], value, right);
            }
        }
    }

    inline void store(float* to) const {
        for (int row = 0; row < ROWS; ++row) ::store_two(to + row * COLUMNS, sum[row][0], sum[row][1]);
    }
};

}  // namespace
