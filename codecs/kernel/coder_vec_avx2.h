/* Sixteen lanes of 32 bits in two AVX2 registers. */
typedef struct { __m256i lo, hi; } vec;
typedef uint16_t mask;
typedef const uint16_t *vec_table;
#define BOTH(NAME, OP)                                                                                                 \
    static inline vec NAME(vec a, vec b) { return (vec){OP(a.lo, b.lo), OP(a.hi, b.hi)}; }
#define SHIFT(NAME, OP)                                                                                                \
    static inline vec NAME(vec a, int n)                                                                               \
    {                                                                                                                  \
        const __m128i c = _mm_cvtsi32_si128(n);                                                                        \
        return (vec){OP(a.lo, c), OP(a.hi, c)};                                                                        \
    }

static inline vec v_load(const uint32_t *p)
{
    return (vec){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8))};
}
static inline void v_store(uint32_t *p, vec a)
{
    _mm256_storeu_si256((__m256i *)p, a.lo);
    _mm256_storeu_si256((__m256i *)(p + 8), a.hi);
}
static inline vec v_set(uint32_t x) { return (vec){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)}; }
static inline vec v_load_i8(const int8_t *p)
{
    const __m128i b = _mm_loadu_si128((const __m128i *)p);
    return (vec){_mm256_cvtepi8_epi32(b), _mm256_cvtepi8_epi32(_mm_srli_si128(b, 8))};
}
static inline vec v_load_u16(const uint16_t *p)
{
    return (vec){_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)),
                 _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
static inline void v_store_i8(int8_t *p, vec a)
{
    /* packing works within halves of 128 bits: the quarters come out as 0 2 1 3 */
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
BOTH(v_add, _mm256_add_epi32)
BOTH(v_sub, _mm256_sub_epi32)
BOTH(v_mul, _mm256_mullo_epi32)
BOTH(v_mul16, _mm256_madd_epi16)
BOTH(v_and, _mm256_and_si256)
BOTH(v_or, _mm256_or_si256)
BOTH(v_xor, _mm256_xor_si256)
BOTH(v_min, _mm256_min_epi32)
BOTH(v_max, _mm256_max_epi32)
SHIFT(v_srl, _mm256_srl_epi32)
SHIFT(v_sll, _mm256_sll_epi32)
SHIFT(v_sra, _mm256_sra_epi32)
static inline vec v_abs(vec a) { return (vec){_mm256_abs_epi32(a.lo), _mm256_abs_epi32(a.hi)}; }
static inline __m256i spread(unsigned m)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)m), bit), bit);
}
static inline vec v_blend(mask m, vec no, vec yes)
{
    return (vec){_mm256_blendv_epi8(no.lo, yes.lo, spread(m & 255u)), _mm256_blendv_epi8(no.hi, yes.hi, spread(m >> 8))};
}
static inline mask bits_of(__m256i lo, __m256i hi)
{
    return (mask)(_mm256_movemask_ps(_mm256_castsi256_ps(lo)) | _mm256_movemask_ps(_mm256_castsi256_ps(hi)) << 8);
}
static inline mask v_less(vec a, vec b)
{
    const __m256i flip = _mm256_set1_epi32((int)0x80000000u);
    return bits_of(_mm256_cmpgt_epi32(_mm256_xor_si256(b.lo, flip), _mm256_xor_si256(a.lo, flip)),
                   _mm256_cmpgt_epi32(_mm256_xor_si256(b.hi, flip), _mm256_xor_si256(a.hi, flip)));
}
static inline mask v_equal(vec a, vec b)
{
    return bits_of(_mm256_cmpeq_epi32(a.lo, b.lo), _mm256_cmpeq_epi32(a.hi, b.hi));
}
static inline mask v_mask(const uint8_t *p) { return (mask)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)p)); }
static inline vec v_float_bits(vec a)
{
    return (vec){_mm256_castps_si256(_mm256_cvtepi32_ps(a.lo)), _mm256_castps_si256(_mm256_cvtepi32_ps(a.hi))};
}
static inline vec v_gather(const uint32_t *base, vec i)
{
    return (vec){_mm256_i32gather_epi32((const int *)base, i.lo, 4), _mm256_i32gather_epi32((const int *)base, i.hi, 4)};
}
static inline __m256i pick(vec a, __m256i order)
{
    const __m256i high = _mm256_cmpgt_epi32(order, _mm256_set1_epi32(7));
    return _mm256_blendv_epi8(_mm256_permutevar8x32_epi32(a.lo, order), _mm256_permutevar8x32_epi32(a.hi, order), high);
}
static inline __m256i pick_either(vec a, __m256i order, vec b)
{
    const __m256i fifteen = _mm256_set1_epi32(15), low = _mm256_and_si256(order, fifteen);
    return _mm256_blendv_epi8(pick(a, low), pick(b, low), _mm256_cmpgt_epi32(order, fifteen));
}
static inline vec v_shuffle(vec a, vec order, vec b)
{
    return (vec){pick_either(a, order.lo, b), pick_either(a, order.hi, b)};
}
/* 16-bit entries read by 32-bit gathers: a table is followed by two bytes or more of its own struct */
static inline vec v_gather16(const uint16_t *base, vec i)
{
    const __m256i low = _mm256_set1_epi32(0xffff);
    const int *from = (const int *)(const void *)base;
    return (vec){_mm256_and_si256(_mm256_i32gather_epi32(from, i.lo, 2), low),
                 _mm256_and_si256(_mm256_i32gather_epi32(from, i.hi, 2), low)};
}
static inline vec_table v_table_load(const uint16_t *table, int fractions) { (void)fractions; return table; }
static inline vec v_lookup(vec_table table, vec i, int fractions)
{
    (void)fractions;
    return v_gather16(table, i);
}
#include "coder_vec_reader.h"

/* the states that need one take a word of their stream, lane after lane */
static inline vec reader_refill(reader *r, vec state, mask need, int count)
{
    const int lanes = 16 / count;
    uint32_t x[16];
    v_store(x, state);
    for (unsigned m = need; m; m &= m - 1) {
        const int k = __builtin_ctz(m);
        const uint8_t **w = r->word + k / lanes;
        x[k] = x[k] << 16 | (uint32_t)((*w)[0] | (*w)[1] << 8);
        *w += 2;
    }
    return v_load(x);
}
