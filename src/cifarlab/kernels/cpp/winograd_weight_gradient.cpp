// The gradient for the filters of a 3x3 convolution with fewer products: the transpose of winograd.cpp.
//
// A tile of inputs and the square of gradients above it become squares of numbers; the sums of their products over all
// tiles become the 3x3 numbers for the filters at the end. Where the CPU multiplies pairs of bf16, the pairs are the
// same tile of two images. See winograd.h for the transformations.
//
// What remains are products of small matrices that fit into a core's own caches, summed up in registers (K. Goto and R.
// van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008).

#include "exported.h"
#include "memory.h"
#include "sums.h"
#include "winograd.h"

#include <algorithm>

namespace {

constexpr int ROWS = LANES == 16 ? 8 : 4;       // channels that are summed up at once, in twice as many registers
constexpr int64_t PANEL = 9 * LANES * COLUMNS;  // sums of LANES rows and all columns: [9][LANES][COLUMNS]
constexpr int64_t BLOCK_WORDS = 1 << 17;        // in a block, or as many as there are sums
constexpr int64_t SUMS = 1 << 26;               // of all cores: more of them would have too much to add up

struct Shape {
    int64_t images, height, width, channels, out_height, out_width, channels_out;
    int64_t outputs = 0, points = 0;  // of a tile, per side

    int64_t across() const { return (out_width + outputs - 1) / outputs; }
    int64_t tiles() const { return (out_height + outputs - 1) / outputs * across(); }
    int64_t row_panels() const { return (channels + LANES - 1) / LANES; }
    int64_t rows() const { return row_panels() * LANES; }
    int64_t size() const { return row_panels() * (channels_out / COLUMNS) * PANEL; }
    int64_t value_map() const { return height * width * channels; }
    int64_t gradient_map() const { return out_height * out_width * channels_out; }
    int64_t groups = 0;  // of as many images as a word holds
    // terms: tiles of groups of images
    int64_t all() const { return groups * tiles(); }
};

// What a core does: terms from `start` to `end`, columns from `first` to `last`
struct Part {
    int64_t start, end, first, last;

    int64_t columns() const { return last - first; }
};

// Terms are divided between the cores, which then have sums of their own to be added up; or where these are more than
// there are values to transform, columns.
struct Division {
    int64_t of_terms, of_columns;

    Division(const Shape& s) : of_terms(1), of_columns(1) {
        int64_t cores = max_threads(), columns = s.channels_out / COLUMNS;
        if (s.size() >= s.all() * s.points * s.points * s.channels)
            of_columns = std::min(cores, columns);
        else
            of_terms = std::max<int64_t>(1, std::min({s.all(), SUMS / s.size(), cores}));
    }

