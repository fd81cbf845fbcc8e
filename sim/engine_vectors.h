// Vectors of the engine. Those of the widest registers; where the processor has smaller ones the compiler makes them of several.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The engine finds spikes in words of eight bytes, the first of them lowest"
#endif

typedef int16_t Shorts __attribute__((vector_size(64), aligned(2), may_alias));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef double Doubles __attribute__((vector_size(64)));
typedef int64_t Masks __attribute__((vector_size(64)));  // of comparisons: 0 or −1
constexpr int SHORTS = 32, INTS = 16, DOUBLES = 8;

template <class Vector, class Number>
Vector load(const Number* from) {
    Vector x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

template <class Vector, class Number>
void store(Number* to, Vector x) {
    std::memcpy(to, &x, sizeof x);
}

// DOUBLES numbers of any type.
template <class Number>
Doubles doubles(const Number* from) {
    typedef Number Numbers __attribute__((vector_size(DOUBLES * sizeof(Number))));
    return __builtin_convertvector(load<Numbers>(from), Doubles);
}

template <class Vector>
Vector smaller(Vector a, Vector b) {
    return a < b ? a : b;
}

template <class Vector>
Vector larger(Vector a, Vector b) {
    return a > b ? a : b;
}

inline Doubles truncated(Doubles x) {
#ifdef __AVX512F__
    return Doubles(_mm512_roundscale_pd(__m512d(x), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
#else
    for (int i = 0; i < DOUBLES; i++) x[i] = std::trunc(x[i]);
    return x;
#endif
}

// A bit for each pair of which a >= b.
inline uint32_t reached(Doubles a, Doubles b) {
#ifdef __AVX512F__
    return _mm512_cmp_pd_mask(__m512d(a), __m512d(b), _CMP_GE_OQ);
#else
    uint32_t bits = 0;
    for (int i = 0; i < DOUBLES; i++) bits |= uint32_t(a[i] >= b[i]) << i;
    return bits;
#endif
}

inline uint32_t reached(Ints a, Ints b) {
#ifdef __AVX512F__
    return _mm512_cmpge_epi32_mask(__m512i(a), __m512i(b));
#else
    uint32_t bits = 0;
    for (int i = 0; i < INTS; i++) bits |= uint32_t(a[i] >= b[i]) << i;
    return bits;
#endif
}

// sign(x) · (|x| · factor >> 32).
inline Ints scaled(Ints x, uint32_t factor) {
#ifdef __AVX512F__
    const __m512i size = _mm512_abs_epi32(__m512i(x)), by = _mm512_set1_epi32(int32_t(factor));
    const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(size, by), 32), odd = _mm512_mul_epu32(_mm512_srli_epi64(size, 32), by);
    const __m512i part = _mm512_mask_blend_epi32(0xaaaa, even, odd);
    return Ints(_mm512_mask_sub_epi32(part, _mm512_movepi32_mask(__m512i(x)), _mm512_setzero_si512(), part));
#else
    for (int i = 0; i < INTS; i++) {
        const int32_t part = int32_t(uint64_t(x[i] < 0 ? -x[i] : x[i]) * factor >> 32);
        x[i] = x[i] < 0 ? -part : part;
    }
    return x;
#endif
}

// Up to 64 bytes 0 or 1 as bits. Few branches: one for each byte would often be mispredicted.
inline uint64_t packed(const uint8_t* bytes, int64_t number) {
#ifdef __AVX512BW__
    if (number == 64) return _cvtmask64_u64(_mm512_test_epi8_mask(_mm512_loadu_si512(bytes), _mm512_set1_epi8(1)));
#endif
    uint64_t bits = 0;
    int64_t i = 0;
    for (; i + 8 <= number; i += 8) bits |= ((load<uint64_t>(bytes + i) * 0x0102040810204080u) >> 56) << i;
    for (; i < number; i++) bits |= uint64_t(bytes[i]) << i;
    return bits;
}

// Adds up rows of K vectors, which lie `width` apart: in 16 bits `most` rows at a time, which cannot overflow, and then in 32, each
// number times 2^shift.
template <int K>
void add_rows(const int16_t* weights, int64_t width, const int32_t* rows, int64_t count, int64_t most, int shift, int32_t* sums) {
    for (int64_t low = 0; low < count; low += most) {
        const int64_t high = low + most < count ? low + most : count;
        Shorts part[K] = {};
        for (int64_t i = low; i < high; i++) {
            const Shorts* row = reinterpret_cast<const Shorts*>(weights + rows[i] * width);
            for (int k = 0; k < K; k++) part[k] += row[k];
        }
        for (int k = 0; k < K; k++)
            for (int j = 0; j < SHORTS; j++) sums[k * SHORTS + j] += int32_t(part[k][j]) * (1 << shift);
    }
}
