// The gradient for the filters of a 3x3 convolution with stride 1 with fewer products: the transpose of winograd.cpp.
//
// An N x N patch of values and the M x M gradients above it become N * N numbers each; what was a sum of 9 * M * M
// products is one of N * N, and the sums over all patches become the 3x3 numbers for the filters at the end. Pairs of
// terms are the same patch of two images. See winograd.h for the transformations, weight_gradient.cpp for the rest.

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)

#include "pairs.h"
#include "winograd.h"

#include <algorithm>
#include <vector>

namespace {

constexpr long ROWS = 8;  // that are summed up at once

struct Shape {
    long m, images, height, width, channels, out_height, out_width, channels_out;

    long across() const { return (out_width + m - 1) / m; }
    long patches() const { return (out_height + m - 1) / m * across(); }
    long rows() const { return (channels + LANES - 1) / LANES * LANES; }
    long value_map() const { return height * width * channels; }
    long gradient_map() const { return out_height * out_width * channels_out; }
    // terms: patches of pairs of images
    long all() const { return (images + 1) / 2 * patches(); }
    long in_block() const {
        return std::min(all(), ::in_block((m + 2) * (m + 2) * (rows() + channels_out), 9 * channels * channels_out));
    }
};

// The first of 16 channels, and zeros for the rest
inline Floats load_some(const bf16* from, long channels) {
    __m256i halves = _mm256_maskz_loadu_epi16((__mmask16)((1 << channels) - 1), from);
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

// Some patches of pairs of images: values as [N * N][16 rows][term][row], gradients as [N * N][32 columns][term][column];
// rows beyond the channels are zeros
template <int M> class Block {
public:
    explicit Block(const Shape& shape)
        : shape(shape), zeros(std::max(shape.channels, shape.channels_out)),
          values(MATRICES * (shape.in_block() * shape.rows() + LANES)),
          gradients(MATRICES * (shape.in_block() * shape.channels_out + LANES)) {}

    void load(const bf16* all_values, const bf16* all_gradients, long first, long last) {
        terms = last - first;
        for (long term = 0; term < terms; ++term) {
            long pair = (first + term) / shape.patches(), patch = (first + term) % shape.patches();
            long images[] = {2 * pair, 2 * pair + 1 < shape.images ? 2 * pair + 1 : -1};
            load_values(all_values, images, patch, term);
            load_gradients(all_gradients, images, patch, term);
        }
    }

    // sums: [9][channels][channels_out]; meanwhile asks for the images that come next
    void add_to(float* sums, const bf16* all_values, const bf16* all_gradients, long next, long end) const {
        long from = next / shape.patches() * 2, num = 0, part = 0;
        if (next < end) num = std::min((end - 1) / shape.patches() * 2 + 2, shape.images) - from;
        long parts = shape.channels_out / COLUMNS * (shape.channels / ROWS);
        for (long column = 0; column < shape.channels_out; column += COLUMNS)
            for (long row = 0; row < shape.channels; row += ROWS, ++part) {
                prefetch(all_values + from * shape.value_map(), num * shape.value_map() * 2, part, parts);
                prefetch(all_gradients + from * shape.gradient_map(), num * shape.gradient_map() * 2, part, parts);
                alignas(64) float found[MATRICES][ROWS * COLUMNS];
                for (long k = 0; k < MATRICES; ++k) {
                    Sums<ROWS, LANES> of_k;
                    of_k.add(values.words + k * values_apart() + row / LANES * LANES * terms + row % LANES,
                             gradients.words + k * gradients_apart() + column * terms, terms);
                    of_k.store(found[k]);
                }
                for (long i = 0; i < ROWS * COLUMNS; i += LANES)
                    add_taps(found[0] + i, sums + (row + i / COLUMNS) * shape.channels_out + column + i % COLUMNS);
            }
    }

private:
    static constexpr int N = Winograd<M>::N, MATRICES = N * N;
    const Shape& shape;
    std::vector<bf16> zeros;
    Buffer values, gradients;
    long terms = 0;

    // of the N * N matrices; a cache line more than they hold, or all would lie in the same places of the caches
    long values_apart() const { return shape.rows() * terms + LANES; }
    long gradients_apart() const { return shape.channels_out * terms + LANES; }

    // For 16 channels_out; the numbers are ROWS * COLUMNS apart
    void add_taps(const float* numbers, float* sums) const {
        long apart = shape.channels * shape.channels_out;
        in_square<N, 3>(
            Winograd<M>::taps, [numbers](int k) { return ::load(numbers + k * ROWS * COLUMNS); },
            [sums, apart](int tap, Floats value) { add(sums + tap * apart, value); });
    }

    // Addresses of a square of pixels; those outside, and all of an image that is not there, are zeros
    void find(const bf16* maps, long image, long top, long left, long side, long height, long width, long channels,
              const bf16** pixels) const {
        for (long i = 0; i < side * side; ++i) {
            long y = top + i / side, x = left + i % side;
            bool inside = image >= 0 && y >= 0 && y < height && x >= 0 && x < width;
            pixels[i] = inside ? maps + ((image * height + y) * width + x) * channels : zeros.data();
        }
    }

    void load_values(const bf16* maps, const long* images, long patch, long term) {
        const bf16* pixels[2][MATRICES];
        long top = patch / shape.across() * M - 1, left = patch % shape.across() * M - 1;
        for (int i = 0; i < 2; ++i)
            find(maps, images[i], top, left, N, shape.height, shape.width, shape.channels, pixels[i]);
        for (long c = 0; c < shape.channels; c += LANES)
            write_pairs<N>(pixels, c, std::min<long>(shape.channels - c, LANES), Winograd<M>::values, values_apart(),
                           values.words + c * terms + term * LANES);
    }

    void load_gradients(const bf16* maps, const long* images, long patch, long term) {
        const bf16* pixels[2][MATRICES];
        long top = patch / shape.across() * M, left = patch % shape.across() * M;
        for (int i = 0; i < 2; ++i)
            find(maps, images[i], top, left, M, shape.out_height, shape.out_width, shape.channels_out, pixels[i]);
        for (long c = 0; c < shape.channels_out; c += LANES)
            write_pairs<M>(pixels, c, LANES, Winograd<M>::gradients, gradients_apart(),
                           gradients.words + c / COLUMNS * COLUMNS * terms + term * COLUMNS + c % COLUMNS);
    }

    // The N * N numbers of IN x IN pixels of two images, for up to 16 channels
    template <int IN, class Along>
    static inline void write_pairs(const bf16* const (*pixels)[MATRICES], long c, long channels, Along along,
                                   long apart, uint32_t* to) {
        Floats first[MATRICES];
        in_square<IN, N>(
            along, [&](int k) { return load_some(pixels[0][k] + c, channels); },
            [&](int k, Floats number) { first[k] = number; });
        in_square<IN, N>(
            along, [&](int k) { return load_some(pixels[1][k] + c, channels); },
            [&](int k, Floats number) { _mm512_store_si512(to + k * apart, paired(first[k], number)); });
    }
};

}  // namespace

// As weight_gradient in weight_gradient.cpp, at stride 1; m: 3 or 4.
extern "C" void winograd_weight_gradient(const bf16* values, const bf16* gradients, long m, long images, long height,
                                         long width, long channels, long out_height, long out_width, long channels_out,
                                         float* result) {
    Shape shape{m, images, height, width, channels, out_height, out_width, channels_out};
    m == 4 ? sum_in_blocks<Block<4>>(values, gradients, shape, result)
           : sum_in_blocks<Block<3>>(values, gradients, shape, result);
}

#endif
