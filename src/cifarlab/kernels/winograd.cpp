// 3x3 convolutions with padding 1 with fewer products; winograd.h has the transformations.
//
// Each square patch of the input becomes a square of numbers, each filter as well; what was a convolution is then for
// each number a product of matrices (patches x channels) * (channels x channels_out), and these become the outputs of
// the patch. A core takes some patches, transforms them, multiplies them with 32 channels_out at a time, and transforms
// these back before they leave its caches.

#if defined(__AVX512F__)

#include "buffer.h"
#include "winograd_patches.h"

#include <omp.h>
#include <vector>

namespace {

// Patches at a time, by their numbers per side: what is made of them and their sums has to fit a core's caches
constexpr long in_block(int numbers) { return numbers == 4 ? 64 : numbers == 5 ? 72 : numbers == 6 ? 32 : 16; }

// What is the same for all blocks of patches
template <class W, class T, class Write> struct Blocks {
    static constexpr long MATRICES = W::NUMBERS * W::NUMBERS, FILTERS = W::FILTERS * W::FILTERS;
    static constexpr long PACKED = Words16<T>::PACKED;
    Images<T> images;
    const Shape& s;
    Write write;
    long size, values_apart = 0, sums_apart = 0;

    // At most so many patches in a block, and as many as give all cores as much to do; `kept`: how many rows of values
    // have to fit
    Blocks(const Images<T>& images, const Shape& s, Write write, long most, long cores, long kept)
        : images(images), s(s), write(write), size(even(s.patches(), most, cores)) {
        if constexpr (Write::ACROSS) size = (size + s.per_image() - 1) / s.per_image() * s.per_image();
        auto whole = [](long rows) { return (rows + ROWS - 1) / ROWS * ROWS; };
        // a cache line more than the matrices hold, or all would lie in the same places of the caches
        values_apart = whole(std::max(size, kept)) * s.channels + LANES * 2;
        sums_apart = (whole(size) + 1) * COLUMNS;
    }

    static long even(long patches, long most, long cores) {
        long rounds = (patches + cores * most - 1) / (cores * most);
        return patches ? (patches + cores * rounds - 1) / (cores * rounds) : 1;
    }
    long words() const { return s.channels / PACKED; }
    long values_words() const { return MATRICES * values_apart / PACKED; }
    long column_words() const { return FILTERS * matrix_words<T>(s.channels); }
    long in_block_at(long first) const { return std::min(size, s.patches() - first); }

    // The outputs of the block that begins with patch `first`, for the columns to which `filters` belong; meanwhile
    // asks for their places, and for the images of the next block where there is one
    void multiply(const T* values, const uint32_t* filters, long first, long column, long next, float* sums,
                  double* totals) const {
        long num = in_block_at(first);
        Place asked(s, first);
        Ahead ahead;
        if (next < s.patches()) note_rows<W>(images.maps, s, next, in_block_at(next), &ahead);
        for (long k = 0; k < MATRICES; ++k) {
            for (long i = k * num / MATRICES; i < (k + 1) * num / MATRICES; ++i, asked.step(s))
                write.ask_for(asked, column);
            ahead.ask(k + 1, MATRICES);
            for (long row = 0; row < num; row += ROWS)
                ::multiply<T>((const uint32_t*)(values + k * values_apart + row * s.channels),
                              filters + W::filter(k) * matrix_words<T>(s.channels), words(),
                              sums + k * sums_apart + row * COLUMNS);
        }
        write(sums, sums_apart, first, num, column, totals);
    }
};

// Each core takes some blocks
template <class W, bool RECTIFIED, class T, class Write>
void convolve(const Images<T>& images, const uint32_t* filters, const Shape& s, Write write, double* sums_of_all) {
    Blocks<W, T, Write> blocks(images, s, write, in_block(W::NUMBERS), omp_get_max_threads(), 0);
    Adding adding(sums_of_all, s.channels_out);
#pragma omp parallel
    {
        Buffer values(blocks.values_words()), sums(blocks.MATRICES * blocks.sums_apart);
        std::memset(values.words, 0, blocks.values_words() * sizeof(uint32_t));
        std::vector<T> zeros(s.channels, T{});
#pragma omp for schedule(static)
        for (long first = 0; first < s.patches(); first += blocks.size) {
            transform<W, RECTIFIED>(images, s, first, blocks.in_block_at(first), zeros.data(), (T*)values.words,
                                    blocks.values_apart);
            for (long column = 0; column < s.channels_out; column += COLUMNS)
                blocks.multiply((const T*)values.words, filters + column / COLUMNS * blocks.column_words(), first,
                                column, column + COLUMNS < s.channels_out ? s.patches() : first + blocks.size,
                                (float*)sums.words, adding.mine());
        }
    }
}

// The same where there are more filters than patches: each core takes some columns, for which it transforms the filters
// when it needs them
template <class W, bool RECTIFIED, class T>
void convolve_by_columns(const Images<T>& images, const Filters& filters, const Shape& s, Plainly<W, T> write,
                         double* sums_of_all) {
    Blocks<W, T, Plainly<W, T>> blocks(images, s, write, 2 * in_block(W::NUMBERS), 1, s.patches() + ROWS);
    Adding adding(sums_of_all, s.channels_out);
#pragma omp parallel
    {
        Buffer values(blocks.values_words()), sums(blocks.MATRICES * blocks.sums_apart),
            of_column(blocks.column_words());
        std::memset(values.words, 0, blocks.values_words() * sizeof(uint32_t));
        std::vector<T> zeros(s.channels, T{});
        transform<W, RECTIFIED>(images, s, 0, s.patches(), zeros.data(), (T*)values.words, blocks.values_apart);
#pragma omp for schedule(static)
        for (long column = 0; column < s.channels_out; column += COLUMNS) {
            for (long out = column; out < column + COLUMNS; out += LANES)
                for (long channel = 0; channel < s.channels; channel += LANES)
                    filters.transform<W, T>(out, channel, of_column.words);
            for (long first = 0; first < s.patches(); first += blocks.size)
                blocks.multiply((const T*)values.words + first * s.channels, of_column.words, first, column,
                                s.patches(), (float*)sums.words, adding.mine());
        }
    }
}

// By filters that are not transformed yet
template <class W, bool RECTIFIED, class T>
void convolve_by(const Images<T>& images, const Filters& filters, const Shape& s, Plainly<W, T> write, double* sums) {
    // with a stride patches become more numbers than filters do, and columns do not pay
    if (W::NUMBERS == W::FILTERS && s.channels_out > s.patches())
        return convolve_by_columns<W, RECTIFIED>(images, filters, s, write, sums);
    Buffer transformed(s.channels_out / COLUMNS * Blocks<W, T, Plainly<W, T>>::FILTERS * matrix_words<T>(s.channels));
    transform_all<W, T>(filters, transformed.words);
    convolve<W, RECTIFIED>(images, transformed.words, s, write, sums);
}

template <class W, class T>
void convolve_and_pool(const T* images, const uint32_t* filters, const Shape& shape, T* result, uint8_t* places,
                       double* sums) {
    Shape s = shape.in_patches<W>();
    convolve<W, false>(Images<T>{images, nullptr}, filters, s, Pooled<W, T>{s, result, places}, sums);
}

}  // namespace

