// 1x1 convolutions in bf16: products of pixels and filters, which also add up what the norm behind them needs.
//
// With a stride only the pixels that are wanted are read. They come in blocks that stay in a core's own caches.

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)

#include "buffer.h"
#include "lanes.h"
#include "prefetch.h"
#include "totals.h"
#include "winograd_products.h"

#include <algorithm>

namespace {

constexpr long BLOCK = 64;  // pixels

struct Shape {
    long images, height, width, channels, channels_out, stride;

    long down() const { return (height + stride - 1) / stride; }
    long across() const { return (width + stride - 1) / stride; }
    long pixels() const { return images * down() * across(); }
    long words() const { return channels / 2; }
};

// The wanted pixels one after the other, from the first one on
class Pixels {
public:
    Pixels(const bf16* images, const Shape& s, long first)
        : images(images), s(s), line(first / s.across()), x(first % s.across()) {}

    const bf16* next() {
        long y = line / s.down() * s.height + line % s.down() * s.stride;
        const bf16* pixel = images + (y * s.width + x * s.stride) * s.channels;
        if (++x == s.across()) x = 0, ++line;
        return pixel;
    }

private:
    const bf16* images;
    const Shape& s;
    long line, x;
};

// 32 channels_out of filters [channels][channels_out], as words of two channels
inline void pack(const float* filters, const Shape& s, long column, uint32_t* to) {
    for (long word = 0; word < s.words(); ++word)
        for (long c = 0; c < COLUMNS; c += LANES) {
            const float* from = filters + 2 * word * s.channels_out + column + c;
            _mm512_store_si512(to + word * COLUMNS + c, paired(load(from), load(from + s.channels_out)));
        }
}

// For some pixels and 32 channels_out
inline void write(const float* found, long num, long apart, bf16* to, Totals* totals) {
    for (long i = 0; i < num; ++i, found += COLUMNS, to += apart) {
        store_two(to, load(found), load(found + LANES));
        for (long half = 0; half < 2; ++half) {
            Floats value = load(to + half * LANES);
            totals->note(half, value, value);
        }
    }
}

// What one core makes of a block of pixels
class Block {
public:
    Block(const bf16* images, const uint32_t* filters, const Shape& s, bf16* result)
        : images(images), filters(filters), s(s), result(result), values(BLOCK * s.words()) {}

    void convolve(long first, double* sums) {
        long num = std::min(BLOCK, s.pixels() - first), next = std::min(BLOCK, s.pixels() - first - num), asked = 0;
        Pixels pixels(images, s, first), ahead(images, s, first + num);
        for (long i = 0; i < num; ++i)
            std::memcpy(values.words + i * s.words(), pixels.next(), s.channels * sizeof(bf16));
        for (long column = 0; column < s.channels_out; column += COLUMNS) {
            for (; asked < next * (column + COLUMNS) / s.channels_out; ++asked)
                prefetch(ahead.next(), s.channels * sizeof(bf16), 0, 1);
            Totals totals;
            multiply(num, column, result + first * s.channels_out + column, &totals);
            if (sums) totals.add_to(sums + column, s.channels_out);
        }
    }

private:
    const bf16* images;
    const uint32_t* filters;
    const Shape& s;
    bf16* result;
    Buffer values;

    // Meanwhile asks for the places of the next results
    void multiply(long num, long column, bf16* to, Totals* totals) const {
        alignas(64) float found[ROWS * COLUMNS];
        for (long row = 0; row < num; row += ROWS, to += ROWS * s.channels_out) {
            prefetch<1>(to + ROWS * s.channels_out, ROWS, 64, s.channels_out * sizeof(bf16), 0, 1);
            ::multiply<bf16>(values.words + row * s.words(), filters + column * s.words(), s.words(), found);
            write(found, std::min(ROWS, num - row), s.channels_out, to, totals);
        }
    }
};

}  // namespace

// images (n, h, w, c), c even; filters (c, o), o a multiple of 32; result (n, h / stride, w / stride, o), rounded up.
// To sums those of the result and of its squares are added, per channel; may be null.
extern "C" void pixels(const bf16* images, const float* filters, long n, long h, long w, long c, long o, long stride,
                       bf16* result, double* sums) {
    Shape s{n, h, w, c, o, stride};
    Buffer packed(s.words() * o);
    Adding adding(sums, o);
#pragma omp parallel
    {
        Block block(images, packed.words, s, result);
#pragma omp for schedule(static)
        for (long column = 0; column < o; column += COLUMNS)
            pack(filters, s, column, packed.words + column * s.words());
#pragma omp for schedule(static)
        for (long first = 0; first < s.pixels(); first += BLOCK) block.convolve(first, adding.mine());
    }
}

#endif
