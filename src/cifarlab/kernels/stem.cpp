// A ResNet's first layer: a 3x3 convolution of three channels in bf16, which also adds up what the norm behind it
// needs, and the gradient for its filters through that norm; see stem.py.

#if defined(__AVX512BF16__)

#include "batch_norm.h"
#include "sums.h"

#include <algorithm>
#include <vector>

namespace {

constexpr long CHANNELS = 3, VALUES = 3 * 3 * CHANNELS;
constexpr long PIXELS = 8;  // at once: with 32 channels_out 16 registers of sums

inline __m512 add_products(__m512 sum, uint32_t pair, __m512i pairs) {
    return _mm512_dpbf16_ps(sum, (__m512bh)pairs, (__m512bh)_mm512_set1_epi32(pair));
}

// An image with zeros around it, and behind each row as many as make its pixels come out even. Each number is a pair
// with that of the next pixel.
class Padded {
public:
    Padded(long height, long width)
        : length((width + PIXELS + 2) * CHANNELS / LANES * LANES + LANES), height(height), width(width),
          numbers(length + LANES, 0.f), pairs((height + 2) * length, 0) {}

    // Gives the first number of the first square
    const uint32_t* fill(const float* image) {
        for (long y = 0; y < height; ++y) {
            std::memcpy(&numbers[CHANNELS], image + y * width * CHANNELS, width * CHANNELS * sizeof(float));
            for (long i = 0; i < length; i += LANES)
                _mm512_storeu_si512(&pairs[(y + 1) * length + i],
                                    paired(load(&numbers[i]), load(&numbers[i + CHANNELS])));
        }
        return pairs.data();
    }

    long row() const { return length; }

private:
    long length, height, width;
    std::vector<float> numbers;
    std::vector<uint32_t> pairs;
};

// The taps of a filter for the first and second pixel of a square's row, and for the third one
class Taps {
public:
    static constexpr long ALL = 3 * 2 * CHANNELS;

    // filters: [3][3][CHANNELS][channels_out]
    Taps(const float* filters, long channels_out) : pairs(ALL * channels_out) {
        for (long y = 0; y < 3; ++y)
            for (long i = 0; i < CHANNELS; ++i)
                for (long c = 0; c < channels_out; c += LANES) {
                    const float* first = filters + (y * 3 * CHANNELS + i) * channels_out + c;
                    Floats taps[3];
                    for (long x = 0; x < 3; ++x) taps[x] = load(first + x * CHANNELS * channels_out);
                    uint32_t* to = &pairs[(y * 2 * CHANNELS + i) * channels_out + c];
                    _mm512_storeu_si512(to, paired(taps[0], taps[1]));
                    _mm512_storeu_si512(to + CHANNELS * channels_out, paired(taps[2], Floats{}));
                }
    }

    const uint32_t* data() const { return pairs.data(); }

private:
    std::vector<uint32_t> pairs;
};

struct Stem {
    const float* images;
    const uint32_t* taps;
    long height, width, channels_out;
    bf16* result;
    Padded padded{height, width};

    // sums: of the result and of its squares, per channel
    void operator()(long image, float* sums) {
        const uint32_t* pairs = padded.fill(images + image * height * width * CHANNELS);
        for (long y = 0; y < height; ++y)
            for (long x = 0; x < width; x += PIXELS) {
                bf16* to = result + ((image * height + y) * width + x) * channels_out;
                for (long c = 0; c < channels_out; c += 2 * LANES)
                    write(pairs + y * padded.row() + x * CHANNELS, c, std::min(PIXELS, width - x), to + c, sums + c);
            }
    }

