// The transformations of F(M x M, 3 x 3), M from 2 to 4, of A. Lavin and S. Gray, Fast Algorithms for Convolutional
// Neural Networks, arXiv 1509.09308, 2015: M * M outputs need (M + 2)^2 products in the place of 9 * M * M. And what
// follows for stride 2: 4 * 4 outputs need 81 in the place of 144.
//
// They come from the product of two polynomials, known by its values at some points and by its highest coefficient. The
// points 0, 1 and -1 for M = 2 are the authors'; those for M = 3 and stride 2 (+-P, +-Q) and M = 4 (0, +-P, +-Q) gave
// the smallest errors in bf16: half of what 0, 1, -1, 2 and -2 give.

#pragma once

#include "lanes.h"

namespace {

// What tiles are in one dimension: SIDE inputs become POINTS numbers, three taps FILTER_POINTS, and the products of
// both OUTPUTS. Tiles begin STEP inputs apart, the first one BEFORE the map.
template <int SIDE_, int POINTS_, int FILTER_POINTS_, int OUTPUTS_, int STEP_, int BEFORE_> struct Tile {
    static constexpr int SIDE = SIDE_, POINTS = POINTS_, FILTER_POINTS = FILTER_POINTS_, OUTPUTS = OUTPUTS_;
    static constexpr int STEP = STEP_, BEFORE = BEFORE_;

    // With which filter number a number of the square is multiplied: beyond FILTER_POINTS per side always with the last
    static constexpr int filter(int point) {
        int y = point / POINTS, x = point % POINTS;
        return (y < FILTER_POINTS ? y : FILTER_POINTS - 1) * FILTER_POINTS +
               (x < FILTER_POINTS ? x : FILTER_POINTS - 1);
    }
    // Behind the last point per side that belongs to a filter number
    static constexpr int last(int filter) { return filter < FILTER_POINTS - 1 ? filter + 1 : POINTS; }
};

// In one dimension, for as many channels as there are lanes. What divides stands with the filters, which are the
// fewest. In the paper's notation: input is the transposed B, filter_taps G, output the transposed A; for the gradient
// of filters output_gradient is A and filter_gradient the transposed G.
template <int M> struct Winograd;

template <> struct Winograd<2> : Tile<4, 4, 4, 2, 2, 1> {
    static inline void input(const Floats* d, Floats* to) {
        to[0] = d[0] - d[2], to[1] = d[1] + d[2], to[2] = d[2] - d[1], to[3] = d[1] - d[3];
    }
    static inline void filter_taps(const Floats* g, Floats* to) {
        to[0] = g[0], to[3] = g[2];
        to[1] = 0.5f * (g[0] + g[1] + g[2]), to[2] = 0.5f * (g[0] - g[1] + g[2]);
    }
    static inline void output(const Floats* m, Floats* to) { to[0] = m[0] + m[1] + m[2], to[1] = m[1] - m[2] - m[3]; }
};

template <> struct Winograd<3> : Tile<5, 5, 5, 3, 3, 1> {
    static constexpr float P = 0.4f, Q = 1.3f, P2 = P * P, Q2 = Q * Q;
    static constexpr float AT_P = 0.5f / (P * (P2 - Q2)), AT_Q = 0.5f / (Q * (Q2 - P2));

    static inline void input(const Floats* d, Floats* to) {
        Floats odd_p = d[3] - Q2 * d[1], even_p = P * (d[2] - Q2 * d[0]);
        Floats odd_q = d[3] - P2 * d[1], even_q = Q * (d[2] - P2 * d[0]);
        to[0] = odd_p + even_p, to[1] = odd_p - even_p, to[2] = odd_q + even_q, to[3] = odd_q - even_q;
        to[4] = d[4] + P2 * Q2 * d[0] - (P2 + Q2) * d[2];
    }
    static inline void filter_taps(const Floats* g, Floats* to) {
        Floats even_p = AT_P * (g[0] + P2 * g[2]), odd_p = AT_P * P * g[1];
        Floats even_q = AT_Q * (g[0] + Q2 * g[2]), odd_q = AT_Q * Q * g[1];
        to[0] = odd_p + even_p, to[1] = odd_p - even_p, to[2] = odd_q + even_q, to[3] = odd_q - even_q;
        to[4] = g[2];
    }
    static inline void output(const Floats* m, Floats* to) {
        Floats even_p = m[0] + m[1], even_q = m[2] + m[3];
        to[0] = even_p + even_q, to[1] = P * (m[0] - m[1]) + Q * (m[2] - m[3]);
        to[2] = P2 * even_p + Q2 * even_q + m[4];
    }
    // Of outputs, and what sums for filters become: the transposes of `outputs` and `filters`
    static inline void output_gradient(const Floats* g, Floats* to) {
        Floats even_p = g[0] + P2 * g[2], odd_p = P * g[1], even_q = g[0] + Q2 * g[2], odd_q = Q * g[1];
        to[0] = even_p + odd_p, to[1] = even_p - odd_p, to[2] = even_q + odd_q, to[3] = even_q - odd_q;
        to[4] = g[2];
    }
    static inline void filter_gradient(const Floats* u, Floats* to) {
        Floats even_p = AT_P * (u[0] - u[1]), even_q = AT_Q * (u[2] - u[3]);
        to[0] = even_p + even_q, to[1] = AT_P * P * (u[0] + u[1]) + AT_Q * Q * (u[2] + u[3]);
        to[2] = P2 * even_p + Q2 * even_q + u[4];
    }
};

template <> struct Winograd<4> : Tile<6, 6, 6, 4, 4, 1> {
    static constexpr float P = 0.65f, Q = 1.5f, P2 = P * P, Q2 = Q * Q;
    static constexpr float AT_0 = 1 / (P2 * Q2), AT_P = 0.5f / (P2 * (P2 - Q2)), AT_Q = 0.5f / (Q2 * (Q2 - P2));

    static inline void input(const Floats* d, Floats* to) {
        Floats even_p = d[4] - Q2 * d[2], odd_p = P * (d[3] - Q2 * d[1]);
        Floats even_q = d[4] - P2 * d[2], odd_q = Q * (d[3] - P2 * d[1]);
        to[0] = d[4] + P2 * Q2 * d[0] - (P2 + Q2) * d[2];
        to[1] = even_p + odd_p, to[2] = even_p - odd_p, to[3] = even_q + odd_q, to[4] = even_q - odd_q;
        to[5] = d[5] + P2 * Q2 * d[1] - (P2 + Q2) * d[3];
    }
    static inline void filter_taps(const Floats* g, Floats* to) {
        Floats even_p = AT_P * (g[0] + P2 * g[2]), odd_p = AT_P * P * g[1];
        Floats even_q = AT_Q * (g[0] + Q2 * g[2]), odd_q = AT_Q * Q * g[1];
        to[0] = AT_0 * g[0], to[5] = g[2];
        to[1] = even_p + odd_p, to[2] = even_p - odd_p, to[3] = even_q + odd_q, to[4] = even_q - odd_q;
    }
    static inline void output(const Floats* m, Floats* to) {
        Floats even_p = m[1] + m[2], odd_p = P * (m[1] - m[2]), even_q = m[3] + m[4], odd_q = Q * (m[3] - m[4]);
        to[0] = m[0] + even_p + even_q, to[1] = odd_p + odd_q;
        to[2] = P2 * even_p + Q2 * even_q, to[3] = P2 * odd_p + Q2 * odd_q + m[5];
    }
    static inline void output_gradient(const Floats* g, Floats* to) {
        Floats even_p = g[0] + P2 * g[2], odd_p = P * (g[1] + P2 * g[3]);
        Floats even_q = g[0] + Q2 * g[2], odd_q = Q * (g[1] + Q2 * g[3]);
        to[0] = g[0], to[5] = g[3];
        to[1] = even_p + odd_p, to[2] = even_p - odd_p, to[3] = even_q + odd_q, to[4] = even_q - odd_q;
    }
    static inline void filter_gradient(const Floats* u, Floats* to) {
        Floats even_p = AT_P * (u[1] + u[2]), odd_p = AT_P * P * (u[1] - u[2]);
        Floats even_q = AT_Q * (u[3] + u[4]), odd_q = AT_Q * Q * (u[3] - u[4]);
        to[0] = AT_0 * u[0] + even_p + even_q, to[1] = odd_p + odd_q, to[2] = P2 * even_p + Q2 * even_q + u[5];
    }
};

// A convolution of two taps: four outputs of five values.
struct TwoTaps {
    static constexpr float P = 0.4f, Q = 1.3f, P2 = P * P, Q2 = Q * Q;
    static constexpr float AT_P = 0.5f / (P * (P2 - Q2)), AT_Q = 0.5f / (Q * (Q2 - P2));

