// How maps are cut into tiles, and what becomes of the tiles' products: outputs, as they are or pooled.

#pragma once

#include "memory.h"
#include "sums.h"
#include "winograd.h"

#include <algorithm>

namespace {

struct Shape {
    int64_t images, height, width, channels, out_height, out_width, channels_out;
    int64_t down = 0, across = 0;  // tiles per image

    template <class W> Shape in_tiles() const {
        Shape s = *this;
        s.down = (out_height + W::OUTPUTS - 1) / W::OUTPUTS, s.across = (out_width + W::OUTPUTS - 1) / W::OUTPUTS;
        return s;
    }
    int64_t per_image() const { return down * across; }
    int64_t tiles() const { return images * per_image(); }
};

// A tile's place: its image, and its row and column of tiles
struct Place {
    int64_t image, row, column;

    Place(const Shape& s, int64_t tile)
        : image(tile / s.per_image()), row(tile % s.per_image() / s.across), column(tile % s.across) {}

    inline void step(const Shape& s) {
        if (++column < s.across) return;
        column = 0;
        if (++row < s.down) return;
        row = 0, ++image;
    }
};

// Images, or what is in front of a norm, which `affine` is the scale and shift of, and ReLU
template <class T> struct Images {
    const T* maps;
    const float* affine;
};

// values[POINTS^2][..][channels] of `num` tiles; the matrices are `apart`
template <class W, bool RECTIFIED, class T>
void transform(const Images<T>& images, const Shape& s, int64_t first, int64_t num, const T* zeros, T* values,
               int64_t apart) {
    const T* pixels[W::SIDE * W::SIDE];
    Place place(s, first);
    for (int64_t tile = 0; tile < num; ++tile, place.step(s)) {
        find_square<W::SIDE>(images.maps + place.image * s.height * s.width * s.channels,
                             place.row * W::STEP - W::BEFORE, place.column * W::STEP - W::BEFORE, s.height, s.width,
                             s.channels, zeros, pixels);
        for (int64_t i = 0; i < s.channels; i += LANES) {
            int64_t c =
                std::min(i, s.channels - LANES);  // the last ones overlap where LANES does not divide the channels
            T* to = values + tile * s.channels + c;
            Loaded<RECTIFIED> loaded(images.affine, s.channels, c);
            in_square<W::SIDE, W::POINTS>(
                W::input, [&](int k) { return loaded.of(load(pixels[k] + c), pixels[k] != zeros); },
                [to, apart](int k, Floats number) { store(to + k * apart, number); });
        }
    }
}

// Notes the rows of pixels that some tiles are made of
template <class W, class T> void note_rows(const T* images, const Shape& s, int64_t first, int64_t num, Ahead* ahead) {
    Place one(s, first), other(s, first + num - 1);
    int64_t top = std::max<int64_t>(0, one.row * W::STEP - W::BEFORE);
    int64_t bottom = std::min(s.height, other.row * W::STEP - W::BEFORE + W::SIDE), row = s.width * s.channels;
    ahead->note(images + (one.image * s.height + top) * row, images + (other.image * s.height + bottom) * row);
}

// The outputs of one tile for COLUMNS channels_out
template <class W>
inline void transform_back(const float* sums, int64_t step, Floats (*outputs)[W::OUTPUTS * W::OUTPUTS]) {
    for (int64_t c = 0; c < COLUMNS; c += LANES)
        in_square<W::POINTS, W::OUTPUTS>(
            W::output, [sums, step, c](int k) { return load(sums + k * step + c); },
            [outputs, c](int i, Floats output) { outputs[c / LANES][i] = output; });
}

// A map like the result to be added to it or, with `apart` 2, to every second pixel of every second row; may be null
template <class T> struct Added {
    const T* map;
    int64_t apart;

    inline const T* at(const Place& place, const Shape& s, int64_t y, int64_t x, int64_t to) const {
        if (!map || apart == 1) return map ? map + to : nullptr;
        if (y % 2 || x % 2) return nullptr;
        int64_t line = place.image * ((s.out_height + 1) / 2) + y / 2;
        return map + (line * ((s.out_width + 1) / 2) + x / 2) * s.channels_out + to % s.channels_out;
    }
};

// Of a gradient for what a norm of x and ReLU have made: it ends where ReLU let nothing pass, as one bit per number
// says or, where these are null, the norm's scale and shift. The sums are then those of the gradient, and of the
// gradient * x. Without x there is none.
template <class T> struct Gate {
    const T* x;
    const Mask* passed;
    const float* affine;

    // here: x at `to`, for LANES channels from c on
    inline Floats pass(Floats value, Floats here, int64_t to, int64_t c, int64_t channels) const {
        return masked(passed ? passed[to / LANES] : above_0(here * load(affine + c) + load(affine + channels + c)),
                      value);
    }
};

// Writes the outputs of tiles for some channels_out, with a shift per channel, something added, and through a gate
template <class W, class T> struct Plainly {
    static constexpr int M = W::OUTPUTS;
    static constexpr bool ACROSS = false;
    const Shape& s;
    const float* bias;  // may be null
    Added<T> added;
    Gate<T> gate;
    T* result;

    // Not inlined: beside it compilers lose the registers of the products
    __attribute__((noinline)) void operator()(const float* sums, int64_t apart, int64_t first, int64_t num,
                                              int64_t column, double* totals) const {
        Floats shift[2] = {};
        if (bias) shift[0] = load(bias + column), shift[1] = load(bias + column + LANES);
        ColumnSums found;
        Place place(s, first);
        for (int64_t tile = 0; tile < num; ++tile, place.step(s)) {
            Floats outputs[2][M * M];
            transform_back<W>(sums + tile * COLUMNS, apart, outputs);
            if (tile == 0) set_base(place, column, outputs, &found);
            for_pixels(place, column, [&](int64_t i, int64_t to, const T* more) __attribute__((always_inline)) {
                Floats two[] = {outputs[0][i] + shift[0], outputs[1][i] + shift[1]};
                if (more) two[0] += load(more), two[1] += load(more + LANES);
                if (gate.x) {
                    Floats x[] = {load(gate.x + to), load(gate.x + to + LANES)};
                    for (int64_t half = 0; half < 2; ++half)
                        two[half] =
                            gate.pass(two[half], x[half], to + half * LANES, column + half * LANES, s.channels_out);
                    if (totals) found.product(two, x);
                } else if (totals) {
                    found.square(two);
                }
                store_two(result + to, two[0], two[1]);
            });
        }
        if (totals) found.add_to(totals + column, s.channels_out);
    }

    // The first pixel of the first tile lies near all others, as sums need it
    void set_base(const Place& place, int64_t column, const Floats (*outputs)[M * M], ColumnSums* found) const {
        int64_t pixel = (place.image * s.out_height + place.row * M) * s.out_width + place.column * M;
        for (int64_t half = 0; half < 2; ++half) {
            int64_t c = column + half * LANES;
            found->base[half] = gate.x ? load(gate.x + pixel * s.channels_out + c) : outputs[half][0];
        }
    }

    __attribute__((always_inline)) void ask_for(const Place& place, int64_t column) const {
        for_pixels(place, column, [this](int64_t, int64_t to, const T* more) __attribute__((always_inline)) {
            prefetch<1>(result + to, 1, COLUMNS * sizeof(T), 0);
            if (more) prefetch<0>(more, 1, COLUMNS * sizeof(T), 0);
            if (gate.x) prefetch<0>(gate.x + to, 1, COLUMNS * sizeof(T), 0);
            if (gate.passed) prefetch<0>(gate.passed + to / LANES, 1, 2 * sizeof(Mask), 0);
        });
    }

    // Calls work(which of the tile, where in the result, what is to be added) for the pixels that lie within the map
    template <class Work>
    __attribute__((always_inline)) inline void for_pixels(const Place& place, int64_t column, Work work) const {
        int64_t top = place.row * M, left = place.column * M;
        int64_t rows = std::min<int64_t>(M, s.out_height - top), columns = std::min<int64_t>(M, s.out_width - left);
        for (int64_t y = 0; y < rows; ++y) {
            int64_t line = (place.image * s.out_height + top + y) * s.out_width + left;
            int64_t to = line * s.channels_out + column;
            for (int64_t x = 0; x < columns; ++x, to += s.channels_out)
                work(y * M + x, to, added.at(place, s, top + y, left + x, to));
        }
    }
};

// The same pooled 2x2. Also writes where the largest was found (0 to 3). Windows lie within tiles or, where a tile's
// side is odd, reach across: then the tiles of an image come together.
template <class W, class T> struct Pooled {
    static constexpr int M = W::OUTPUTS, HALVES = 2;
    static constexpr bool ACROSS = M % 2 != 0;
    const Shape& s;
    T* result;
    uint8_t* places;

    // Not inlined: beside it compilers lose the registers of the products
    __attribute__((noinline)) void operator()(const float* sums, int64_t apart, int64_t first, int64_t num,
                                              int64_t column, double* totals) const {
        ColumnSums found;
        Place place(s, first);
        int64_t side = ACROSS ? s.across * M : M, pixels = ACROSS ? s.down * M * side : M * M;
        Array<Floats> image(ACROSS ? HALVES * pixels : 0);
        for (int64_t tile = 0; tile < num; ++tile, place.step(s)) {
            Floats outputs[HALVES][M * M];
            transform_back<W>(sums + tile * COLUMNS, apart, outputs);
            if (tile == 0) found.base[0] = outputs[0][0], found.base[1] = outputs[1][0];
            if constexpr (ACROSS) {
                for (int64_t half = 0; half < HALVES; ++half)
                    for (int64_t i = 0; i < M * M; ++i)
                        image[half * pixels + (place.row * M + i / M) * side + place.column * M + i % M] =
                            outputs[half][i];
                if (place.row + 1 == s.down && place.column + 1 == s.across)
                    pool(image.start, pixels, side, {s, first + tile + 1 - s.per_image()}, column, &found);
            } else {
                pool(outputs[0], pixels, side, place, column, &found);
            }
        }
        found.add_to(totals + column, s.channels_out);
    }

    // outputs: for each half of the columns so many pixels, with rows of `side`; place: of the first
    inline void pool(const Floats* outputs, int64_t pixels, int64_t side, const Place& place, int64_t column,
                     ColumnSums* found) const {
        for_pixels(place, column, [&](int64_t y, int64_t x, int64_t to) __attribute__((always_inline)) {
            Floats two[HALVES];
            for (int64_t half = 0; half < HALVES; ++half) {
                const Floats* corner = outputs + half * pixels + 2 * y * side + 2 * x;
                Floats window[] = {corner[0], corner[1], corner[side], corner[side + 1]};
                two[half] = write_largest(window, to + half * LANES);
            }
            found->square(two);
        });
    }

    // Returns it as the next layer will see it
    Floats write_largest(const Floats* window, int64_t to) const {
        Ints place;
        store(result + to, largest(window, &place));
        Bytes bytes = __builtin_convertvector(place, Bytes);
        std::memcpy(places + to, &bytes, sizeof bytes);
        return load(result + to);
    }

    __attribute__((always_inline)) void ask_for(const Place& place, int64_t column) const {
        if (ACROSS && (place.row || place.column)) return;
        for_pixels(place, column, [this](int64_t, int64_t, int64_t to) __attribute__((always_inline)) {
            prefetch<1>(result + to, 1, COLUMNS * sizeof(T), 0);
            prefetch<1>(places + to, 1, COLUMNS, 0);
        });
    }

    // Calls work(row and column in what is pooled at once, where in the result) for the pixels that lie within the map
    template <class Work>
    __attribute__((always_inline)) inline void for_pixels(const Place& place, int64_t column, Work work) const {
        int64_t height = s.out_height / 2, width = s.out_width / 2, top = place.row * M / 2,
                left = place.column * M / 2;
        int64_t rows = ACROSS ? height : std::min<int64_t>(M / 2, height - top);
        int64_t columns = ACROSS ? width : std::min<int64_t>(M / 2, width - left);
        for (int64_t y = 0; y < rows; ++y) {
            int64_t to = ((place.image * height + top + y) * width + left) * s.channels_out + column;
            for (int64_t x = 0; x < columns; ++x, to += s.channels_out) work(y, x, to);
        }
    }
};

}  // namespace
