// The gradient for the filters of a 3x3 convolution with stride 1, by F(3x3, 2x2): the transpose of winograd.cpp.
//
// A 4x4 patch of values and the 2x2 gradients above it become 16 numbers each; what was a sum of 36 products is one of
// 16, and the sums over all patches become the 3x3 numbers for the filters at the end. Pairs of terms are the same
// patch of two images. See weight_gradient.cpp for the rest.

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)

#include "pairs.h"

#include <algorithm>
#include <vector>

namespace {

constexpr long ROWS = 8;     // that are summed up at once
constexpr long BLOCK = 256;  // pairs of patches that are worth loading and storing the sums for

struct Shape {
    long images, height, width, channels, out_height, out_width, channels_out;

    long across() const { return (out_width + 1) / 2; }
    long patches() const { return (out_height + 1) / 2 * across(); }
    long pairs_in_block() const { return std::max(1L, BLOCK / patches()); }
};

// B^T d B of 16 channels
inline void transform_values(const Floats* d, Floats* to) {
    Floats rows[16];
    for (int x = 0; x < 4; ++x) {
        rows[x] = d[x] - d[8 + x], rows[4 + x] = d[4 + x] + d[8 + x];
        rows[8 + x] = d[8 + x] - d[4 + x], rows[12 + x] = d[4 + x] - d[12 + x];
    }
    for (int y = 0; y < 16; y += 4) {
        Floats* r = rows + y;
        to[y] = r[0] - r[2], to[y + 1] = r[1] + r[2], to[y + 2] = r[2] - r[1], to[y + 3] = r[1] - r[3];
    }
}

// A dY A^T of 16 channels_out
inline void transform_gradients(const Floats* g, Floats* to) {
    Floats rows[4][2];
    for (int x = 0; x < 2; ++x)
        rows[0][x] = g[x], rows[1][x] = g[x] + g[2 + x], rows[2][x] = g[x] - g[2 + x], rows[3][x] = -g[2 + x];
    for (int y = 0; y < 4; ++y) {
        to[4 * y] = rows[y][0], to[4 * y + 1] = rows[y][0] + rows[y][1];
        to[4 * y + 2] = rows[y][0] - rows[y][1], to[4 * y + 3] = -rows[y][1];
    }
}

// The bf16 numbers of both as pairs
inline __m512i paired(Floats one, Floats other) {
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)one));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)other));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// Some pairs of images: values as [16][16 rows][patch][pair][row], gradients as [16][32 columns][patch][pair][column]
class Block {
public:
    explicit Block(const Shape& shape)
        : shape(shape), zeros(std::max(shape.channels, shape.channels_out)),
          values(16 * (shape.pairs_in_block() * shape.patches() * shape.channels + LANES)),
          gradients(16 * (shape.pairs_in_block() * shape.patches() * shape.channels_out + LANES)) {}

    void load(const bf16* all_values, const bf16* all_gradients, long first, long last) {
        pairs = (last - first + 1) / 2;
        for (long pair = 0; pair < pairs; ++pair)
            for (long patch = 0; patch < shape.patches(); ++patch) {
                long one = first + 2 * pair, other = one + 1 < last ? one + 1 : -1;
                load_values(all_values, one, other, patch, pair);
                load_gradients(all_gradients, one, other, patch, pair);
            }
    }

    // sums: [16][channels][channels_out]
    void add_to(float* sums) const {
        for (long k = 0; k < 16; ++k)
            for (long row = 0; row < shape.channels; row += ROWS)
                for (long column = 0; column < shape.channels_out; column += COLUMNS) {
                    Sums<ROWS, LANES> found;
                    found.add(values.words + k * values_apart() + row / LANES * LANES * terms() + row % LANES,
                              gradients.words + k * gradients_apart() + column * terms(), terms());
                    found.add_to(sums + (k * shape.channels + row) * shape.channels_out + column, shape.channels_out);
                }
    }

private:
    const Shape& shape;
    std::vector<bf16> zeros;
    Buffer values, gradients;
    long pairs = 0;

    long terms() const { return shape.patches() * pairs; }
    // of the 16 matrices; a cache line more than they hold, or all would lie in the same places of the caches
    long values_apart() const { return shape.channels * terms() + LANES; }
    long gradients_apart() const { return shape.channels_out * terms() + LANES; }

