// Sums of products of bf16 numbers that lie in memory as pairs of terms, as AVX-512 takes them.

#pragma once

#include "buffer.h"
#include "lanes.h"
#include "prefetch.h"

#include <immintrin.h>
#include <omp.h>
#include <algorithm>
#include <cstring>
#include <vector>

namespace {

constexpr long COLUMNS = 32;           // that are summed up at once, in two registers
constexpr long BLOCK_WORDS = 1 << 17;  // in a block, or as many as there are sums
constexpr long SUMS = 1 << 26;         // of all cores: more of them would have too much to add up

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

// How many of something fit into a block, for so many words of each: few enough for a core's caches, enough to be worth
// loading and storing so many sums for
inline long in_block(long words, long sums) { return std::max(1L, std::max(BLOCK_WORDS, sums) / words); }

// The sums of all cores, [rows][channels_out] each, to result[channels_out][rows]; rows is a multiple of 8
inline void add_transposed(const float* sums, long cores, long rows, long channels_out, float* result) {
#pragma omp for schedule(static)
    for (long first = 0; first < rows; first += 8)
        for (long c = 0; c < channels_out; ++c)
            for (long row = first; row < first + 8; ++row) {
                float sum = 0;
                for (long core = 0; core < cores; ++core) sum += sums[(core * rows + row) * channels_out + c];
                result[c * rows + row] = sum;
            }
}

// result[channels_out][taps][channels] of all that `shape` says is to be summed up. Each core takes its share, block after
// block, and has sums of its own: cores may be far from each other, and what one has written is then slow to read for
// another.
template <class Block, class Shape>
void sum_in_blocks(const bf16* values, const bf16* gradients, const Shape& shape, float* result) {
    long rows = shape.taps() * shape.channels, size = rows * shape.channels_out;
    long most = std::max(1L, std::min({shape.all(), SUMS / size, (long)omp_get_max_threads()}));
    Buffer sums(most * size);
#pragma omp parallel num_threads(most)
    {
        long core = omp_get_thread_num(), cores = omp_get_num_threads();
        float* of_core = (float*)sums.words + core * size;
        std::memset(of_core, 0, size * sizeof(float));
        Block block(shape);
        long start = core * shape.all() / cores, num = (core + 1) * shape.all() / cores - start;
        long blocks = (num + shape.in_block() - 1) / shape.in_block();
        auto first_of = [=](long i) { return start + std::min(i, blocks) * num / blocks; };
        for (long i = 0; i < blocks; ++i) {
            block.load(values, gradients, first_of(i), first_of(i + 1));
            block.add_to(of_core, values, gradients, first_of(i + 1), first_of(i + 2));
        }
#pragma omp barrier
        add_transposed((const float*)sums.words, cores, rows, shape.channels_out, result);
    }
}

// 12 rows use the registers best; 8 make the number come out
inline long rows_at(long row, long rows) { return rows - row == 12 || rows - row >= 20 ? 12 : 8; }

}  // namespace
