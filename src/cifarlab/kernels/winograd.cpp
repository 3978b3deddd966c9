// 3x3 convolutions with stride 1 and padding 1 by F(2x2, 3x3) of A. Lavin and S. Gray, Fast Algorithms for
// Convolutional Neural Networks, arXiv 1509.09308, 2015: 16 products in the place of 36 for each 2x2 outputs.
//
// Each 4x4 patch of the input becomes 16 numbers, each filter as well; what was a convolution is then 16 products of
// matrices (patches x channels) * (channels x channels_out), whose results become the outputs. A core takes some
// images, transforms them, multiplies them with 32 channels_out at a time, and transforms these back before they leave
// its caches.

#if defined(__AVX512F__)

#include "lanes.h"

#include <immintrin.h>
#include <omp.h>
#include <algorithm>
#include <vector>

namespace {

constexpr long COLUMNS = 32;   // channels_out at a time, in two registers
constexpr long ROWS = 12;      // patches at a time: 24 registers of sums
constexpr long PATCHES = 128;  // in a block: enough to be worth reading the filters for

struct Shape {
    long images, height, width, channels, out_height, out_width, channels_out;
    long at_once = 1;  // images in a block

    long across() const { return (out_width + 1) / 2; }
    long patches() const { return (out_height + 1) / 2 * across(); }
    long rows() const { return (at_once * patches() + ROWS - 1) / ROWS * ROWS; }
    // of the 16 matrices; a cache line more than they hold, or all would lie in the same places of the caches
    long values_apart() const { return rows() * channels + LANES * 2; }
    long sums_apart() const { return (rows() + 1) * COLUMNS; }
};

// With as many images at a time as give all cores work and fill a block
Shape divided(Shape shape) {
    long share = (shape.images + omp_get_max_threads() - 1) / omp_get_max_threads();
    shape.at_once = std::max(1L, std::min(share, (PATCHES + shape.patches() - 1) / shape.patches()));
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

struct Buffer {
    void* data;
    explicit Buffer(long bytes) : data(_mm_malloc(bytes, 64)) {}
    ~Buffer() { _mm_free(data); }
    Buffer(const Buffer&) = delete;
};

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

// B^T d B for one patch and 16 channels; to[16] are `step` values apart
template <class T> inline void transform_patch(const T* const* pixels, long c, T* to, long step) {
    Floats rows[4][4];
    for (int x = 0; x < 4; ++x) {
        Floats d0 = load(pixels[x] + c), d1 = load(pixels[4 + x] + c), d2 = load(pixels[8 + x] + c),
               d3 = load(pixels[12 + x] + c);
        rows[0][x] = d0 - d2, rows[1][x] = d1 + d2, rows[2][x] = d2 - d1, rows[3][x] = d1 - d3;
    }
    for (int y = 0; y < 4; ++y) {
        Floats* r = rows[y];
        store(to + (4 * y) * step, r[0] - r[2]);
        store(to + (4 * y + 1) * step, r[1] + r[2]);
        store(to + (4 * y + 2) * step, r[2] - r[1]);
        store(to + (4 * y + 3) * step, r[1] - r[3]);
    }
}

// values[16][rows][channels] of an image's patches
template <class T> void transform_image(const T* image, const Shape& s, const T* zeros, T* values) {
    const T* pixels[16];
    for (long patch = 0; patch < s.patches(); ++patch) {
        long top = patch / s.across() * 2 - 1, left = patch % s.across() * 2 - 1;
        for (long i = 0; i < 16; ++i) {
            long y = top + i / 4, x = left + i % 4;
            bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
            pixels[i] = inside ? image + (y * s.width + x) * s.channels : zeros;
        }
        for (long i = 0; i < s.channels; i += LANES) {
            long c = std::min(i, s.channels - LANES);  // the last ones overlap where 16 do not divide the channels
            transform_patch(pixels, c, values + patch * s.channels + c, s.values_apart());
        }
    }
}

// A^T m A for one patch and 16 channels_out: 2x2 outputs
inline void transform_back(const float* sums, long step, Floats* outputs) {
    Floats rows[2][4];
    for (int x = 0; x < 4; ++x) {
        Floats m0 = load(sums + x * step), m1 = load(sums + (4 + x) * step);
        Floats m2 = load(sums + (8 + x) * step), m3 = load(sums + (12 + x) * step);
        rows[0][x] = m0 + m1 + m2, rows[1][x] = m1 - m2 - m3;
    }
    for (int y = 0; y < 2; ++y) {
        outputs[2 * y] = rows[y][0] + rows[y][1] + rows[y][2];
        outputs[2 * y + 1] = rows[y][1] - rows[y][2] - rows[y][3];
    }
}

// Writes the outputs of an image for some channels_out
template <class T> struct Plainly {
    const Shape& s;
    const float* bias;
    T* result;

    void operator()(const float* sums, long image, long column, double*) const {
        T* map = result + image * s.out_height * s.out_width * s.channels_out + column;
        for (long patch = 0; patch < s.patches(); ++patch)
            for (long c = 0; c < COLUMNS; c += LANES) {
                Floats outputs[4];
                transform_back(sums + patch * COLUMNS + c, s.sums_apart(), outputs);
                for (long i = 0; i < 4; ++i) {
                    long y = patch / s.across() * 2 + i / 2, x = patch % s.across() * 2 + i % 2;
                    if (y < s.out_height && x < s.out_width)
                        store(map + (y * s.out_width + x) * s.channels_out + c, outputs[i] + load(bias + column + c));
                }
            }
    }
};

// The same pooled: the 2x2 outputs of a patch are what the pool looks at. Also writes where the largest was found (0 to
// 3), and adds to the sums and sums of squares per channel that batch norm needs.
template <class T> struct Pooled {
    const Shape& s;
    T* result;
    uint8_t* places;

    void operator()(const float* sums, long image, long column, double* totals) const {
        Floats total[COLUMNS / LANES] = {}, squares[COLUMNS / LANES] = {};
        for (long patch = 0; patch < s.patches(); ++patch)
            for (long c = 0; c < COLUMNS; c += LANES) {
                Floats outputs[4];
                transform_back(sums + patch * COLUMNS + c, s.sums_apart(), outputs);
                Ints place;
                Floats best = largest(outputs, &place);
                Bytes bytes = __builtin_convertvector(place, Bytes);
                long to = (image * s.patches() + patch) * s.channels_out + column + c;
                std::memcpy(places + to, &bytes, sizeof bytes);
                store(result + to, best);
                best = load(result + to);  // as the next layer will see it
                total[c / LANES] += best, squares[c / LANES] += best * best;
            }
        for (long c = 0; c < COLUMNS; ++c) {
            totals[column + c] += total[c / LANES][c % LANES];
            totals[s.channels_out + column + c] += squares[c / LANES][c % LANES];
        }
    }
};

// Calls write(sums, image, column, totals of this core) for all images and each 32 channels_out
template <class T, class Write>
void convolve(const T* images, const uint32_t* filters, const Shape& s, Write write, std::vector<double>* totals) {
    long words = s.channels / Arithmetic<T>::PACKED, at_once = s.at_once, num_totals = 2 * s.channels_out;
    totals->assign(omp_get_max_threads() * num_totals, 0.0);
#pragma omp parallel
    {
        Buffer values_buffer(16 * s.values_apart() * sizeof(T)), sums_buffer(16 * s.sums_apart() * sizeof(float));
        T* values = (T*)values_buffer.data;
        float* sums = (float*)sums_buffer.data;
        std::memset(values_buffer.data, 0, 16 * s.values_apart() * sizeof(T));
        std::vector<T> zeros(s.channels, T{});
        double* mine = totals->data() + omp_get_thread_num() * num_totals;
#pragma omp for schedule(static)
        for (long first = 0; first < s.images; first += at_once) {
            long num = std::min(at_once, s.images - first);
            for (long i = 0; i < num; ++i)
                transform_image(images + (first + i) * s.height * s.width * s.channels, s, zeros.data(),
                                values + i * s.patches() * s.channels);
            for (long column = 0; column < s.channels_out; column += COLUMNS) {
                for (long k = 0; k < 16; ++k)
                    for (long row = 0; row < num * s.patches(); row += ROWS)
                        multiply<T>((const uint32_t*)(values + k * s.values_apart() + row * s.channels),
                                    filters + (column / COLUMNS * 16 + k) * words * COLUMNS, words,
                                    sums + k * s.sums_apart() + row * COLUMNS);
                for (long i = 0; i < num; ++i) write(sums + i * s.patches() * COLUMNS, first + i, column, mine);
            }
        }
    }
}

template <class T>
void convolve_plainly(const T* images, const uint32_t* filters, const float* bias, const Shape& s, T* result) {
    std::vector<double> totals;
    convolve(images, filters, s, Plainly<T>{s, bias, result}, &totals);
}

template <class T>
void convolve_and_pool(const T* images, const uint32_t* filters, const Shape& s, T* result, uint8_t* places,
                       double* sums) {
    std::vector<double> totals;
    convolve(images, filters, s, Pooled<T>{s, result, places}, &totals);
    for (size_t i = 0; i < totals.size(); ++i) sums[i % (2 * s.channels_out)] += totals[i];
}

// G g G^T of [9][channels][channels_out]: [channels_out / 32][16][channels][32], for bf16 with channels in pairs
template <class T>
void transform_filters(const float* filters, long channels, long channels_out, long turned, T* result) {
    long packed = Arithmetic<T>::PACKED, tap = channels * channels_out;
#pragma omp parallel for schedule(static)
    for (long k = 0; k < channels; ++k)
        for (long c = 0; c < channels_out; c += LANES) {
            Floats columns[4][3];
            for (int x = 0; x < 3; ++x) {
                Floats g[3];
                for (int y = 0; y < 3; ++y)
                    g[y] = load(filters + (turned ? 8 - 3 * y - x : 3 * y + x) * tap + k * channels_out + c);
                columns[0][x] = g[0], columns[3][x] = g[2];
                columns[1][x] = 0.5f * (g[0] + g[1] + g[2]), columns[2][x] = 0.5f * (g[0] - g[1] + g[2]);
            }
            for (int y = 0; y < 4; ++y) {
                Floats *g = columns[y], row[4] = {g[0], 0.5f * (g[0] + g[1] + g[2]), 0.5f * (g[0] - g[1] + g[2]), g[2]};
                for (int x = 0; x < 4; ++x) {
                    T values[LANES];
                    store(values, row[x]);
                    long place = ((c / COLUMNS * 16 + 4 * y + x) * channels + k / packed * packed) * COLUMNS +
                                 c % COLUMNS * packed + k % packed;
                    for (long i = 0; i < LANES; ++i) result[place + i * packed] = values[i];
                }
            }
        }
}

}  // namespace

// images (images, height, width, channels), even and at least 16; filters as transform_filters gives them; bias
// (channels_out), a multiple of 32; result: (images, out_height, out_width, channels_out), or half the sides if pooled.
#define EXPORT(T)                                                                                                    \
    extern "C" void winograd_filters_##T(const float* f, long c, long o, long turned, T* to) {                       \
        transform_filters(f, c, o, turned, to);                                                                      \
    }                                                                                                                \
    extern "C" void winograd_##T(const T* x, const uint32_t* f, const float* b, long n, long h, long w, long c,      \
                                 long p, long q, long o, T* y) {                                                     \
        convolve_plainly(x, f, b, divided({n, h, w, c, p, q, o}), y);                                                \
    }                                                                                                                \
    extern "C" void winograd_pool_##T(const T* x, const uint32_t* f, long n, long h, long w, long c, long p, long q, \
                                      long o, T* y, uint8_t* k, double* sums) {                                      \
        convolve_and_pool(x, f, divided({n, h, w, c, p, q, o}), y, k, sums);                                         \
    }

EXPORT(float)
#ifdef WITH_BF16
EXPORT(bf16)
#endif

#endif
