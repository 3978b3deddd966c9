// Batch norm, a shortcut to add, and ReLU or not in one pass over memory, for maps stored as (N, H, W, C); see
// batch_norm.py.

#include "lanes.h"
#include "sums.h"

#include <cmath>

namespace {

// y = scale * x + shift + added, with `relu` at least 0. passed: one bit per number, whether it is above 0; may be null
template <class T>
void affine(const T* x, const T* added, long pixels, long channels, const float* scale, const float* shift, bool relu,
            T* y, uint16_t* passed) {
    Floats low = Floats{} - (relu ? 0.f : HUGE_VALF);
#pragma omp parallel for schedule(static)
    for (long pixel = 0; pixel < pixels; ++pixel)
        for (long c = 0; c < channels; c += LANES) {
            long at = pixel * channels + c;
            Floats value = load(x + at) * load(scale + c) + load(shift + c);
            if (added) value += load(added + at);
            store(y + at, value < low ? low : value);  // what is no number stays none
            if (passed) passed[at / LANES] = above_0(value);
        }
}

// Adds up gradient and gradient * x per channel, both where y is above 0, and writes this gradient
template <class T>
void added_gradient(const T* gradient, const T* x, const T* y, long images, long pixels, long channels, T* inner,
                    double* total) {
    sum_over_images(images, channels, total, [=](long image, float* sum) {
        for (long pixel = image * pixels; pixel < (image + 1) * pixels; ++pixel)
            for (long c = 0; c < channels; c += LANES) {
                long at = pixel * channels + c;
                Floats value = load(y + at) > 0.f ? load(gradient + at) : Floats{};
                store(inner + at, value);
                add(sum + c, value);
                add(sum + channels + c, value * load(x + at));
            }
    });
}

// The gradient where scale * x + shift is above 0 or, without `relu`, all of it
template <class T> struct Inner {
    const T *gradient, *x;
    const float *scale, *shift;
    bool relu;

    inline Floats at(long place, long c, Floats of_x) const {
        Floats value = load(gradient + place);
        return !relu ? value : of_x * load(scale + c) + load(shift + c) > 0.f ? value : Floats{};
    }
};

// The same where nothing was added, so that y need not be read, nor anything written
template <class T> void gradient_sums(const Inner<T>& inner, long images, long pixels, long channels, double* total) {
    sum_over_images(images, channels, total, [=](long image, float* sum) {
        for (long pixel = image * pixels; pixel < (image + 1) * pixels; ++pixel)
            for (long c = 0; c < channels; c += LANES) {
                long at = pixel * channels + c;
                Floats of_x = load(inner.x + at), value = inner.at(at, c, of_x);
                add(sum + c, value);
                add(sum + channels + c, value * of_x);
            }
    });
}

template <class T>
void affine_gradient(const Inner<T>& inner, long pixels, long channels, const float* of_gradient, const float* of_x,
                     const float* constant, T* result) {
#pragma omp parallel for schedule(static)
    for (long pixel = 0; pixel < pixels; ++pixel)
        for (long c = 0; c < channels; c += LANES) {
            long at = pixel * channels + c;
            Floats x = load(inner.x + at);
            store(result + at, load(of_gradient + c) * inner.at(at, c, x) + load(of_x + c) * x + load(constant + c));
        }
}

}  // namespace

// Maps (n, p, c); d and passed (n, p, c / 16) may be null. scale a, shift b, and of_gradient k, of_x l, constant m as
// batch_norm.cpp has them.
#define EXPORT(T)                                                                                                  \
    extern "C" void affine_##T(const T* x, const T* d, long p, long c, const float* a, const float* b, long relu,  \
                               T* y, uint16_t* passed) {                                                           \
        affine(x, d, p, c, a, b, relu != 0, y, passed);                                                            \
    }                                                                                                              \
    extern "C" void added_gradient_##T(const T* g, const T* x, const T* y, long n, long p, long c, T* z,           \
                                       double* total) {                                                            \
        added_gradient(g, x, y, n, p, c, z, total);                                                                \
    }                                                                                                              \
    extern "C" void gradient_sums_##T(const T* g, const T* x, const float* a, const float* b, long relu, long n,   \
                                      long p, long c, double* total) {                                             \
        gradient_sums<T>({g, x, a, b, relu != 0}, n, p, c, total);                                                 \
    }                                                                                                              \
    extern "C" void affine_gradient_##T(const T* g, const T* x, const float* a, const float* b, long relu, long p, \
                                        long c, const float* k, const float* l, const float* m, T* y) {            \
        affine_gradient<T>({g, x, a, b, relu != 0}, p, c, k, l, m, y);                                             \
    }

EXPORT(float)
EXPORT(bf16)
