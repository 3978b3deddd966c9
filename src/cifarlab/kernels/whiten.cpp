// Speednet's first layer: a 2x2 convolution of three channels whose filters come with both signs, and GELU; see
// whiten.py.

#include "gelu.h"

namespace {

constexpr long CHANNELS = 3, VALUES = 2 * 2 * CHANNELS, SIGNS = 2;
static_assert(VALUES <= LANES, "one register holds what all filters of one sign make of a patch");

template <class T> struct Outputs {
    T values[LANES];

    void write(Floats x, T* to) {
        store(values, x);
        std::memcpy(to, values, VALUES * sizeof(T));
    }
};

// As gelu(-x) = gelu(x) - x, the other sign costs a subtraction
template <class T>
void whiten(const float* images, const float* filters, long num, long height, long width, T* result) {
    Floats taps[VALUES];
    for (long i = 0; i < VALUES; ++i)
        for (long lane = 0; lane < LANES; ++lane) taps[i][lane] = lane < VALUES ? filters[lane * VALUES + i] : 0.f;
    long row = width * CHANNELS;
#pragma omp parallel for schedule(static)
    for (long line = 0; line < num * (height - 1); ++line) {
        const float* from = images + (line / (height - 1) * height + line % (height - 1)) * row;
        T* to = result + line * (width - 1) * SIGNS * VALUES;
        Outputs<T> outputs;
        for (long x = 0; x < width - 1; ++x, from += CHANNELS, to += SIGNS * VALUES) {
            Floats sum = {};
            for (long i = 0; i < VALUES / 2; ++i) sum += from[i] * taps[i] + from[row + i] * taps[VALUES / 2 + i];
            Floats positive = gelu(sum);
            outputs.write(positive, to);
            outputs.write(positive - sum, to + VALUES);
        }
    }
}

}  // namespace

// images (n, h, w, 3); filters (12, 2, 2, 3), of one sign; result (n, h - 1, w - 1, 24)
#define EXPORT(T)                                                                                              \
    extern "C" void whiten_##T(const float* images, const float* filters, long n, long h, long w, T* result) { \
        whiten(images, filters, n, h, w, result);                                                              \
    }

EXPORT(float)
EXPORT(bf16)
