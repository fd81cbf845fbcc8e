// Vectors of the engine. Those of the widest registers; where the processor has smaller ones the compiler makes them of several.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>
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

// Memory that begins at a cache line, so that no vector lies in two.
template <class Number>
struct Lines {
    typedef Number value_type;
    Lines() = default;
    template <class Other>
    Lines(const Lines<Other>&) {}
    Number* allocate(size_t count) { return static_cast<Number*>(::operator new(count * sizeof(Number), std::align_val_t(64))); }
    void deallocate(Number* numbers, size_t) { ::operator delete(numbers, std::align_val_t(64)); }
    bool operator==(const Lines&) const { return true; }
    bool operator!=(const Lines&) const { return false; }
};
template <class Number>
using Array = std::vector<Number, Lines<Number>>;

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

// A gain of n / 2^16, 0 <= n < 2^16, as products take it. With AVX-512 a product of 32 bits is made of two of 16, which takes fewer
// instructions than one of 64: x = 2^16 h + l, so that x n = 2^16 h n + l n. Factors of 16 bits have a sign, so that from 2^15 on h n is
// h (n - 2^16) + 2^16 h.
struct Gain {
    explicit Gain(uint32_t number) : n(number) {
#ifdef __AVX512BW__
        low = Ints{} + int32_t(n);
        high = Ints{} + int32_t(n << 16);  // its upper half is n or n - 2^16
        products = n < 1 << 15 ? 0xffffffff : 0x55555555;
#endif
    }

    uint32_t n;
#ifdef __AVX512BW__
    Ints low, high;
    uint32_t products;  // halves that are products; the others keep what x has there
#endif
};

// x n / 2^16, rounded down.
inline Ints lowered(Ints x, const Gain& gain) {
#ifdef __AVX512BW__
    const __m512i part = _mm512_mask_mulhi_epu16(__m512i(x), gain.products, __m512i(x), __m512i(gain.low));
#ifdef __AVX512VNNI__
    return Ints(_mm512_dpwssd_epi32(part, __m512i(x), __m512i(gain.high)));
#else
    return Ints(_mm512_add_epi32(part, _mm512_madd_epi16(__m512i(x), __m512i(gain.high))));
#endif
#else
    for (int i = 0; i < INTS; i++) x[i] = int32_t(int64_t(x[i]) * gain.n >> 16);
    return x;
#endif
}

// The same, rounded toward zero.
inline Ints scaled(Ints x, const Gain& gain) {
#ifdef __AVX512BW__
    const __m512i part = __m512i(lowered(Ints(_mm512_abs_epi32(__m512i(x))), gain));
    return Ints(_mm512_mask_sub_epi32(part, _mm512_movepi32_mask(__m512i(x)), _mm512_setzero_si512(), part));
#else
    for (int i = 0; i < INTS; i++) {
        const int32_t part = int32_t(uint64_t(x[i] < 0 ? -x[i] : x[i]) * gain.n >> 16);
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
