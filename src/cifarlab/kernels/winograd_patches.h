// How maps are cut into patches, and what the patches' numbers become in the end: outputs, as they are or pooled.

#pragma once

#include "prefetch.h"
#include "winograd.h"
#include "winograd_products.h"

#include <algorithm>

namespace {

struct Shape {
    long images, height, width, channels, out_height, out_width, channels_out;
    long down = 0, across = 0;  // patches per image

    template <class W> Shape in_patches() const {
        Shape s = *this;
        s.down = (out_height + W::OUTPUTS - 1) / W::OUTPUTS, s.across = (out_width + W::OUTPUTS - 1) / W::OUTPUTS;
        return s;
    }
    long per_image() const { return down * across; }
    long patches() const { return images * per_image(); }
};

// A patch's place: its image, and its row and column of patches
struct Place {
    long image, row, column;

    Place(const Shape& s, long patch)
        : image(patch / s.per_image()), row(patch % s.per_image() / s.across), column(patch % s.across) {}

    inline void step(const Shape& s) {
        if (++column < s.across) return;
        column = 0;
        if (++row < s.down) return;
        row = 0, ++image;
    }
};

// values[NUMBERS^2][..][channels] of `num` patches; the matrices are `apart`
template <class W, class T>
void transform(const T* images, const Shape& s, long first, long num, const T* zeros, T* values, long apart) {
    const T* pixels[W::SIDE * W::SIDE];
    Place place(s, first);
    for (long patch = 0; patch < num; ++patch, place.step(s)) {
        const T* image = images + place.image * s.height * s.width * s.channels;
        long top = place.row * W::STEP - W::BEFORE, left = place.column * W::STEP - W::BEFORE;
        for (long i = 0; i < W::SIDE; ++i)
            for (long k = 0; k < W::SIDE; ++k) {
                long y = top + i, x = left + k;
                bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
                pixels[i * W::SIDE + k] = inside ? image + (y * s.width + x) * s.channels : zeros;
            }
        for (long i = 0; i < s.channels; i += LANES) {
            long c = std::min(i, s.channels - LANES);  // the last ones overlap where 16 do not divide the channels
            T* to = values + patch * s.channels + c;
            in_square<W::SIDE, W::NUMBERS>(
                W::values, [&pixels, c](int k) { return load(pixels[k] + c); },
                [to, apart](int k, Floats number) { store(to + k * apart, number); });
        }
    }
}

// Asks for a part of the rows of pixels that some patches are made of
template <class W, class T>
__attribute__((always_inline)) inline void ask_for(const T* images, const Shape& s, long first, long num, long part,
                                                   long parts) {
    if (num <= 0) return;
    Place one(s, first), other(s, first + num - 1);
    long top = std::max(0L, one.row * W::STEP - W::BEFORE);
    long bottom = std::min(s.height, other.row * W::STEP - W::BEFORE + W::SIDE);
    long from = one.image * s.height + top, to = other.image * s.height + bottom, row = s.width * s.channels;
    prefetch(images + from * row, (to - from) * row * sizeof(T), part, parts);
}

// The outputs of one patch for COLUMNS channels_out
template <class W>
inline void transform_back(const float* sums, long step, Floats (*outputs)[W::OUTPUTS * W::OUTPUTS]) {
    for (long c = 0; c < COLUMNS; c += LANES)
        in_square<W::NUMBERS, W::OUTPUTS>(
            W::outputs, [sums, step, c](int k) { return load(sums + k * step + c); },
            [outputs, c](int i, Floats output) { outputs[c / LANES][i] = output; });
}

// Adds up what batch norm needs: sums and sums of squares of COLUMNS channels
struct Totals {
    Floats total[COLUMNS / LANES] = {}, squares[COLUMNS / LANES] = {};

    inline void note(long half, Floats value) { total[half] += value, squares[half] += value * value; }

