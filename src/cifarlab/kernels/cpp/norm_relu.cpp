// Batch norm, a shortcut to add, and ReLU in one pass over memory, for maps stored as (N, H, W, C); see
// ops/batch_norm.py.

#include "batch_norm.h"
#include "exported.h"
#include "sums.h"

#include <cmath>

namespace {

// In front of a sum: scale * x + shift, or x itself where these are null
template <class T> struct Affine {
    const T* x;
    const float* affine;
    int64_t channels;

    inline Floats at(int64_t place, int64_t c) const {
        return affine ? load(x + place) * load(affine + c) + load(affine + channels + c) : load(x + place);
    }
};

inline Floats at_least(Floats low, Floats x) { return x < low ? low : x; }  // what is no number stays none

// y = x + added, or 0 where that is larger, and so is what is added where `low` is 0. passed: one bit per number,
// whether it is above 0; may be null
template <class T>
void rectified(const Affine<T>& x, const Affine<T>& added, Floats low, int64_t pixels, int64_t channels, T* y,
               Mask* passed) {
    in_parallel(pixels, [=](int64_t pixel) {
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t at = pixel * channels + c;
            Floats value = x.at(at, c);
            if (added.x) value += at_least(low, added.at(at, c));
            store(y + at, at_least(Floats{}, value));
            if (passed) passed[at / LANES] = above_0(value);
        }
    });
}

// Of a map, or of the means over each image's pixels
template <class T> struct OfMaps {
    const T* gradient;
    int64_t channels;
    inline Floats at(int64_t, int64_t pixel, int64_t c) const { return load(gradient + pixel * channels + c); }
};
template <class T> struct OfMeans {
    const T* gradient;
    int64_t channels;
    float by;
    inline Floats at(int64_t image, int64_t, int64_t c) const { return by * load(gradient + image * channels + c); }
};

// Adds up gradient and gradient * x per channel, both where y is above 0, and writes this gradient
template <class T, class Gradient>
void added_gradient(Gradient gradient, const T* x, const T* y, int64_t images, int64_t pixels, int64_t channels,
                    T* inner, double* total) {
    sum_over_images(x, images, pixels * channels, 0, channels, total, [=](int64_t image, const ImageSums& sums) {
        for (int64_t pixel = image * pixels; pixel < (image + 1) * pixels; ++pixel)
            for (int64_t c = 0; c < channels; c += LANES) {
                int64_t at = pixel * channels + c;
                store(inner + at, load(y + at) > 0.f ? gradient.at(image, pixel, c) : Floats{});
                sums.product(c, load(inner + at), load(x + at));
            }
    });
}

// The gradient where scale * x + shift is above 0 or, without `relu`, all of it
template <class T> struct Inner {
    const T *gradient, *x;
    const float* affine;
    int64_t channels;
    bool relu;

    inline Floats at(int64_t place, int64_t c, Floats of_x) const {
        Floats value = load(gradient + place);
        return !relu ? value : of_x * load(affine + c) + load(affine + channels + c) > 0.f ? value : Floats{};
    }
};

// The same where nothing was added, so that y need not be read, nor anything written
template <class T>
void gradient_sums(const Inner<T>& inner, int64_t images, int64_t pixels, int64_t channels, double* total) {
    sum_over_images(inner.x, images, pixels * channels, 0, channels, total, [=](int64_t image, const ImageSums& sums) {
        for (int64_t pixel = image * pixels; pixel < (image + 1) * pixels; ++pixel)
            for (int64_t c = 0; c < channels; c += LANES) {
                int64_t at = pixel * channels + c;
                Floats x = load(inner.x + at);
                sums.product(c, inner.at(at, c, x), x);
            }
    });
}

template <class T>
void affine_gradient(const Inner<T>& inner, int64_t pixels, int64_t channels, const Linear& linear, T* result) {
    in_parallel(pixels, [=, &linear](int64_t pixel) {
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t at = pixel * channels + c;
            Floats x = load(inner.x + at);
            store(result + at, linear.at(c, inner.at(at, c, x), x));
        }
    });
}

}  // namespace

// Maps (n, p, c); d and passed (n, p, c / LANES) may be null. affine a, and of d b, which may be null; relu: of d as
// well; sums, moments and weights as batch_norm.h has them. g: for means_gradient (n, c).
#define EXPORT(T)                                                                                               \
    EXPORTED void rectified_##T(const T* x, const T* d, int64_t p, int64_t c, const float* a, const float* b,   \
                                int64_t relu, T* y, Mask* passed) {                                             \
        rectified<T>({x, a, c}, {d, b, c}, Floats{} - (relu ? 0.f : HUGE_VALF), p, c, y, passed);               \
    }                                                                                                           \
    EXPORTED void added_gradient_##T(const T* g, const T* x, const T* y, int64_t n, int64_t p, int64_t c, T* z, \
                                     double* total) {                                                           \
        added_gradient(OfMaps<T>{g, c}, x, y, n, p, c, z, total);                                               \
    }                                                                                                           \
    EXPORTED void means_gradient_##T(const T* g, const T* x, const T* y, int64_t n, int64_t p, int64_t c, T* z, \
                                     double* total) {                                                           \
        added_gradient(OfMeans<T>{g, c, 1.f / p}, x, y, n, p, c, z, total);                                     \
    }                                                                                                           \
    EXPORTED void gradient_sums_##T(const T* g, const T* x, const float* a, int64_t relu, int64_t n, int64_t p, \
                                    int64_t c, double* total) {                                                 \
        gradient_sums<T>({g, x, a, c, relu != 0}, n, p, c, total);                                              \
    }                                                                                                           \
    EXPORTED void affine_gradient_##T(const T* g, const T* x, int64_t p, int64_t c, const double* sums,         \
                                      const double* moments, const float* a, float* weights, T* y) {            \
        Linear linear({sums, moments, a, weights}, p, c);                                                       \
        affine_gradient<T>({g, x, a, c, true}, p, c, linear, y);                                                \
    }

EXPORT(float)
EXPORT(bf16)
