// 3x3 convolutions with padding 1 with fewer products; winograd.h has the transformations.
//
// Each square tile of the input becomes a square of numbers, each filter as well; what was a convolution is then for
// each number a product of matrices (tiles x channels) * (channels x channels_out), and these become the outputs of the
// tile. A core takes some tiles, transforms them, multiplies them with COLUMNS channels_out at a time, and transforms
// these back before they leave its caches.
//
// Compiled once for float and, with BF16, for CPUs that multiply bf16, once for that.

#include "exported.h"
#include "winograd_tiles.h"

namespace {

// Filters as the products take them: [channels_out / COLUMNS][FILTER_POINTS^2][channels][COLUMNS] numbers, in words of
// PACKED channels. In bf16, where filters are transformed in every step, a word more per matrix than there is, or all
// numbers would lie in the same places of the caches.
template <class T> constexpr int64_t matrix_words(int64_t channels) {
    return (channels / Terms<T>::PACKED + Terms<T>::PACKED - 1) * COLUMNS;
}

// Writes the words of PACKED channels, whose taps load(channel, tap) gives; the numbers are `apart`
template <class W, class T, class Load> inline void write_words(Load load, uint32_t* to, int64_t apart) {
    constexpr int NUMBERS = W::FILTER_POINTS * W::FILTER_POINTS, PACKED = Terms<T>::PACKED;
    Floats numbers[NUMBERS][PACKED];
    for (int channel = 0; channel < PACKED; ++channel)
        in_square<3, W::FILTER_POINTS>(
            W::filter_taps, [&](int tap) { return load(channel, tap); },
            [&](int number, Floats value) { numbers[number][channel] = value; });
    for (int number = 0; number < NUMBERS; ++number) __builtin_prefetch(to + number * apart + 2 * COLUMNS, 1, 2);
    for (int number = 0; number < NUMBERS; ++number) store(to + number * apart, Terms<T>::pack(numbers[number]));
}

// Filters as they lie in memory: [channels_out][9][channels] or, turned by half a turn, [channels][9][channels_out]
struct Filters {
    const float* taps;
    int64_t channels, channels_out;
    bool turned;