    void add_to(double* sums, long channels_out) const {
        for (long c = 0; c < COLUMNS; ++c) {
            sums[c] += total[c / LANES][c % LANES];
            sums[channels_out + c] += squares[c / LANES][c % LANES];
        }
    }
};

// A map like the result to be added to it or, with `apart` 2, to every second pixel of every second row; may be null
template <class T> struct Added {
    const T* map;
    long apart;
};

// Writes the outputs of patches for some channels_out, with a shift per channel and something added
template <class W, class T> struct Plainly {
    static constexpr int M = W::OUTPUTS;
    const Shape& s;
    const float* bias;  // may be null
    Added<T> added;
    T* result;

    void operator()(const float* sums, long apart, long first, long num, long column, double* totals) const {
        Floats shift[2] = {};
        if (bias) shift[0] = load(bias + column), shift[1] = load(bias + column + LANES);
        Totals found;
        Place place(s, first);
        for (long patch = 0; patch < num; ++patch, place.step(s)) {
            Floats outputs[COLUMNS / LANES][M * M];
            transform_back<W>(sums + patch * COLUMNS, apart, outputs);
            for (long i = 0; i < M * M; ++i) {
                if (!inside(place, i)) continue;
                Floats one = outputs[0][i] + shift[0], other = outputs[1][i] + shift[1];
                if (const T* more = added_at(place, i))
                    one += load(more + column), other += load(more + column + LANES);
                store_two(result + at(place, i) + column, one, other);
                if (totals) found.note(0, one), found.note(1, other);
            }
        }
        if (totals) found.add_to(totals + column, s.channels_out);
    }

    __attribute__((always_inline)) void ask_for(const Place& place, long column) const {
        for (long i = 0; i < M * M; ++i)
            if (inside(place, i)) {
                prefetch<1>(result + at(place, i) + column, 1, COLUMNS * sizeof(T), 0, 0, 1);
                if (const T* more = added_at(place, i)) prefetch<0>(more + column, 1, COLUMNS * sizeof(T), 0, 0, 1);
            }
    }

    bool inside(const Place& place, long i) const {
        return place.row * M + i / M < s.out_height && place.column * M + i % M < s.out_width;
    }
    long at(const Place& place, long i) const {
        long line = place.image * s.out_height + place.row * M + i / M;
        return (line * s.out_width + place.column * M + i % M) * s.channels_out;
    }
    const T* added_at(const Place& place, long i) const {
        if (!added.map) return nullptr;
        if (added.apart == 1) return added.map + at(place, i);
        long y = place.row * M + i / M, x = place.column * M + i % M;
        if (y % 2 || x % 2) return nullptr;
        long line = place.image * ((s.out_height + 1) / 2) + y / 2;
        return added.map + (line * ((s.out_width + 1) / 2) + x / 2) * s.channels_out;
    }
};

// The same pooled 2x2, with windows that lie within patches. Also writes where the largest was found (0 to 3).
template <class W, class T> struct Pooled {
    static constexpr int M = W::OUTPUTS, HALF = M / 2;
    const Shape& s;
    T* result;
    uint8_t* places;

    void operator()(const float* sums, long apart, long first, long num, long column, double* totals) const {
        Totals found;
        Place place(s, first);
        for (long patch = 0; patch < num; ++patch, place.step(s)) {
            Floats outputs[COLUMNS / LANES][M * M];
            transform_back<W>(sums + patch * COLUMNS, apart, outputs);
            for (long i = 0; i < HALF * HALF; ++i) {
                if (!inside(place, i)) continue;
                for (long c = 0; c < COLUMNS / LANES; ++c) {
                    const Floats* corner = outputs[c] + 2 * (i / HALF) * M + 2 * (i % HALF);
                    Floats window[] = {corner[0], corner[1], corner[M], corner[M + 1]};
                    found.note(c, write_largest(window, at(place, i) + column + c * LANES));
                }
            }
        }
        found.add_to(totals + column, s.channels_out);
    }

    // Gives it as the next layer will see it
    Floats write_largest(const Floats* window, long to) const {
        Ints place;
        store(result + to, largest(window, &place));
        Bytes bytes = __builtin_convertvector(place, Bytes);
        std::memcpy(places + to, &bytes, sizeof bytes);
        return load(result + to);
    }

    __attribute__((always_inline)) void ask_for(const Place& place, long column) const {
        for (long i = 0; i < HALF * HALF; ++i)
            if (inside(place, i)) {
                prefetch<1>(result + at(place, i) + column, 1, COLUMNS * sizeof(T), 0, 0, 1);
                prefetch<1>(places + at(place, i) + column, 1, COLUMNS, 0, 0, 1);
            }
    }

    bool inside(const Place& place, long i) const {
        return place.row * HALF + i / HALF < s.out_height / 2 && place.column * HALF + i % HALF < s.out_width / 2;
    }
    long at(const Place& place, long i) const {
        long line = place.image * (s.out_height / 2) + place.row * HALF + i / HALF;
        return (line * (s.out_width / 2) + place.column * HALF + i % HALF) * s.channels_out;
    }
};

}  // namespace
