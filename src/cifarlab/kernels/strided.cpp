// 3x3 convolutions with stride 2 and padding 1 in bf16, and their gradients for the images.
//
// A core copies some maps into its caches, with zeros around them, and sums up the products of 8 pixels and 32 channels
// in registers, tap after tap. In the gradient, pixels of the four combinations of even and odd rows and columns have
// one, two or four taps each.

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)

#include "buffer.h"
#include "lanes.h"
#include "prefetch.h"

#include <immintrin.h>
#include <omp.h>
#include <algorithm>
#include <cstring>

namespace {

constexpr long COLUMNS = 32;  // channels of the result at a time, in two registers
constexpr long SIDE = 4;      // pixels that lie side by side
constexpr long GROUPS = 2;    // of them at a time
constexpr long PIXELS = 128;  // of the result in a block, enough to be worth reading the filters for

// What a pixel of the result takes: from which neighbour (to be added to its own place), and with which tap
struct Tap {
    long y, x, number;
};

// Pixels (top + 2 y, left + 2 x) of the result, or all of them with `apart` 1
struct Pixels {
    long top, left, apart, height, width, num_taps;
    Tap taps[9];

    long groups() const { return height * ((width + SIDE - 1) / SIDE); }
};

// Maps (images, height, width, channels) and a result of other sizes
struct Shape {
    long images, height, width, channels, out_height, out_width, channels_out, stride;

    // of a copy with zeros on all sides
    long padded_width() const { return width + 2 + SIDE * stride; }
    long padded() const { return (height + 2) * padded_width() * channels; }
    long map() const { return height * width * channels; }
    long out_map() const { return out_height * out_width * channels_out; }
};

// sums[GROUPS * SIDE][COLUMNS] over all taps; pixels: where the groups begin, `words` apart per channel pair
inline void multiply(const uint32_t* const* groups, const Shape& s, const Pixels& pixels, const uint32_t* filters,
                     __m512 (*sum)[2]) {
    long words = s.channels / 2, step = words * s.stride;
    for (long row = 0; row < GROUPS * SIDE; ++row) sum[row][0] = sum[row][1] = _mm512_setzero_ps();
    for (const Tap* tap = pixels.taps; tap < pixels.taps + pixels.num_taps; ++tap) {
        const uint32_t* of_tap = filters + tap->number * words * COLUMNS;
        const uint32_t* from[GROUPS];
        for (long i = 0; i < GROUPS; ++i) from[i] = groups[i] + (tap->y * s.padded_width() + tap->x) * words;
        for (long word = 0; word < words; ++word) {
            __m512bh left = (__m512bh)_mm512_load_si512(of_tap + COLUMNS * word),
                     right = (__m512bh)_mm512_load_si512(of_tap + COLUMNS * word + 16);
#pragma GCC unroll 8
            for (long row = 0; row < GROUPS * SIDE; ++row) {
                __m512bh value = (__m512bh)_mm512_set1_epi32(from[row / SIDE][row % SIDE * step + word]);
                sum[row][0] = _mm512_dpbf16_ps(sum[row][0], value, left);
                sum[row][1] = _mm512_dpbf16_ps(sum[row][1], value, right);
            }
        }
    }
}

// One kind of pixels of some images for COLUMNS channels of the result
void convolve(const bf16* copies, long images, const Shape& s, const Pixels& pixels, const uint32_t* filters,
              bf16* result) {
    long across = (pixels.width + SIDE - 1) / SIDE, groups = images * pixels.groups();
    for (long group = 0; group < groups; group += GROUPS) {
        const uint32_t* from[GROUPS];
        bf16* to[GROUPS];
        long columns[GROUPS];
        for (long i = 0; i < GROUPS; ++i) {
            long at = std::min(group + i, groups - 1), image = at / pixels.groups();
            long y = at % pixels.groups() / across, x = at % across * SIDE;
            from[i] = (const uint32_t*)(copies + image * s.padded() +
                                        ((y * s.stride + 1) * s.padded_width() + x * s.stride + 1) * s.channels);
            to[i] = result + image * s.out_map() +
                    ((pixels.top + y * pixels.apart) * s.out_width + pixels.left + x * pixels.apart) * s.channels_out;
            columns[i] = std::min(SIDE, pixels.width - x);
        }
        __m512 sum[GROUPS * SIDE][2];
        multiply(from, s, pixels, filters, sum);
        for (long i = 0; i < GROUPS; ++i)
            for (long k = 0; k < columns[i]; ++k)
                store_two(to[i] + k * pixels.apart * s.channels_out, (Floats)sum[i * SIDE + k][0],
                          (Floats)sum[i * SIDE + k][1]);
    }
}

// Copies a map into the middle of zeros
void copy(const bf16* map, const Shape& s, bf16* to) {
    for (long y = 0; y < s.height; ++y)
        std::memcpy(to + ((y + 1) * s.padded_width() + 1) * s.channels, map + y * s.width * s.channels,
                    s.width * s.channels * sizeof(bf16));
}

// All kinds of pixels of all images
void convolve_all(const bf16* maps, const uint32_t* filters, const Shape& s, const Pixels* kinds, long num_kinds,
                  bf16* result) {
    long at_once = std::max(1L, PIXELS / (s.out_height * s.out_width)), filter = 9 * s.channels / 2 * COLUMNS;
#pragma omp parallel
    {
        Buffer copies((at_once * s.padded() + SIDE * s.stride * s.channels) / 2);
        std::memset(copies.words, 0, (at_once * s.padded() + SIDE * s.stride * s.channels) * sizeof(bf16));
#pragma omp for schedule(static)
        for (long first = 0; first < s.images; first += at_once) {
            long num = std::min(at_once, s.images - first);
            for (long i = 0; i < num; ++i)
                copy(maps + (first + i) * s.map(), s, (bf16*)copies.words + i * s.padded());
            for (long column = 0; column < s.channels_out; column += COLUMNS) {
                prefetch(maps + (first + num) * s.map(), num * s.map() * sizeof(bf16), column / COLUMNS,
                         s.channels_out / COLUMNS);
                prefetch<1>(result + first * s.out_map() + column, num * s.out_height * s.out_width, 64,
                            s.channels_out * sizeof(bf16), 0, 1);
                for (const Pixels* kind = kinds; kind < kinds + num_kinds; ++kind)
                    convolve((const bf16*)copies.words, num, s, *kind, filters + column / COLUMNS * filter,
                             result + first * s.out_map() + column);
            }
        }
    }
}

// The taps of even or odd rows (or columns) of the gradient: from which place of the result's, and which of three
struct Line {
    long num, places[2], taps[2];
};
constexpr Line LINES[] = {{1, {0}, {1}}, {2, {0, 1}, {2, 0}}};

}  // namespace

