// Sums of products of bf16 numbers that lie in memory as pairs of terms, as AVX-512 takes them.

#pragma once

#include "buffer.h"
#include "lanes.h"

#include <immintrin.h>
#include <algorithm>
#include <vector>

namespace {

constexpr long COLUMNS = 32;           // that are summed up at once, in two registers
constexpr long BLOCK_WORDS = 1 << 20;  // in a block

// values: [pairs][APART], of which ROWS are summed up; gradients: [pairs][COLUMNS]
template <int ROWS, int APART = ROWS> struct Sums {
    __m512 sum[ROWS][2];

    Sums() {
        for (auto& row : sum) row[0] = row[1] = _mm512_setzero_ps();
    }

    inline void add(const uint32_t* values, const uint32_t* gradients, long pairs) {
        for (long pair = 0; pair < pairs; ++pair) {
            __m512bh left = (__m512bh)_mm512_load_si512(gradients + COLUMNS * pair);
            __m512bh right = (__m512bh)_mm512_load_si512(gradients + COLUMNS * pair + 16);
#pragma GCC unroll 16
            for (int row = 0; row < ROWS; ++row) {
                __m512bh value = (__m512bh)_mm512_set1_epi32(values[APART * pair + row]);
                sum[row][0] = _mm512_dpbf16_ps(sum[row][0], value, left);
                sum[row][1] = _mm512_dpbf16_ps(sum[row][1], value, right);
            }
        }
    }

    inline void store(float* to) const {
        for (int row = 0; row < ROWS; ++row)
            for (int half = 0; half < 2; ++half) _mm512_store_ps(to + row * COLUMNS + 16 * half, sum[row][half]);
    }

    inline void add_to(float* sums, long channels_out) const {
        for (int row = 0; row < ROWS; ++row)
            for (int half = 0; half < 2; ++half) {
                float* at = sums + row * channels_out + 16 * half;
                _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), sum[row][half]));
            }
    }
};

// Pairs of images in a block, for so many words of each: small enough for the caches that cores share, large enough to
// be worth loading and storing the sums for
inline long pairs_in_block(long words_of_pair) { return std::max(1L, BLOCK_WORDS / words_of_pair); }

// [rows][channels_out] to result[channels_out][rows]; rows is a multiple of 8
inline void transpose(const float* sums, long rows, long channels_out, float* result) {
#pragma omp for schedule(static)
    for (long first = 0; first < rows; first += 8)
        for (long c = 0; c < channels_out; ++c)
            for (long row = first; row < first + 8; ++row) result[c * rows + row] = sums[row * channels_out + c];
}

// result[channels_out][9][channels] of all images, one block after the other, each by all cores
template <class Block, class Shape>
void sum_in_blocks(const bf16* values, const bf16* gradients, const Shape& shape, float* result) {
    std::vector<float> sums(9 * shape.channels * shape.channels_out, 0.f);
    Block block(shape);
    long in_block = 2 * shape.pairs_in_block();
#pragma omp parallel
    {
        for (long first = 0; first < shape.images; first += in_block) {
            block.load(values, gradients, first, std::min(first + in_block, shape.images));
            block.add_to(sums.data());
        }
        transpose(sums.data(), 9 * shape.channels, shape.channels_out, result);
    }
}

// 12 rows use the registers best; 8 make the number come out
inline long rows_at(long row, long rows) { return rows - row == 12 || rows - row >= 20 ? 12 : 8; }

}  // namespace
