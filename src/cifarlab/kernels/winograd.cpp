// 3x3 convolutions with padding 1 with fewer products; winograd.h has the transformations.
//
// Each square patch of the input becomes a square of numbers, each filter as well; what was a convolution is then for
// each number a product of matrices (patches x channels) * (channels x channels_out), and these become the outputs of
// the patch. A core takes some images, transforms them, multiplies them with 32 channels_out at a time, and transforms
// these back before they leave its caches.

#if defined(__AVX512F__)

#include "buffer.h"
#include "lanes.h"
#include "prefetch.h"
#include "winograd.h"

#include <immintrin.h>
#include <omp.h>
#include <algorithm>
#include <vector>

namespace {

constexpr long COLUMNS = 32;   // channels_out at a time, in two registers
constexpr long ROWS = 8;      // patches at a time: 16 registers of sums

// Patches in a block, by their numbers per side: enough to be worth reading the filters for
constexpr long in_block(int numbers) { return numbers == 4 ? 128 : numbers == 5 ? 72 : numbers == 6 ? 64 : 32; }

struct Shape {
    long images, height, width, channels, out_height, out_width, channels_out;
    long outputs = 0, at_once = 1;  // of a patch, per side; images in a block

    long across() const { return (out_width + outputs - 1) / outputs; }
    long patches() const { return (out_height + outputs - 1) / outputs * across(); }
    long rows() const { return (at_once * patches() + ROWS - 1) / ROWS * ROWS; }
    // of the matrices; a cache line more than they hold, or all would lie in the same places of the caches
    long values_apart() const { return rows() * channels + LANES * 2; }
    long sums_apart() const { return (rows() + 1) * COLUMNS; }
};

// With as many images at a time as give all cores work and fill a block
template <class W> Shape divided(Shape shape) {
    shape.outputs = W::OUTPUTS;
    long share = (shape.images + omp_get_max_threads() - 1) / omp_get_max_threads();
    shape.at_once = std::max(1L, std::min(share, (in_block(W::NUMBERS) + shape.patches() - 1) / shape.patches()));
    return shape;
}

// How many channels fit into a word of 32 bits, and what multiplies and adds them
template <class T> struct Arithmetic;

template <> struct Arithmetic<float> {
    static constexpr long PACKED = 1;
    static inline __m512 add(__m512 sum, __m512i values, __m512i filters) {
        return _mm512_fmadd_ps((__m512)values, (__m512)filters, sum);
    }
};

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#define WITH_BF16
template <> struct Arithmetic<bf16> {
    static constexpr long PACKED = 2;
    static inline __m512 add(__m512 sum, __m512i values, __m512i filters) {
        return _mm512_dpbf16_ps(sum, (__m512bh)values, (__m512bh)filters);
    }
};
#endif

// sums[ROWS][COLUMNS] = values[ROWS][words] * filters[words][COLUMNS]
template <class T> inline void multiply(const uint32_t* values, const uint32_t* filters, long words, float* sums) {
    __m512 sum[ROWS][2];
    for (auto& row : sum) row[0] = row[1] = _mm512_setzero_ps();
    const uint32_t* from[ROWS / 4];
    for (long i = 0; i < ROWS / 4; ++i) from[i] = values + 4 * i * words;
    for (long word = 0; word < words; ++word) {
        __m512i left = _mm512_load_si512(filters + COLUMNS * word),
                right = _mm512_load_si512(filters + COLUMNS * word + 16);
#pragma GCC unroll 16
        for (long row = 0; row < ROWS; ++row) {
            __m512i value = _mm512_set1_epi32(from[row / 4][row % 4 * words + word]);
            sum[row][0] = Arithmetic<T>::add(sum[row][0], value, left);
            sum[row][1] = Arithmetic<T>::add(sum[row][1], value, right);
        }
    }
    for (long row = 0; row < ROWS; ++row)
        for (long half = 0; half < 2; ++half) _mm512_store_ps(sums + COLUMNS * row + 16 * half, sum[row][half]);
}

// values[NUMBERS^2][rows][channels] of an image's patches
template <class W, class T> void transform_image(const T* image, const Shape& s, const T* zeros, T* values) {
    const T* pixels[W::SIDE * W::SIDE];
    long apart = s.values_apart();
    for (long patch = 0; patch < s.patches(); ++patch) {
        long top = patch / s.across() * W::STEP - W::BEFORE, left = patch % s.across() * W::STEP - W::BEFORE;
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

// The outputs of one patch for COLUMNS channels_out
template <class W>
inline void transform_back(const float* sums, long step, Floats (*outputs)[W::OUTPUTS * W::OUTPUTS]) {
    for (long c = 0; c < COLUMNS; c += LANES)
        in_square<W::NUMBERS, W::OUTPUTS>(
            W::outputs, [sums, step, c](int k) { return load(sums + k * step + c); },
            [outputs, c](int i, Floats output) { outputs[c / LANES][i] = output; });
}

// Writes the outputs of an image for some channels_out
template <class W, class T> struct Plainly {
    static constexpr int M = W::OUTPUTS;

    const Shape& s;
    const float* bias;
    T* result;

    void operator()(const float* sums, long image, long column, double*) const {
        T* map = at(image) + column;
        Floats shift[] = {load(bias + column), load(bias + column + LANES)};
        for (long patch = 0; patch < s.patches(); ++patch) {
            Floats outputs[COLUMNS / LANES][M * M];
            transform_back<W>(sums + patch * COLUMNS, s.sums_apart(), outputs);
            long top = patch / s.across() * M, left = patch % s.across() * M;
            for (long i = 0; i < M * M; ++i) {
                long y = top + i / M, x = left + i % M;
                if (y < s.out_height && x < s.out_width)
                    store_two(map + (y * s.out_width + x) * s.channels_out, outputs[0][i] + shift[0],
                              outputs[1][i] + shift[1]);
            }
        }
    }

    __attribute__((always_inline)) void prefetch(long image, long num, long column, long part, long parts) const {
        long pixels = num * s.out_height * s.out_width;
        ::prefetch<1>(at(image) + column, pixels, COLUMNS * sizeof(T), s.channels_out * sizeof(T), part, parts);
    }

    T* at(long image) const { return result + image * s.out_height * s.out_width * s.channels_out; }
};

// The same pooled 2x2, with windows that lie within patches. Also writes where the largest was found (0 to 3), and adds
// to the sums and sums of squares per channel that batch norm needs.
template <class W, class T> struct Pooled {
    static constexpr int M = W::OUTPUTS;

    const Shape& s;
    T* result;
    uint8_t* places;

    void operator()(const float* sums, long image, long column, double* totals) const {
        Floats total[COLUMNS / LANES] = {}, squares[COLUMNS / LANES] = {};
        for (long patch = 0; patch < s.patches(); ++patch) {
            Floats outputs[COLUMNS / LANES][M * M];
            transform_back<W>(sums + patch * COLUMNS, s.sums_apart(), outputs);
            long top = patch / s.across() * (M / 2), left = patch % s.across() * (M / 2);
            for (long i = 0; i < M * M / 4; ++i) {
                long in_y = i / (M / 2), in_x = i % (M / 2), y = top + in_y, x = left + in_x;
                if (y >= s.out_height / 2 || x >= s.out_width / 2) continue;
                for (long c = 0; c < COLUMNS / LANES; ++c) {
                    const Floats* corner = outputs[c] + 2 * in_y * M + 2 * in_x;
                    Floats window[] = {corner[0], corner[1], corner[M], corner[M + 1]};
                    Floats best = write_largest(window, at(image) + (y * (s.out_width / 2) + x) * s.channels_out +
                                                            column + c * LANES);
                    total[c] += best, squares[c] += best * best;
                }
            }
        }
        for (long c = 0; c < COLUMNS; ++c) {
            totals[column + c] += total[c / LANES][c % LANES];
            totals[s.channels_out + column + c] += squares[c / LANES][c % LANES];
        }
    }

    // Gives it as the next layer will see it
    Floats write_largest(const Floats* window, long to) const {
        Ints place;
        store(result + to, largest(window, &place));
        Bytes bytes = __builtin_convertvector(place, Bytes);
        std::memcpy(places + to, &bytes, sizeof bytes);
        return load(result + to);
    }

    __attribute__((always_inline)) void prefetch(long image, long num, long column, long part, long parts) const {
        long pixels = num * (s.out_height / 2) * (s.out_width / 2), from = at(image) + column, apart = s.channels_out;
        ::prefetch<1>(result + from, pixels, COLUMNS * sizeof(T), apart * sizeof(T), part, parts);
        ::prefetch<1>(places + from, pixels, COLUMNS, apart, part, parts);
    }

    long at(long image) const { return image * (s.out_height / 2) * (s.out_width / 2) * s.channels_out; }
};

// Calls write(sums, image, column, totals of this core) for all images and each 32 channels_out
template <class W, class T, class Write>
void convolve(const T* images, const uint32_t* filters, const Shape& s, Write write, std::vector<double>* totals) {
    constexpr long MATRICES = W::NUMBERS * W::NUMBERS, FILTERS = W::FILTERS * W::FILTERS;
    constexpr long PACKED = Arithmetic<T>::PACKED;
    long words = s.channels / PACKED, at_once = s.at_once, num_totals = 2 * s.channels_out;
    long map = s.height * s.width * s.channels;
    totals->assign(omp_get_max_threads() * num_totals, 0.0);
#pragma omp parallel
    {
        Buffer values_buffer(MATRICES * s.values_apart() / PACKED), sums_buffer(MATRICES * s.sums_apart());
        T* values = (T*)values_buffer.words;
        float* sums = (float*)sums_buffer.words;
        std::memset(values_buffer.words, 0, MATRICES * s.values_apart() * sizeof(T));
        std::vector<T> zeros(s.channels, T{});
        double* mine = totals->data() + omp_get_thread_num() * num_totals;
#pragma omp for schedule(static)
        for (long first = 0; first < s.images; first += at_once) {
            long num = std::min(at_once, s.images - first);
            for (long i = 0; i < num; ++i)
                transform_image<W>(images + (first + i) * map, s, zeros.data(), values + i * s.patches() * s.channels);
            for (long column = 0; column < s.channels_out; column += COLUMNS) {
                for (long k = 0; k < MATRICES; ++k) {
                    write.prefetch(first, num, column, k, MATRICES);
                    if (column + COLUMNS == s.channels_out)  // the next block's
                        prefetch(images + (first + num) * map, num * map * sizeof(T), k, MATRICES);
                    for (long row = 0; row < num * s.patches(); row += ROWS)
                        multiply<T>((const uint32_t*)(values + k * s.values_apart() + row * s.channels),
                                    filters + (column / COLUMNS * FILTERS + W::filter(k)) * words * COLUMNS, words,
                                    sums + k * s.sums_apart() + row * COLUMNS);
                }
                for (long i = 0; i < num; ++i) write(sums + i * s.patches() * COLUMNS, first + i, column, mine);
            }
        }
    }
}

template <class W, class T>
void convolve_plainly(const T* images, const uint32_t* filters, const float* bias, const Shape& shape, T* result) {
    std::vector<double> totals;
    Shape s = divided<W>(shape);
    convolve<W>(images, filters, s, Plainly<W, T>{s, bias, result}, &totals);
}

template <class W, class T>
void convolve_and_pool(const T* images, const uint32_t* filters, const Shape& shape, T* result, uint8_t* places,
                       double* sums) {
    if constexpr (W::OUTPUTS % 2 == 0) {
        std::vector<double> totals;
        Shape s = divided<W>(shape);
        convolve<W>(images, filters, s, Pooled<W, T>{s, result, places}, &totals);
        for (size_t i = 0; i < totals.size(); ++i) sums[i % (2 * s.channels_out)] += totals[i];
    }
}

}  // namespace

// kind: 2, in bf16 also 4 or, unless pooled, 3: the outputs per side of a patch. images (n, h, w, c), c even and at least
// 16; filters as winograd_filters gives them; bias (o), o a multiple of 32; result: (n, p, q, o), or half the sides if
// pooled.
#define EXPORT(T)                                                                                                      \
    extern "C" void winograd_##T(const T* x, const uint32_t* f, const float* b, long kind, long n, long h, long w,     \
                                 long c, long p, long q, long o, T* y) {                                               \
        by_kind<T>(kind, [&](auto k) { convolve_plainly<decltype(k)>(x, f, b, {n, h, w, c, p, q, o}, y); });           \
    }                                                                                                                  \
    extern "C" void winograd_pool_##T(const T* x, const uint32_t* f, long kind, long n, long h, long w, long c,        \
                                      long p, long q, long o, T* y, uint8_t* places, double* sums) {                   \
        by_kind<T>(kind, [&](auto k) {                                                                                 \
            convolve_and_pool<decltype(k)>(x, f, {n, h, w, c, p, q, o}, y, places, sums);                              \
        });                                                                                                            \
    }

EXPORT(float)
#ifdef WITH_BF16
EXPORT(bf16)

// With stride 2: images (n, h, w, c) to (n, p, q, o), and back for the gradient
extern "C" void halving(const bf16* x, const uint32_t* f, const float* b, long n, long h, long w, long c, long p, long q,
                        long o, bf16* y) {
    convolve_plainly<Halving>(x, f, b, {n, h, w, c, p, q, o}, y);
}
extern "C" void doubling(const bf16* x, const uint32_t* f, const float* b, long n, long h, long w, long c, long p,
                         long q, long o, bf16* y) {
    convolve_plainly<Doubling>(x, f, b, {n, h, w, c, p, q, o}, y);
}
#endif

#endif
