// As many channels at once as a register of the CPU holds float32 numbers, whatever type they have in memory.
//
// Everything is written with the compiler's vector types, so LANES is all that differs between AVX-512, AVX2 and NEON.
// Intrinsics are left where compilers make several instructions of the plain form.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));
// One bit per lane, from the lowest on
typedef std::conditional_t<LANES == 16, uint16_t, uint8_t> Mask;

struct bf16 {
    uint16_t bits;
};

inline Floats load(const float* from) {
    Floats x;
    std::memcpy(&x, from, sizeof x);
    return x;
}
inline void store(float* to, Floats x) { std::memcpy(to, &x, sizeof x); }
inline void store(uint32_t* to, Words x) { std::memcpy(to, &x, sizeof x); }

inline Floats load(const bf16* from) {
#if defined(__AVX512F__)
    // compilers make six instructions of the plain form
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
    return (Floats)_mm512_slli_epi32(words, 16);
#else
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return (Floats)(__builtin_convertvector(halves, Words) << 16);
#endif
}

// To the nearest, ties to even
inline void store(bf16* to, Floats x) {
#if defined(__AVX512BF16__)
    __m256bh halves = _mm512_cvtneps_pbh((__m512)x);
#else
    Words bits = (Words)x;
    Words nearest_even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    Words rounded = x == x ? nearest_even : Words{} + 0x7fc0;
    Halves halves = __builtin_convertvector(rounded, Halves);
#endif
    std::memcpy(to, &halves, sizeof halves);
}

// Two registers one behind the other: with AVX-512 a whole cache line of bf16
inline void store_two(float* to, Floats x, Floats y) { store(to, x), store(to + LANES, y); }
inline void store_two(bf16* to, Floats x, Floats y) {
#if defined(__AVX512BF16__)
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x));
#else
    store(to, x), store(to + LANES, y);
#endif
}

// The first `num` of a register's numbers, and zeros for the rest
template <class T> inline Floats load_some(const T* from, int64_t num) {
    if (num >= LANES) return load(from);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    __mmask16 some = (__mmask16)((1 << num) - 1);
    if constexpr (sizeof(T) == sizeof(float)) return (Floats)_mm512_maskz_loadu_ps(some, from);
    __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from));
    return (Floats)_mm512_slli_epi32(words, 16);
#else
    T some[LANES] = {};
    std::memcpy(some, from, num * sizeof(T));
    return load(some);
#endif
}

inline void add(float* to, Floats x) { store(to, load(to) + x); }

inline Mask above_0(Floats x) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_GT_OQ);
#elif defined(__AVX__)
    return _mm256_movemask_ps((__m256)(x > 0.f));
#else
    Mask bits = 0;
    for (int i = 0; i < LANES; ++i) bits |= (Mask)(x[i] > 0.f) << i;
    return bits;
#endif
}

// x where the mask has a bit, else 0
inline Floats masked(Mask bits, Floats x) {
#if defined(__AVX512F__)
    return (Floats)_mm512_maskz_mov_ps(bits, (__m512)x);
#else
    Ints lane = {};
    for (int i = 0; i < LANES; ++i) lane[i] = 1 << i;
    return ((Ints{} + (int)bits) & lane) != 0 ? x : Floats{};
#endif
}

// Lanes of a and b: I < LANES is one of a
template <size_t... I> inline Floats pick(Floats a, Floats b, std::index_sequence<I...>) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, I...);
#else
    return __builtin_shuffle(a, b, Ints{(int)I...});
#endif
}
template <int SIDE, size_t... I> inline void exchange(Floats* a, Floats* b, std::index_sequence<I...>) {
    Floats upper = pick(*a, *b, std::index_sequence<(I & SIDE ? LANES + I - SIDE : I)...>());
    *b = pick(*a, *b, std::index_sequence<(I & SIDE ? LANES + I : I + SIDE)...>());
    *a = upper;
}

// A square of LANES x LANES: blocks of 1, 2, 4, ... beside the diagonal change places
template <int SIDE = 1> inline void transpose(Floats* rows) {
    if constexpr (SIDE < LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; ++i)
            if (!(i & SIDE)) exchange<SIDE>(rows + i, rows + i + SIDE, std::make_index_sequence<LANES>());
        transpose<2 * SIDE>(rows);
    }
}

// The largest of four and its place (0 to 3), of equal ones the first; NaN counts as largest, as in torch
inline Floats largest(const Floats* values, Ints* place) {
    Floats best = values[0];
    *place = Ints{};
    for (int i = 1; i < 4; ++i) {
        Ints better = (values[i] > best) | (values[i] != values[i]);
        best = better ? values[i] : best;
        *place = better ? Ints{} + i : *place;
    }
    return best;
}

// While one of these lives, this thread takes numbers below 2^-126 for 0, which x86 multiplies a hundred times as
// slowly as others; the caller's mode comes back
class FlushDenormals {
public:
#if defined(__SSE2__)
    FlushDenormals() : before(_mm_getcsr()) { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }

private:
    unsigned before;
#elif defined(__aarch64__)
    FlushDenormals() : before(mode()) { set(before | 1u << 24); }
    ~FlushDenormals() { set(before); }

private:
    static uint64_t mode() {
        uint64_t bits;
        asm volatile("mrs %0, fpcr" : "=r"(bits));
        return bits;
    }
    static void set(uint64_t bits) { asm volatile("msr fpcr, %0" : : "r"(bits)); }
    uint64_t before;
#endif
};

}  // namespace