// kind: 2, in bf16 also 3 or 4: the outputs per side of a patch; HALVING, DOUBLING: with stride 2, and its gradient.
// images (n, h, w, c), c even and at least 16; filters as winograd_filters gives them, o a multiple of 32. result:
// (n, p, q, o), or half the sides if pooled. bias (o) may be null. sums: to these the results and their squares are
// added, per channel.
#define EXPORT(T)                                                                                                  \
    extern "C" void winograd_##T(const T* x, const uint32_t* f, const float* b, long kind, long n, long h, long w, \
                                 long c, long p, long q, long o, T* y) {                                           \
        by_kind<T>(kind, [&](auto k) {                                                                             \
            using W = decltype(k);                                                                                 \
            Shape s = Shape{n, h, w, c, p, q, o}.in_patches<W>();                                                  \
            convolve<W, false>(Images<T>{x, nullptr}, f, s, Plainly<W, T>{s, b, {nullptr, 1}, {}, y}, nullptr);    \
        });                                                                                                        \
    }                                                                                                              \
    extern "C" void winograd_pool_##T(const T* x, const uint32_t* f, long kind, long n, long h, long w, long c,    \
                                      long p, long q, long o, T* y, uint8_t* places, double* sums) {               \
        by_kind<T>(kind,                                                                                           \
                   [&](auto k) { convolve_and_pool<decltype(k)>(x, f, {n, h, w, c, p, q, o}, y, places, sums); }); \
    }

EXPORT(float)
#ifdef WITH_BF16
EXPORT(bf16)

// The same by taps (o, 3, 3, c), or turned (c, 3, 3, o), for the gradient. affine: with stride 1, of a norm that x is
// in front of, with ReLU. added (n, p, q, o); with apart 2 only every second row and column of it is there. The gate's
// x is like the result, passed (n, p, q, o / 16). All of these, and the sums, may be null. Behind a gate the sums are
// those of the results, and of their products with its x.
extern "C" void winograd_by(const bf16* x, const float* affine, const float* taps, long turned, const bf16* added,
                            long apart, const bf16* gate_x, const uint16_t* passed, const float* gate_affine, long kind,
                            long n, long h, long w, long c, long p, long q, long o, bf16* y, double* sums) {
    by_kind<bf16>(kind, [&](auto k) {
        using W = decltype(k);
        Shape s = Shape{n, h, w, c, p, q, o}.in_patches<W>();
        Plainly<W, bf16> write{s, nullptr, {added, apart}, {gate_x, passed, gate_affine}, y};
        Filters filters{taps, c, o, turned != 0};
        if constexpr (W::NUMBERS == W::FILTERS)
            if (affine) return convolve_by<W, true>(Images<bf16>{x, affine}, filters, s, write, sums);
        convolve_by<W, false>(Images<bf16>{x, nullptr}, filters, s, write, sums);
    });
}
#endif

#endif
