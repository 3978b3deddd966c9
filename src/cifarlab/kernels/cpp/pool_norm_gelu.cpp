// Max pool, batch norm, a shortcut to add, and GELU in one pass over memory, forward and backward, for maps stored as
// (N, H, W, C).
//
// Each function reads and writes every value once; torch's own operations go through memory seven times. The
// formulas are those of ops/pool_norm_gelu.py. T is float or bf16; sums are taken in float per image and then in
// double, in an order that depends on the number of threads alone.

#include "batch_norm.h"
#include "exported.h"
#include "gelu.h"
#include "sums.h"

namespace {

template <class T> inline Floats largest(const T* x, int64_t row, int64_t channels, Ints* place) {
    Floats window[] = {load(x), load(x + channels), load(x + row), load(x + row + channels)};
    return largest(window, place);
}

template <class T> void sums(const T* x, int64_t images, int64_t pixels, int64_t channels, double* total) {
    int64_t map = pixels * channels;
    sum_over_images(x, images, map, pixels, channels, total, [=](int64_t image, const ImageSums& sums) {
        for (int64_t at = 0; at < map; at += channels)
            for (int64_t c = 0; c < channels; c += LANES) sums.square(c, load(x + image * map + at + c));
    });
}

template <class T>
void pool_and_sums(const T* x, int64_t images, int64_t height, int64_t width, int64_t channels, T* pooled,
                   uint8_t* places, double* total) {
    int64_t row = width * channels, out_row = width / 2 * channels, num = (height / 2) * (width / 2);
    sum_over_images(x, images, height * row, num, channels, total, [=](int64_t image, const ImageSums& sums) {
        const T* map = x + image * height * row;
        for (int64_t y = 0; y < height / 2; ++y)
            for (int64_t at = 0; at < out_row; at += channels) {
                const T* window = map + 2 * y * row + 2 * at;
                int64_t out = image * num * channels + y * out_row + at;
                for (int64_t c = 0; c < channels; c += LANES) {
                    Ints place;
                    Floats value = largest(window + c, row, channels, &place);
                    Bytes bytes = __builtin_convertvector(place, Bytes);
                    std::memcpy(places + out + c, &bytes, sizeof bytes);
                    store(pooled + out + c, value);
                    sums.square(c, value);
                }
            }
    });
}

// y = gelu(scale * x + shift + added)
template <class T>
void gelu_of_affine(const T* x, const T* added, int64_t pixels, int64_t channels, const float* affine, T* y) {
    in_parallel(pixels, [=](int64_t pixel) {
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t at = pixel * channels + c;
            Floats value = load(x + at) * load(affine + c) + load(affine + channels + c);
            if (added) value += load(added + at);
            store(y + at, gelu(value));
        }
    });
}

template <class T>
void pool_and_gelu_of_affine(const T* x, int64_t images, int64_t height, int64_t width, int64_t channels,
                             const float* affine, T* y) {
    int64_t row = width * channels, out_row = width / 2 * channels;
    in_parallel(images * (height / 2), [=](int64_t line) {
        for (int64_t at = 0; at < out_row; at += channels) {
            // line / (height / 2) images before, and an odd last row is left out
            const T* window = x + (line / (height / 2) * height + line % (height / 2) * 2) * row + 2 * at;
            for (int64_t c = 0; c < channels; c += LANES) {
                Ints place;
                Floats value = largest(window + c, row, channels, &place);
                store(y + line * out_row + at + c, gelu(value * load(affine + c) + load(affine + channels + c)));
            }
        }
    });
}

template <class T>
void gelu_gradient_and_sums(const T* gradient, const T* x, const T* added, int64_t images, int64_t pixels,
                            int64_t channels, const float* affine, T* of_affine, double* total) {
    sum_over_images(x, images, pixels * channels, 0, channels, total, [=](int64_t image, const ImageSums& sums) {
        for (int64_t pixel = image * pixels; pixel < (image + 1) * pixels; ++pixel)
            for (int64_t c = 0; c < channels; c += LANES) {
                int64_t at = pixel * channels + c;
                Floats value = load(x + at);
                Floats inner = value * load(affine + c) + load(affine + channels + c);
                if (added) inner += load(added + at);
                Floats slope = load(gradient + at) * gelu_slope(inner);
                store(of_affine + at, slope);
                sums.product(c, slope, value);
            }
    });
}