    // Addresses of a square of pixels; those outside, and all of an image that is not there, are zeros
    void find(const bf16* maps, long image, long top, long left, long side, long height, long width, long channels,
              const bf16** pixels) const {
        for (long i = 0; i < side * side; ++i) {
            long y = top + i / side, x = left + i % side;
            bool inside = image >= 0 && y >= 0 && y < height && x >= 0 && x < width;
            pixels[i] = inside ? maps + ((image * height + y) * width + x) * channels : zeros.data();
        }
    }

    void load_values(const bf16* maps, long one, long other, long patch, long pair) {
        const bf16* pixels[2][16];
        long top = patch / shape.across() * 2 - 1, left = patch % shape.across() * 2 - 1, images[] = {one, other};
        for (int i = 0; i < 2; ++i)
            find(maps, images[i], top, left, 4, shape.height, shape.width, shape.channels, pixels[i]);
        long term = patch * pairs + pair;
        for (long c = 0; c < shape.channels; c += LANES) {
            Floats found[2][16], patches[2][16];
            for (int i = 0; i < 2; ++i) {
                for (int k = 0; k < 16; ++k) found[i][k] = ::load(pixels[i][k] + c);
                transform_values(found[i], patches[i]);
            }
            for (long k = 0; k < 16; ++k) {
                uint32_t* to = values.words + k * values_apart() + c * terms() + term * LANES;
                _mm512_store_si512(to, paired(patches[0][k], patches[1][k]));
            }
        }
    }

    void load_gradients(const bf16* maps, long one, long other, long patch, long pair) {
        const bf16* pixels[2][4];
        long top = patch / shape.across() * 2, left = patch % shape.across() * 2, images[] = {one, other};
        for (int i = 0; i < 2; ++i)
            find(maps, images[i], top, left, 2, shape.out_height, shape.out_width, shape.channels_out, pixels[i]);
        long term = patch * pairs + pair;
        for (long c = 0; c < shape.channels_out; c += LANES) {
            Floats found[2][4], patches[2][16];
            for (int i = 0; i < 2; ++i) {
                for (int k = 0; k < 4; ++k) found[i][k] = ::load(pixels[i][k] + c);
                transform_gradients(found[i], patches[i]);
            }
            for (long k = 0; k < 16; ++k) {
                uint32_t* to =
                    gradients.words + k * gradients_apart() + c / COLUMNS * COLUMNS * terms() + term * COLUMNS;
                _mm512_store_si512(to + c % COLUMNS, paired(patches[0][k], patches[1][k]));
            }
        }
    }
};

// G^T u G of the sums [16][channels][channels_out] of all cores: result[channels_out][9][channels]
void gather(const std::vector<float>& parts, long num_parts, const Shape& shape, float* result) {
    long size = shape.channels * shape.channels_out;
#pragma omp for schedule(static)
    for (long row = 0; row < shape.channels; ++row)
        for (long c = 0; c < shape.channels_out; c += LANES) {
            Floats u[16] = {}, rows[3][4], taps[9];
            for (long part = 0; part < num_parts; ++part)
                for (long k = 0; k < 16; ++k)
                    u[k] += load(&parts[(part * 16 + k) * size + row * shape.channels_out + c]);
            for (int x = 0; x < 4; ++x) {
                Floats half = 0.5f * (u[4 + x] + u[8 + x]);
                rows[0][x] = u[x] + half, rows[1][x] = 0.5f * (u[4 + x] - u[8 + x]), rows[2][x] = half + u[12 + x];
            }
            for (int y = 0; y < 3; ++y) {
                Floats half = 0.5f * (rows[y][1] + rows[y][2]);
                taps[3 * y] = rows[y][0] + half, taps[3 * y + 1] = 0.5f * (rows[y][1] - rows[y][2]);
                taps[3 * y + 2] = half + rows[y][3];
            }
            for (int tap = 0; tap < 9; ++tap)
                for (int i = 0; i < LANES; ++i) result[((c + i) * 9 + tap) * shape.channels + row] = taps[tap][i];
        }
}

}  // namespace

// As weight_gradient in weight_gradient.cpp, at stride 1 and with at least 16 channels.
extern "C" void winograd_weight_gradient(const bf16* values, const bf16* gradients, long images, long height,
                                         long width, long channels, long out_height, long out_width, long channels_out,
                                         float* result) {
    Shape shape{images, height, width, channels, out_height, out_width, channels_out};
    sum_in_blocks<Block>(values, gradients, shape, 16 * channels * channels_out,
                         [&](const std::vector<float>& sums, long num) { gather(sums, num, shape, result); });
}

#endif