// images (n, h, w, c), c even and at least 16; filters as winograd_filters with m = 1 gives them; result
// (n, (h + 1) / 2, (w + 1) / 2, o), o a multiple of 32
extern "C" void strided(const bf16* images, const uint32_t* filters, long n, long h, long w, long c, long o,
                        bf16* result) {
    Shape s{n, h, w, c, (h + 1) / 2, (w + 1) / 2, o, 2};
    Pixels all{0, 0, 1, s.out_height, s.out_width, 9, {}};
    for (long tap = 0; tap < 9; ++tap) all.taps[tap] = {tap / 3 - 1, tap % 3 - 1, tap};
    convolve_all(images, filters, s, &all, 1, result);
}

// gradient (n, (h + 1) / 2, (w + 1) / 2, o), o even and at least 16; filters as winograd_turned_filters with m = 1 gives
// them; result (n, h, w, c), c a multiple of 32
extern "C" void strided_gradient(const bf16* gradient, const uint32_t* filters, long n, long h, long w, long c, long o,
                                 bf16* result) {
    Shape s{n, (h + 1) / 2, (w + 1) / 2, o, h, w, c, 1};
    Pixels kinds[4];
    for (long kind = 0; kind < 4; ++kind) {
        long top = kind / 2, left = kind % 2;
        kinds[kind] = {top, left, 2, (h - top + 1) / 2, (w - left + 1) / 2, 0, {}};
        for (long i = 0; i < LINES[top].num; ++i)
            for (long k = 0; k < LINES[left].num; ++k)
                kinds[kind].taps[kinds[kind].num_taps++] = {LINES[top].places[i], LINES[left].places[k],
                                                            8 - (LINES[top].taps[i] * 3 + LINES[left].taps[k])};
    }
    convolve_all(gradient, filters, s, kinds, 4, result);
}

#endif