    void write(const uint32_t* square, long c, long num, bf16* to, float* sums) const {
        __m512 found[PIXELS][2];
        for (auto& of_pixel : found) of_pixel[0] = of_pixel[1] = _mm512_setzero_ps();
        const uint32_t* from = taps + c;
        for (long y = 0; y < 3; ++y, square += padded.row())
            for (long x = 0; x < 3; x += 2)
                for (long i = x * CHANNELS; i < (x + 1) * CHANNELS; ++i, from += channels_out) {
                    __m512i left = _mm512_loadu_si512(from), right = _mm512_loadu_si512(from + LANES);
#pragma GCC unroll 8
                    for (long pixel = 0; pixel < PIXELS; ++pixel) {
                        uint32_t pair = square[pixel * CHANNELS + i];
                        found[pixel][0] = add_products(found[pixel][0], pair, left);
                        found[pixel][1] = add_products(found[pixel][1], pair, right);
                    }
                }
        Floats total[2] = {}, squares[2] = {};
        for (long pixel = 0; pixel < num; ++pixel, to += channels_out) {
            store_two(to, (Floats)found[pixel][0], (Floats)found[pixel][1]);
            for (long half = 0; half < 2; ++half) {
                Floats value = load(to + half * LANES);
                total[half] += value, squares[half] += value * value;
            }
        }
        for (long half = 0; half < 2; ++half)
            add(sums + half * LANES, total[half]), add(sums + channels_out + half * LANES, squares[half]);
    }
};

// From the gradient behind the norm and what the norm was given
struct StemGradient {
    const float* images;
    const bf16 *gradient, *x;
    const Linear& linear;
    long height, width, channels_out;
    Padded padded{height, width};

    // sums: [VALUES][channels_out]
    void operator()(long image, float* sums) {
        const uint32_t* pairs = padded.fill(images + image * height * width * CHANNELS);
        for (long y = 0; y < height; ++y)
            for (long c = 0; c < channels_out; c += LANES)
                add_row(pairs + y * padded.row(), (image * height + y) * width * channels_out + c, c, sums + c);
    }

    void add_row(const uint32_t* square, long at, long c, float* sums) const {
        auto value = [&](long at) { return linear.at(c, load(gradient + at), load(x + at)); };
        __m512 found[VALUES];
#pragma GCC unroll 27
        for (long i = 0; i < VALUES; ++i) found[i] = (__m512)load(sums + i * channels_out);
        for (long pixel = 0; pixel < width; pixel += 2, square += 2 * CHANNELS, at += 2 * channels_out) {
            __m512i both = paired(value(at), pixel + 1 < width ? value(at + channels_out) : Floats{});
            for (long next = at + width * channels_out; next < at + (width + 2) * channels_out; next += channels_out)
                _mm_prefetch(gradient + next, _MM_HINT_T0), _mm_prefetch(x + next, _MM_HINT_T0);
            asm("" : "+r"(square));  // or compilers keep what squares share, in memory
#pragma GCC unroll 27
            for (long i = 0; i < VALUES; ++i)
                found[i] = add_products(found[i], square[i / (3 * CHANNELS) * padded.row() + i % (3 * CHANNELS)], both);
        }
#pragma GCC unroll 27
        for (long i = 0; i < VALUES; ++i) store(sums + i * channels_out, (Floats)found[i]);
    }
};

}  // namespace

// images (n, h, w, 3); filters, and their gradient (3, 3, 3, o): row, column, channel, o a multiple of 32; maps
// (n, h, w, o); sums, moments, affine and weights as batch_norm.h has them.
extern "C" void stem(const float* images, const float* filters, long n, long h, long w, long o, bf16* result,
                     double* sums) {
    Taps taps(filters, o);
    sum_over_images(n, 2 * o, sums, Stem{images, taps.data(), h, w, o, result});
}

extern "C" void stem_gradient(const float* images, const bf16* g, const bf16* x, long n, long h, long w, long o,
                              const double* sums, const double* moments, const float* affine, float* weights,
                              double* result) {
    Linear linear({sums, moments, affine, weights}, n * h * w, o);
    sum_over_images(n, VALUES * o, result, StemGradient{images, g, x, linear, h, w, o});
}

#endif