    Part of(int64_t core, const Shape& s) const {
        int64_t terms = core % of_terms, columns = core / of_terms, all = s.channels_out / COLUMNS;
        return {terms * s.all() / of_terms, (terms + 1) * s.all() / of_terms, columns * all / of_columns * COLUMNS,
                (columns + 1) * all / of_columns * COLUMNS};
    }
};

// Some terms of a part: inputs as [POINTS^2][LANES rows][term][row], gradients as [POINTS^2][columns][term][column];
// rows beyond the channels are zeros
template <class W, class T> class Block {
public:
    Block(const Shape& shape, const Part& part, int64_t most)
        : shape(shape),
          part(part),
          zeros(std::max(shape.channels, shape.channels_out)),
          values(MATRICES * (most * shape.rows() + LANES)),
          gradients(MATRICES * (most * part.columns() + LANES)) {}

    // Not inlined: beside it compilers lose the registers of `multiply`, which then takes twice as long
    template <bool RECTIFIED>
    __attribute__((noinline)) void load(const T* all_values, const float* affine, const T* all_gradients, int64_t first,
                                        int64_t last) {
        terms = last - first;
        for (int64_t term = 0; term < terms; ++term) {
            int64_t group = (first + term) / shape.tiles(), tile = (first + term) % shape.tiles();
            int64_t images[PACKED];  // -1 for one that is not there
            for (int64_t i = 0; i < PACKED; ++i)
                images[i] = PACKED * group + i < shape.images ? PACKED * group + i : -1;
            load_values<RECTIFIED>(all_values, affine, images, tile, term);
            load_gradients(all_gradients, images, tile, term);
        }
    }

    // What this block adds to the sums of a panel; `fresh`: there are none yet. Meanwhile asks for what comes next:
    // this is the panel after `done` of `panels`
    void add_to(float* panel, int64_t row, int64_t column, bool fresh, Ahead* ahead, int64_t done,
                int64_t panels) const {
        for (int64_t half = 0; half < std::min<int64_t>(LANES, shape.channels - row); half += ROWS) {
            alignas(64) float found[FILTERS][ROWS * COLUMNS];
            for (int k = 0; k < FILTERS; ++k) {
                ahead->ask((LANES / ROWS * done + half / ROWS) * FILTERS + k + 1, LANES / ROWS * panels * FILTERS);
                multiply(k, row, half, column - part.first, found[k]);
            }
            float* of_half = panel + half * COLUMNS;
            fresh ? add_taps<true>(found[0], of_half) : add_taps<false>(found[0], of_half);
        }
    }

private:
    static constexpr int N = W::POINTS, MATRICES = N * N, FILTERS = W::FILTER_POINTS * W::FILTER_POINTS;
    static constexpr int PACKED = Terms<T>::PACKED;
    const Shape& shape;
    const Part& part;
    Zeros<T> zeros;
    Array<uint32_t> values, gradients;
    int64_t terms = 0;

    // of the matrices; a cache line more than they hold, or all would lie in the same places of the caches
    int64_t values_apart() const { return shape.rows() * terms + LANES; }
    int64_t gradients_apart() const { return part.columns() * terms + LANES; }

    template <bool FRESH> static inline void add_taps(const float* found, float* to) {
        for (int64_t i = 0; i < ROWS * COLUMNS; i += LANES)
            in_square<W::FILTER_POINTS, 3>(
                W::filter_gradient, [=](int k) { return ::load(found + k * ROWS * COLUMNS + i); },
                [=](int tap, Floats value) {
                    float* at = to + tap * LANES * COLUMNS + i;
                    FRESH ? store(at, value) : add(at, value);
                });
    }

    // Over all numbers that belong to filter k
    void multiply(int k, int64_t row, int64_t half, int64_t column, float* to) const {
        Products<T, ROWS> sums;
        int y = k / W::FILTER_POINTS, x = k % W::FILTER_POINTS;
        for (int i = y; i < W::last(y); ++i)
            for (int j = x; j < W::last(x); ++j)
                sums.template add_rows<LANES>(values.start + (i * N + j) * values_apart() + row * terms + half,
                                              gradients.start + (i * N + j) * gradients_apart() + column * terms,
                                              terms);
        sums.store(to);
    }

    template <bool RECTIFIED>
    void load_values(const T* maps, const float* affine, const int64_t* images, int64_t tile, int64_t term) {
        const T* pixels[PACKED][W::SIDE * W::SIDE];
        int64_t top = tile / shape.across() * W::STEP - W::BEFORE, left = tile % shape.across() * W::STEP - W::BEFORE;
        for (int i = 0; i < PACKED; ++i)  // an image that is not there has no rows
            find_square<W::SIDE>(maps + images[i] * shape.value_map(), top, left, images[i] < 0 ? 0 : shape.height,
                                 shape.width, shape.channels, zeros.start, pixels[i]);
        for (int64_t c = 0; c < shape.channels; c += LANES) {
            int64_t some = std::min<int64_t>(shape.channels - c, LANES);
            Loaded<RECTIFIED> loaded(affine, shape.channels, c);
            auto load = [&](int i, int k) {
                return loaded.of(load_some(pixels[i][k] + c, some), pixels[i][k] != zeros.start);
            };
            write_words<W::SIDE>(load, W::input, values_apart(), values.start + c * terms + term * LANES);
        }
    }

    void load_gradients(const T* maps, const int64_t* images, int64_t tile, int64_t term) {
        const T* pixels[PACKED][W::OUTPUTS * W::OUTPUTS];
        int64_t top = tile / shape.across() * W::OUTPUTS, left = tile % shape.across() * W::OUTPUTS;
        for (int i = 0; i < PACKED; ++i)
            find_square<W::OUTPUTS>(maps + images[i] * shape.gradient_map(), top, left,
                                    images[i] < 0 ? 0 : shape.out_height, shape.out_width, shape.channels_out,
                                    zeros.start, pixels[i]);
        for (int64_t c = 0; c < part.columns(); c += LANES)
            write_words<W::OUTPUTS>([&](int i, int k) { return ::load(pixels[i][k] + part.first + c); },
                                    W::output_gradient, gradients_apart(),
                                    gradients.start + c / COLUMNS * COLUMNS * terms + term * COLUMNS + c % COLUMNS);
    }

    // The numbers of IN x IN pixels, which load(image, pixel) gives, as words
    template <int IN, class Load, class Along>
    __attribute__((always_inline)) static inline void write_words(Load load, Along along, int64_t apart, uint32_t* to) {
        Floats first[MATRICES];
        if constexpr (PACKED == 2)
            in_square<IN, N>(
                along, [&](int k) { return load(0, k); }, [&](int k, Floats number) { first[k] = number; });
        in_square<IN, N>(
            along, [&](int k) { return load(PACKED - 1, k); },
            [&](int k, Floats number) {
                Floats terms[] = {PACKED == 2 ? first[k] : number, number};
                store(to + k * apart, Terms<T>::pack(terms));
            });
    }
};

// A panel to result[channels_out][9][channels]
inline void write(const float* panel, int64_t row, int64_t column, int64_t channels, float* result) {
    int64_t rows = std::min<int64_t>(LANES, channels - row);
    for (int64_t tap = 0; tap < 9; ++tap)
        for (int64_t c = 0; c < COLUMNS; c += LANES) {
            Floats square[LANES];
            for (int64_t i = 0; i < LANES; ++i) square[i] = load(panel + (tap * LANES + i) * COLUMNS + c);
            transpose(square);
            for (int64_t i = 0; i < LANES; ++i) {
                float* to = result + ((column + c + i) * 9 + tap) * channels + row;
                if (rows == LANES)
                    store(to, square[i]);
                else
                    std::memcpy(to, &square[i], rows * sizeof(float));
            }
        }
}

// Adds up the panels of all cores and writes this thread's share of them
void add_up(float* sums, int64_t cores, const Shape& s, Thread thread, float* result) {
    thread.share(s.size() / PANEL, [&](int64_t panel) {
        int64_t at = panel * PANEL;
        for (int64_t core = 1; core < cores; ++core)
            for (int64_t i = 0; i < PANEL; i += LANES) add(sums + at + i, load(sums + core * s.size() + at + i));
        write(sums + at, at / PANEL % s.row_panels() * LANES, at / PANEL / s.row_panels() * COLUMNS, s.channels,
              result);
    });
}

// Notes the rows of pixels that terms are made of
template <class W, class T>
void note_rows(const T* values, const T* gradients, const Shape& s, int64_t first, int64_t last, Ahead* ahead) {
    constexpr int64_t PACKED = Terms<T>::PACKED;
    int64_t group = first / s.tiles(), last_group = (last - 1) / s.tiles();
    int64_t row = first % s.tiles() / s.across(), last_row = (last - 1) % s.tiles() / s.across();
    if (group < last_group) row = 0, last_row = s.tiles() / s.across() - 1;
    int64_t top = std::max<int64_t>(0, row * W::STEP - W::BEFORE), out_top = row * W::OUTPUTS;
    int64_t bottom = std::min(s.height, last_row * W::STEP - W::BEFORE + W::SIDE);
    int64_t out_bottom = std::min(s.out_height, (last_row + 1) * W::OUTPUTS);
    for (int64_t image = PACKED * group; image < std::min(PACKED * (last_group + 1), s.images); ++image) {
        const T *value = values + image * s.value_map(), *gradient = gradients + image * s.gradient_map();
        int64_t of_row = s.width * s.channels, of_out_row = s.out_width * s.channels_out;
        ahead->note(value + top * of_row, value + bottom * of_row);
        ahead->note(gradient + out_top * of_out_row, gradient + out_bottom * of_out_row);
    }
}

// What one core does; its sums are [columns][rows][9][LANES][COLUMNS]
template <class W, class T>
void sum_up(const T* values, const float* affine, const T* gradients, const Shape& s, const Part& part, bool alone,
            float* sums, float* result) {
    int64_t words = s.points * s.points * (s.rows() + part.columns()), num = part.end - part.start;
    // few enough terms for a core's caches, enough to be worth loading and storing so many sums for; those of so many
    // numbers per tile are worth leaving the second cache for
    int64_t at_once = std::max<int64_t>(1, std::max(BLOCK_WORDS, s.size()) / (words / (W::POINTS > 6 ? 4 : 1)));
    int64_t blocks = (num + at_once - 1) / at_once;
    auto first_of = [&](int64_t i) { return part.start + std::min(i, blocks) * num / blocks; };
    Block<W, T> block(s, part, (num + blocks - 1) / blocks);
    alignas(64) float panel_alone[PANEL];
    Ahead ahead;
    for (int64_t i = 0; i < blocks; ++i) {
        if (affine)
            block.template load<true>(values, affine, gradients, first_of(i), first_of(i + 1));
        else
            block.template load<false>(values, nullptr, gradients, first_of(i), first_of(i + 1));
        ahead.clear();
        if (i + 1 < blocks) note_rows<W>(values, gradients, s, first_of(i + 1), first_of(i + 2), &ahead);
        int64_t done = 0, panels = part.columns() / COLUMNS * s.row_panels();
        for (int64_t column = part.first; column < part.last; column += COLUMNS)
            for (int64_t row = 0; row < s.channels; row += LANES, ++done) {
                float* of_panel = sums + (column / COLUMNS * s.row_panels() + row / LANES) * PANEL;
                float* panel = alone && blocks == 1 ? panel_alone : of_panel;
                block.add_to(panel, row, column, i == 0, &ahead, done, panels);
                if (alone && i + 1 == blocks) write(panel, row, column, s.channels, result);
            }
    }
}

template <class W, class T>
void weight_gradient(const T* values, const float* affine, const T* gradients, Shape s, float* result) {
    s.outputs = W::OUTPUTS, s.points = W::POINTS;
    s.groups = (s.images + Terms<T>::PACKED - 1) / Terms<T>::PACKED;
    Division division(s);
    Array<float> sums(division.of_terms * s.size());
    on_each_thread([&](Thread thread) {
        FlushDenormals flush;
        // the system may have given fewer threads: each takes several parts
        int64_t parts = division.of_terms * division.of_columns;
        for (int64_t i = thread.number; i < parts; i += thread.of)
            sum_up<W, T>(values, affine, gradients, s, division.of(i, s), division.of_terms == 1,
                         sums.start + i % division.of_terms * s.size(), result);
    });
    if (division.of_terms == 1) return;
    on_each_thread([&](Thread thread) {
        FlushDenormals flush;
        add_up(sums.start, division.of_terms, s, thread, result);
    });
}

}  // namespace

// kind: 3 or 4, the outputs per side of a tile with stride 1, or HALVING. values (images, height, width, channels),
// gradients (images, out_height, out_width, channels_out); channels a multiple of 8, channels_out of 32. result:
// (channels_out, 3, 3, channels), as channels-last filters are stored. With affine, which may be null, the values are
// what ReLU makes of a norm of these, with a multiple of LANES channels.
#define EXPORT(T)                                                                                                      \
    EXPORTED void winograd_weight_gradient_##T(                                                                        \
        const T* values, const float* affine, const T* gradients, int64_t kind, int64_t images, int64_t height,        \
        int64_t width, int64_t channels, int64_t out_height, int64_t out_width, int64_t channels_out, float* result) { \
        Shape shape{images, height, width, channels, out_height, out_width, channels_out};                             \
        by_kind(kind, [&](auto k) {                                                                                    \
            if constexpr (decltype(k)::POINTS > 4 && decltype(k)::BEFORE == 1)                                         \
                weight_gradient<decltype(k), T>(values, affine, gradients, shape, result);                             \
        });                                                                                                            \
    }

EXPORT(float)
#if defined(__AVX512BF16__)
EXPORT(bf16)
#endif