    static inline void input(const Floats* d, Floats* to) { Winograd<3>::input(d, to); }  // of the same points
    static inline void filter_taps(Floats first, Floats second, Floats* to) {
        Floats odd_p = P * second, odd_q = Q * second;
        to[0] = AT_P * (odd_p + first), to[1] = AT_P * (odd_p - first);
        to[2] = AT_Q * (odd_q + first), to[3] = AT_Q * (odd_q - first), to[4] = second;
    }
    static inline void output(const Floats* m, Floats* to) {
        Floats even_p = m[0] + m[1], odd_p = P * (m[0] - m[1]), even_q = m[2] + m[3], odd_q = Q * (m[2] - m[3]);
        to[0] = even_p + even_q, to[1] = odd_p + odd_q;
        to[2] = P2 * even_p + Q2 * even_q, to[3] = P2 * odd_p + Q2 * odd_q + m[4];
    }
    static inline void output_gradient(const Floats* g, Floats* to) {
        Floats even_p = g[0] + P2 * g[2], odd_p = P * (g[1] + P2 * g[3]);
        Floats even_q = g[0] + Q2 * g[2], odd_q = Q * (g[1] + Q2 * g[3]);
        to[0] = even_p + odd_p, to[1] = even_p - odd_p, to[2] = even_q + odd_q, to[3] = even_q - odd_q, to[4] = g[3];
    }
    static inline void filter_gradient(const Floats* u, Floats* first, Floats* second) {
        *first = AT_P * (u[0] - u[1]) + AT_Q * (u[2] - u[3]);
        *second = AT_P * P * (u[0] + u[1]) + AT_Q * Q * (u[2] + u[3]) + u[4];
    }
};

// Stride 2: every second value meets the outer two taps, as in a convolution of stride 1, and those between the middle
// one. Four outputs need five products for the former and four for the latter.
struct Halving : Tile<9, 9, 6, 4, 8, 1> {
    static inline void input(const Floats* d, Floats* to) {
        Floats outer[] = {d[0], d[2], d[4], d[6], d[8]};
        TwoTaps::input(outer, to);
        for (int i = 0; i < 4; ++i) to[5 + i] = d[2 * i + 1];
    }
    static inline void filter_taps(const Floats* g, Floats* to) { TwoTaps::filter_taps(g[0], g[2], to), to[5] = g[1]; }
    static inline void output(const Floats* m, Floats* to) {
        TwoTaps::output(m, to);
        for (int i = 0; i < 4; ++i) to[i] += m[5 + i];
    }
    static inline void output_gradient(const Floats* g, Floats* to) {
        TwoTaps::output_gradient(g, to);
        for (int i = 0; i < 4; ++i) to[5 + i] = g[i];
    }
    static inline void filter_gradient(const Floats* u, Floats* to) {
        TwoTaps::filter_gradient(u, to, to + 2), to[1] = u[5];
    }
};

// Its gradient for the values, from that of the outputs and the filters turned
struct Doubling : Tile<5, 9, 6, 8, 4, 0> {
    static inline void filter_taps(const Floats* g, Floats* to) { Halving::filter_taps(g, to); }
    static inline void input(const Floats* d, Floats* to) {
        TwoTaps::input(d, to);
        for (int i = 0; i < 4; ++i) to[5 + i] = d[i];
    }
    static inline void output(const Floats* m, Floats* to) {
        Floats between[4];
        TwoTaps::output(m, between);
        for (int i = 0; i < 4; ++i) to[2 * i] = m[5 + i], to[2 * i + 1] = between[i];
    }
};

// Calls call(tile) for the kind that is known now: 2, 3 or 4 outputs per side with stride 1, HALVING with stride 2,
// DOUBLING for the gradient of that.
constexpr int64_t HALVING = 0, DOUBLING = 1;

template <class Call> inline void by_kind(int64_t kind, Call call) {
    if (kind == 2) call(Winograd<2>());
    if (kind == 3) call(Winograd<3>());
    if (kind == 4) call(Winograd<4>());
    if (kind == HALVING) call(Halving());
    if (kind == DOUBLING) call(Doubling());
}

// Addresses of a square of an image's pixels; those outside of it are zeros
template <int SIDE, class T>
inline void find_square(const T* image, int64_t top, int64_t left, int64_t height, int64_t width, int64_t channels,
                        const T* zeros, const T** pixels) {
    for (int64_t i = 0; i < SIDE; ++i) {
        bool inside = top + i >= 0 && top + i < height;
        const T* pixel = image + ((top + i) * width + left) * channels;
        for (int64_t k = 0; k < SIDE; ++k, pixel += channels)
            pixels[i * SIDE + k] = inside && left + k >= 0 && left + k < width ? pixel : zeros;
    }
}

// Pixels as they are or, RECTIFIED, what ReLU makes of a norm of them; zero outside of the image
template <bool RECTIFIED> struct Loaded {
    Floats scale, shift;

    Loaded(const float* affine, int64_t channels, int64_t c) {
        if constexpr (RECTIFIED) scale = load(affine + c), shift = load(affine + channels + c);
    }

    inline Floats of(Floats x, bool inside) const {
        if constexpr (!RECTIFIED) return x;
        Floats value = x * scale + shift;
        return inside ? value < 0.f ? Floats{} : value : Floats{};  // NaN stays NaN
    }
};

// In two dimensions: IN x IN numbers, which load(i) gives, to OUT x OUT, which store(i, number) takes; first all
// columns, then all rows. Unrolled as a whole, so that what is between stays in registers where there are enough.
template <int IN, int OUT, class Along, class Load, class Store>
__attribute__((always_inline)) inline void in_square(Along along, Load load, Store store) {
    Floats between[OUT][IN];
#pragma GCC unroll 16
    for (int x = 0; x < IN; ++x) {
        Floats column[IN], found[OUT];
#pragma GCC unroll 16
        for (int y = 0; y < IN; ++y) column[y] = load(y * IN + x);
        along(column, found);
#pragma GCC unroll 16
        for (int y = 0; y < OUT; ++y) between[y][x] = found[y];
    }
#pragma GCC unroll 16
    for (int y = 0; y < OUT; ++y) {
        Floats found[OUT];
        along(between[y], found);
#pragma GCC unroll 16
        for (int x = 0; x < OUT; ++x) store(y * OUT + x, found[x]);
    }
}

}  // namespace