    // LANES channels_out from `out` on, and LANES channels from `channel` on; `to`: where the numbers of the columns
    // begin
    template <class W, class T> void transform(int64_t out, int64_t channel, uint32_t* to) const {
        constexpr int64_t PACKED = Terms<T>::PACKED;
        channel =
            std::min(channel, channels - LANES);  // the last ones overlap where LANES does not divide the channels
        to += channel / PACKED * COLUMNS + out % COLUMNS;
        Floats squares[9][LANES];
        for (int64_t tap = 0; tap < 9 && !turned; ++tap) {
            for (int64_t i = 0; i < LANES; ++i) {
                const float* from = taps + ((out + i) * 9 + tap) * channels + channel;
                __builtin_prefetch(from + LANES, 0, 2);  // of the next channels
                squares[tap][i] = load(from);
            }
            transpose(squares[tap]);
        }
        for (int64_t word = 0; word < LANES / PACKED; ++word, to += COLUMNS) {
            const float* from = taps + (channel + word * PACKED) * 9 * channels_out + out;
            if (turned)
                write_words<W, T>([=](int i, int tap) { return load(from + (i * 9 + 8 - tap) * channels_out); }, to,
                                  matrix_words<T>(channels));
            else
                write_words<W, T>([&](int i, int tap) { return squares[tap][word * PACKED + i]; }, to,
                                  matrix_words<T>(channels));
        }
    }
};

// All of them
template <class W, class T> void transform_all(const Filters& filters, uint32_t* result) {
    int64_t of_columns = W::FILTER_POINTS * W::FILTER_POINTS * matrix_words<T>(filters.channels);
    int64_t outs = filters.channels_out / LANES, per_out = (filters.channels + LANES - 1) / LANES;
    on_each_thread([&](Thread thread) {
        thread.share(outs * per_out, [&](int64_t i) {
            int64_t out = i / per_out * LANES, channel = i % per_out * LANES;
            filters.transform<W, T>(out, channel, result + out / COLUMNS * of_columns);
        });
    });
}

// Tiles at a time: what is made of them and their sums has to fit a core's caches
constexpr int64_t in_block(int points) { return points == 4 ? 64 : points == 5 ? 72 : points == 6 ? 32 : 16; }

constexpr int ROWS = LANES == 8 ? 6 : 8;  // tiles that are multiplied at once: AVX2 has half as many registers

// What is the same for all blocks of tiles
template <class W, class T, class Write> struct Blocks {
    static constexpr int64_t MATRICES = W::POINTS * W::POINTS, FILTERS = W::FILTER_POINTS * W::FILTER_POINTS;
    static constexpr int64_t PACKED = Terms<T>::PACKED;
    Images<T> images;
    const Shape& s;
    Write write;
    int64_t size, values_apart = 0, sums_apart = 0;

    // At most so many tiles in a block, and as many as give all cores as much to do; `kept`: how many rows of values
    // have to fit
    Blocks(const Images<T>& images, const Shape& s, Write write, int64_t most, int64_t cores, int64_t kept)
        : images(images), s(s), write(write), size(even(s.tiles(), most, cores)) {
        if constexpr (Write::ACROSS) size = (size + s.per_image() - 1) / s.per_image() * s.per_image();
        auto whole = [](int64_t rows) { return (rows + ROWS - 1) / ROWS * ROWS; };
        // a cache line more than the matrices hold, or all would lie in the same places of the caches
        values_apart = whole(std::max(size, kept)) * s.channels + LANES * 2;
        sums_apart = (whole(size) + 1) * COLUMNS;
    }

    static int64_t even(int64_t tiles, int64_t most, int64_t cores) {
        int64_t rounds = (tiles + cores * most - 1) / (cores * most);
        return tiles ? (tiles + cores * rounds - 1) / (cores * rounds) : 1;
    }
    int64_t words() const { return s.channels / PACKED; }
    int64_t values_words() const { return MATRICES * values_apart / PACKED; }
    int64_t column_words() const { return FILTERS * matrix_words<T>(s.channels); }
    int64_t in_block_at(int64_t first) const { return std::min(size, s.tiles() - first); }

    // The outputs of the block that begins with tile `first`, for the columns to which `filters` belong; meanwhile
    // asks for their places, and for the images of the next block where there is one
    __attribute__((always_inline)) inline void multiply(const T* values, const uint32_t* filters, int64_t first,
                                                        int64_t column, int64_t next, float* sums,
                                                        double* totals) const {
        int64_t num = in_block_at(first);
        Place asked(s, first);
        Ahead ahead;
        if (next < s.tiles()) note_rows<W>(images.maps, s, next, in_block_at(next), &ahead);
        for (int64_t k = 0; k < MATRICES; ++k) {
            for (int64_t i = k * num / MATRICES; i < (k + 1) * num / MATRICES; ++i, asked.step(s))
                write.ask_for(asked, column);
            ahead.ask(k + 1, MATRICES);
            for (int64_t row = 0; row < num; row += ROWS)
                multiply_rows((const uint32_t*)(values + k * values_apart + row * s.channels),
                              filters + W::filter(k) * matrix_words<T>(s.channels),
                              sums + k * sums_apart + row * COLUMNS);
        }
        write(sums, sums_apart, first, num, column, totals);
    }

private:
    __attribute__((always_inline)) inline void multiply_rows(const uint32_t* values, const uint32_t* filters,
                                                             float* sums) const {
        if constexpr (PACKED == 1)
            multiply_apart(values, filters, words(), sums);
        else
            multiply_here(values, filters, words(), sums);
    }

    __attribute__((always_inline)) static inline void multiply_here(const uint32_t* values, const uint32_t* filters,
                                                                    int64_t words, float* sums) {
        Products<T, ROWS> products;
        products.add_lines(values, filters, words);
        products.store(sums);
    }

    // Among everything else compilers lose its registers in float32, and it takes 1.2 times as long
    __attribute__((noinline)) static void multiply_apart(const uint32_t* values, const uint32_t* filters, int64_t words,
                                                         float* sums) {
        multiply_here(values, filters, words, sums);
    }
};

// Each core takes some blocks
template <class W, bool RECTIFIED, class T, class Write>
void convolve(const Images<T>& images, const uint32_t* filters, const Shape& s, Write write, double* sums_of_all) {
    Blocks<W, T, Write> blocks(images, s, write, in_block(W::POINTS), max_threads(), 0);
    CoreSums adding(sums_of_all, s.channels_out);
    on_each_thread([&](Thread thread) {
        FlushDenormals flush;
        Zeros<uint32_t> values(blocks.values_words());
        Array<float> sums(blocks.MATRICES * blocks.sums_apart);
        Zeros<T> zeros(s.channels);
        thread.share((s.tiles() + blocks.size - 1) / blocks.size, [&](int64_t block) {
            int64_t first = block * blocks.size;
            transform<W, RECTIFIED>(images, s, first, blocks.in_block_at(first), zeros.start, (T*)values.start,
                                    blocks.values_apart);
            for (int64_t column = 0; column < s.channels_out; column += COLUMNS)
                blocks.multiply((const T*)values.start, filters + column / COLUMNS * blocks.column_words(), first,
                                column, column + COLUMNS < s.channels_out ? s.tiles() : first + blocks.size, sums.start,
                                adding.of(thread));
        });
    });
}

// The same where there are more filters than tiles: each core takes some columns, for which it transforms the filters
// when it needs them
template <class W, bool RECTIFIED, class T>
void convolve_by_columns(const Images<T>& images, const Filters& filters, const Shape& s, Plainly<W, T> write,
                         double* sums_of_all) {
    Blocks<W, T, Plainly<W, T>> blocks(images, s, write, 2 * in_block(W::POINTS), 1, s.tiles() + ROWS);
    CoreSums adding(sums_of_all, s.channels_out);
    on_each_thread([&](Thread thread) {
        FlushDenormals flush;
        Zeros<uint32_t> values(blocks.values_words());
        Array<float> sums(blocks.MATRICES * blocks.sums_apart);
        Array<uint32_t> of_column(blocks.column_words());
        Zeros<T> zeros(s.channels);
        transform<W, RECTIFIED>(images, s, 0, s.tiles(), zeros.start, (T*)values.start, blocks.values_apart);
        thread.share(s.channels_out / COLUMNS, [&](int64_t i) {
            int64_t column = i * COLUMNS;
            for (int64_t out = column; out < column + COLUMNS; out += LANES)
                for (int64_t channel = 0; channel < s.channels; channel += LANES)
                    filters.transform<W, T>(out, channel, of_column.start);
            for (int64_t first = 0; first < s.tiles(); first += blocks.size)
                blocks.multiply((const T*)values.start + first * s.channels, of_column.start, first, column, s.tiles(),
                                sums.start, adding.of(thread));
        });
    });
}

// By filters that are not transformed yet
template <class W, bool RECTIFIED, class T>
void convolve_by(const Images<T>& images, const Filters& filters, const Shape& s, Plainly<W, T> write, double* sums) {
    // with a stride tiles become more numbers than filters do, and columns do not pay
    if (W::POINTS == W::FILTER_POINTS && s.channels_out > s.tiles())
        return convolve_by_columns<W, RECTIFIED>(images, filters, s, write, sums);
    Array<uint32_t> transformed(s.channels_out / COLUMNS * Blocks<W, T, Plainly<W, T>>::FILTERS *
                                matrix_words<T>(s.channels));
    transform_all<W, T>(filters, transformed.start);
    convolve<W, RECTIFIED>(images, transformed.start, s, write, sums);
}

template <class W, class T>
void convolve_and_pool(const T* images, const uint32_t* filters, const Shape& shape, T* result, uint8_t* places,
                       double* sums) {
    Shape s = shape.in_tiles<W>();
    convolve<W, false>(Images<T>{images, nullptr}, filters, s, Pooled<W, T>{s, result, places}, sums);
}

}  // namespace

