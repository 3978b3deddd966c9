// The gradient for the filters of a 3x3 or 1x1 convolution in bf16: for each tap, the sum over all pixels of the
// products of the neighbour's values and the pixel's gradients.
//
// AVX-512 multiplies bf16 in pairs of terms. The pairs here are the same pixel of two images, so that a tap's
// neighbours are pairs as well: values and gradients are interleaved once per block of images, and pixels whose
// neighbour lies outside of the map are left out. What remains are products of small matrices that fit into a core's
// own caches, summed up in registers (K. Goto and R. van de Geijn, Anatomy of High-Performance Matrix Multiplication,
// 2008).
//
// Not built for CPUs with AMX, whose matrix units this would leave idle.

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)

#include "pairs.h"

#include <algorithm>
#include <vector>

namespace {

// Maps of values, of which every `step`-th pixel of every `step`-th row is wanted: height * width of them
struct Maps {
    long height, width, step;
};

struct Shape {
    long images, height, width, channels, out_height, out_width, channels_out, stride, side;
    Maps from;

    long taps() const { return side * side; }
    long pixels() const { return height * width; }
    long out_pixels() const { return out_height * out_width; }
    long value_map() const { return pixels() * channels; }
    long from_map() const { return from.height * from.width * channels; }
    long gradient_map() const { return out_pixels() * channels_out; }
    // pairs of images
    long all() const { return (images + 1) / 2; }
    long in_block() const {
        return std::min(all(), ::in_block(value_map() + gradient_map(), taps() * channels * channels_out));
    }
};

// Some pairs of images. values are kept as [rows of a tile][pixel][pair][row], gradients as
// [columns][pixel][pair][column]
class Block {
public:
    explicit Block(const Shape& shape)
        : shape(shape), zeros(std::max(shape.from_map(), shape.gradient_map())),
          values(shape.in_block() * shape.value_map()),
          gradients(shape.in_block() * shape.gradient_map()) {}

    void load(const bf16* all_values, const bf16* all_gradients, long first, long last) {
        pairs = last - first;
        for (long pair = 0; pair < pairs; ++pair) {
            long one = 2 * (first + pair);
            bool has_other = one + 1 < shape.images;
            const bf16* value = all_values + one * shape.from_map();
            const bf16* gradient = all_gradients + one * shape.gradient_map();
            load_values(value, has_other ? value + shape.from_map() : zeros.data(), pair);
            load_gradients(gradient, has_other ? gradient + shape.gradient_map() : zeros.data(), pair);
        }
    }

    // sums: [side][side][channels][channels_out]; meanwhile asks for the pairs that come next
    void add_to(float* sums, const bf16* all_values, const bf16* all_gradients, long next, long end) const {
        long part = 0, parts = shape.taps() * (shape.channels_out / COLUMNS);
        long num = std::min(2 * end, shape.images) - 2 * next;
        for (long tap = 0; tap < shape.taps(); ++tap)
            for (long column = 0; column < shape.channels_out; column += COLUMNS, ++part) {
                prefetch(all_values + 2 * next * shape.from_map(), num * shape.from_map() * 2, part, parts);
                prefetch(all_gradients + 2 * next * shape.gradient_map(), num * shape.gradient_map() * 2, part, parts);
                for (long row = 0; row < shape.channels; row += rows_at(row, shape.channels)) {
                    float* to = sums + (tap * shape.channels + row) * shape.channels_out + column;
                    long below = tap / shape.side - shape.side / 2, right = tap % shape.side - shape.side / 2;
                    if (rows_at(row, shape.channels) == 12)
                        multiply<12>(below, right, row, column, to);
                    else
                        multiply<8>(below, right, row, column, to);
                }
            }
    }

private:
    const Shape& shape;
    std::vector<bf16> zeros;
    Buffer values, gradients;
    long pairs = 0;

    void load_values(const bf16* one, const bf16* other, long pair) {
        for (long row = 0; row < shape.channels; row += rows_at(row, shape.channels)) {
            long rows = rows_at(row, shape.channels);
            for (long pixel = 0; pixel < shape.pixels(); ++pixel) {
                long from = place(pixel) * shape.channels + row;
                uint32_t* to = values.words + row * shape.pixels() * pairs + (pixel * pairs + pair) * rows;
                for (long k = 0; k < rows; k += 4) {
                    __m128i low = _mm_loadl_epi64((const __m128i*)(one + from + k));
                    __m128i high = _mm_loadl_epi64((const __m128i*)(other + from + k));
                    _mm_storeu_si128((__m128i*)(to + k), _mm_unpacklo_epi16(low, high));
                }
            }
        }
    }

    long place(long pixel) const {
        return (pixel / shape.width * shape.from.width + pixel % shape.width) * shape.from.step;
    }

    void load_gradients(const bf16* one, const bf16* other, long pair) {
        for (long pixel = 0; pixel < shape.out_pixels(); ++pixel)
            for (long c = 0; c < shape.channels_out; c += 16) {
                long from = pixel * shape.channels_out + c, column = c / COLUMNS * COLUMNS;
                __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(one + from)));
                __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(other + from)));
                long place = (column * shape.out_pixels() + pixel * COLUMNS) * pairs + pair * COLUMNS + c % COLUMNS;
                uint32_t* to = gradients.words + place;
                _mm512_store_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
            }
    }

    // The sums of ROWS channels and COLUMNS channels_out over the pixels whose neighbour (below, right) is inside
    template <int ROWS> void multiply(long below, long right, long row, long column, float* to) const {
        const uint32_t* of_rows = values.words + row * shape.pixels() * pairs;
        const uint32_t* of_columns = gradients.words + column * shape.out_pixels() * pairs;
        long first_x = right < 0,
             last_x = std::min(shape.out_width, (shape.width - 1 - right + shape.stride) / shape.stride);
        long last_y = std::min(shape.out_height, (shape.height - 1 - below + shape.stride) / shape.stride);
        long together = shape.stride == 1 ? last_x - first_x : 1;  // neighbours of neighbours lie side by side, or not
        Sums<ROWS> sums;
        for (long y = below < 0; y < last_y; ++y)
            for (long x = first_x; x < last_x; x += together) {
                long pixel = (y * shape.stride + below) * shape.width + x * shape.stride + right;
                sums.add(of_rows + pixel * pairs * ROWS, of_columns + (y * shape.out_width + x) * pairs * COLUMNS,
                         together * pairs);
            }
        sums.add_to(to, shape.channels_out);
    }
};

}  // namespace

// values (images, height, width, channels), gradients (images, out_height, out_width, channels_out); channels is a
// multiple of 8, channels_out one of 32; side: of the filters, 3 or 1. result: (channels_out, side, side, channels), as
// channels-last filters are stored.
extern "C" void weight_gradient(const bf16* values, const bf16* gradients, long images, long height, long width,
                                long channels, long out_height, long out_width, long channels_out, long stride,
                                long side, float* result) {
    Shape shape{images, height, width, channels, out_height, out_width, channels_out, stride, side, {height, width, 1}};
    if (side == 1)
        shape.height = out_height, shape.width = out_width, shape.stride = 1, shape.from = {height, width, stride};
    sum_in_blocks<Block>(values, gradients, shape, result);
}

#endif