template <class T>
void norm_gradient(const T* of_affine, const T* x, int64_t pixels, int64_t channels, const Linear& linear, T* result) {
    in_parallel(pixels, [=, &linear](int64_t pixel) {
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t at = pixel * channels + c;
            store(result + at, linear.at(c, load(of_affine + at), load(x + at)));
        }
    });
}

template <class T>
void norm_and_pool_gradient(const T* of_affine, const T* x, const uint8_t* places, int64_t images, int64_t height,
                            int64_t width, int64_t channels, const Linear& linear, T* result) {
    int64_t row = width * channels, out_row = width / 2 * channels;
    in_parallel(images * (height / 2), [=, &linear](int64_t line) {
        for (int64_t at = 0; at < out_row; at += channels) {
            T* window = result + 2 * line * row + 2 * at;
            for (int64_t c = 0; c < channels; c += LANES) {
                int64_t from = line * out_row + at + c;
                Floats value = linear.at(c, load(of_affine + from), load(x + from));
                Bytes bytes;
                std::memcpy(&bytes, places + from, sizeof bytes);
                Ints place = __builtin_convertvector(bytes, Ints);
                store(window + c, place == 0 ? value : Floats{});
                store(window + c + channels, place == 1 ? value : Floats{});
                store(window + c + row, place == 2 ? value : Floats{});
                store(window + c + row + channels, place == 3 ? value : Floats{});
            }
        }
    });
}

}  // namespace

#define EXPORT(T)                                                                                                     \
    EXPORTED void sums_##T(const T* x, int64_t n, int64_t p, int64_t c, double* total) { sums(x, n, p, c, total); }   \
    EXPORTED void pool_and_sums_##T(const T* x, int64_t n, int64_t h, int64_t w, int64_t c, T* y, uint8_t* k,         \
                                    double* total) {                                                                  \
        pool_and_sums(x, n, h, w, c, y, k, total);                                                                    \
    }                                                                                                                 \
    EXPORTED void gelu_of_affine_##T(const T* x, const T* d, int64_t p, int64_t c, const float* a, T* y) {            \
        gelu_of_affine(x, d, p, c, a, y);                                                                             \
    }                                                                                                                 \
    EXPORTED void pool_and_gelu_of_affine_##T(const T* x, int64_t n, int64_t h, int64_t w, int64_t c, const float* a, \
                                              T* y) {                                                                 \
        pool_and_gelu_of_affine(x, n, h, w, c, a, y);                                                                 \
    }                                                                                                                 \
    EXPORTED void gelu_gradient_and_sums_##T(const T* g, const T* x, const T* d, int64_t n, int64_t p, int64_t c,     \
                                             const float* a, T* z, double* total) {                                   \
        gelu_gradient_and_sums(g, x, d, n, p, c, a, z, total);                                                        \
    }                                                                                                                 \
    EXPORTED void norm_gradient_##T(const T* z, const T* x, int64_t p, int64_t c, const double* sums,                 \
                                    const double* moments, const float* a, float* weights, T* y) {                    \
        norm_gradient(z, x, p, c, Linear({sums, moments, a, weights}, p, c), y);                                      \
    }                                                                                                                 \
    EXPORTED void norm_and_pool_gradient_##T(const T* z, const T* x, const uint8_t* i, int64_t n, int64_t h,          \
                                             int64_t w, int64_t c, const double* sums, const double* moments,         \
                                             const float* a, float* weights, T* y) {                                  \
        Linear linear({sums, moments, a, weights}, n * (h / 2) * (w / 2), c);                                         \
        norm_and_pool_gradient(z, x, i, n, h, w, c, linear, y);                                                       \
    }

EXPORT(float)
EXPORT(bf16)