// kind: as winograd.h has it. images (n, h, w, c), c even and at least 16; filters as winograd_filters gives them, o a
// multiple of 32. result: (n, p, q, o), or half the sides if pooled. bias (o) may be null. sums: to these the results
// and their squares are added, per channel.
//
// winograd_by takes taps (o, 3, 3, c), or turned (c, 3, 3, o), for the gradient. affine: with stride 1, of a norm that
// x is in front of, with ReLU. added (n, p, q, o); with apart 2 only every second row and column of it is there. The
// gate's x is like the result, passed (n, p, q, o / LANES). All of these, and the sums, may be null. Behind a gate the
// sums are those of the results, and of their products with its x.
#define EXPORT(T)                                                                                                      \
    EXPORTED void winograd_filters_##T(const float* taps, int64_t kind, int64_t c, int64_t o, uint32_t* to) {          \
        by_kind(kind, [&](auto k) { transform_all<decltype(k), T>({taps, c, o, false}, to); });                        \
    }                                                                                                                  \
    EXPORTED void winograd_##T(const T* x, const uint32_t* f, const float* b, int64_t kind, int64_t n, int64_t h,      \
                               int64_t w, int64_t c, int64_t p, int64_t q, int64_t o, T* y) {                          \
        by_kind(kind, [&](auto k) {                                                                                    \
            using W = decltype(k);                                                                                     \
            Shape s = Shape{n, h, w, c, p, q, o}.in_tiles<W>();                                                        \
            convolve<W, false>(Images<T>{x, nullptr}, f, s, Plainly<W, T>{s, b, {nullptr, 1}, {}, y}, nullptr);        \
        });                                                                                                            \
    }                                                                                                                  \
    EXPORTED void winograd_pool_##T(const T* x, const uint32_t* f, int64_t kind, int64_t n, int64_t h, int64_t w,      \
                                    int64_t c, int64_t p, int64_t q, int64_t o, T* y, uint8_t* places, double* sums) { \
        by_kind(kind, [&](auto k) { convolve_and_pool<decltype(k)>(x, f, {n, h, w, c, p, q, o}, y, places, sums); });  \
    }                                                                                                                  \
    EXPORTED void winograd_by_##T(const T* x, const float* affine, const float* taps, int64_t turned, const T* added,  \
                                  int64_t apart, const T* gate_x, const Mask* passed, const float* gate_affine,        \
                                  int64_t kind, int64_t n, int64_t h, int64_t w, int64_t c, int64_t p, int64_t q,      \
                                  int64_t o, T* y, double* sums) {                                                     \
        by_kind(kind, [&](auto k) {                                                                                    \
            using W = decltype(k);                                                                                     \
            Shape s = Shape{n, h, w, c, p, q, o}.in_tiles<W>();                                                        \
            Plainly<W, T> write{s, nullptr, {added, apart}, {gate_x, passed, gate_affine}, y};                         \
            Filters filters{taps, c, o, turned != 0};                                                                  \
            if constexpr (W::POINTS == W::FILTER_POINTS)                                                               \
                if (affine) return convolve_by<W, true>(Images<T>{x, affine}, filters, s, write, sums);                \
            convolve_by<W, false>(Images<T>{x, nullptr}, filters, s, write, sums);                                     \
        });                                                                                                            \
    }

#if !defined(BF16)
EXPORT(float)
#elif defined(__AVX512BF16__)
EXPORT(bf16)
#endif
