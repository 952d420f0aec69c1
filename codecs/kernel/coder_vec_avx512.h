/* Sixteen lanes of 32 bits in one AVX-512 register. */
typedef __m512i vec;
typedef __mmask16 mask;
typedef struct { __m512i part[8]; } vec_table; /* 64 entries of 16 bits in two registers, for each fraction */

static inline vec v_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
static inline void v_store(uint32_t *p, vec a) { _mm512_storeu_si512(p, a); }
static inline vec v_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
static inline vec v_load_i8(const int8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline vec v_load_u16(const uint16_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}
static inline void v_store_i8(int8_t *p, vec a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a)); }
static inline vec v_add(vec a, vec b) { return _mm512_add_epi32(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm512_sub_epi32(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm512_mullo_epi32(a, b); }
static inline vec v_mul16(vec a, vec b) { return _mm512_madd_epi16(a, b); }
static inline vec v_and(vec a, vec b) { return _mm512_and_si512(a, b); }
static inline vec v_or(vec a, vec b) { return _mm512_or_si512(a, b); }
static inline vec v_xor(vec a, vec b) { return _mm512_xor_si512(a, b); }
static inline vec v_srl(vec a, int n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
static inline vec v_sll(vec a, int n) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n)); }
static inline vec v_sra(vec a, int n) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(n)); }
static inline vec v_min(vec a, vec b) { return _mm512_min_epi32(a, b); }
static inline vec v_max(vec a, vec b) { return _mm512_max_epi32(a, b); }
static inline vec v_abs(vec a) { return _mm512_abs_epi32(a); }
static inline vec v_blend(mask m, vec no, vec yes) { return _mm512_mask_blend_epi32(m, no, yes); }
static inline mask v_less(vec a, vec b) { return _mm512_cmplt_epu32_mask(a, b); }
static inline mask v_equal(vec a, vec b) { return _mm512_cmpeq_epi32_mask(a, b); }
static inline mask v_mask(const uint8_t *p) { return _mm_movepi8_mask(_mm_loadu_si128((const __m128i *)p)); }
static inline vec v_float_bits(vec a) { return _mm512_castps_si512(_mm512_cvtepi32_ps(a)); }
static inline vec v_gather(const uint32_t *base, vec i) { return _mm512_i32gather_epi32(i, base, 4); }
static inline vec v_shuffle(vec a, vec order, vec b) { return _mm512_permutex2var_epi32(a, order, b); }
static inline vec_table v_table_load(const uint16_t *table, int fractions)
{
    vec_table r;
    for (int i = 0; i < (fractions ? 8 : 2); i++)
        r.part[i] = _mm512_loadu_si512(table + 32 * i);
    return r;
}
static inline vec v_lookup(vec_table table, vec i, int fractions)
{
    const __mmask32 low_half = 0x55555555;
    vec r = _mm512_maskz_permutex2var_epi16(low_half, table.part[0], i, table.part[1]);
    if (fractions)
        for (int level = 1; level < 4; level++) {
            __mmask16 m = _mm512_cmpeq_epi32_mask(_mm512_srli_epi32(i, 6), _mm512_set1_epi32(level));
            r = _mm512_mask_blend_epi32(
                m, r, _mm512_maskz_permutex2var_epi16(low_half, table.part[2 * level], i, table.part[2 * level + 1]));
        }
    return r;
}
static inline vec v_refill(vec state, mask need, const uint8_t **word, int streams)
{
    if (streams == 1) {
        vec w = _mm512_maskz_expand_epi32(need, v_load_u16((const uint16_t *)word[0]));
        word[0] += 2 * __builtin_popcount(need);
        return _mm512_mask_or_epi32(state, need, _mm512_slli_epi32(state, 16), w);
    }
    if (streams > 4) {
        uint32_t x[16];
        v_store(x, state);
        for (unsigned m = need; m; m &= m - 1) {
            const int k = __builtin_ctz(m);
            const uint8_t **at = word + k * streams / 16;
            x[k] = x[k] << 16 | (uint32_t)((*at)[0] | (*at)[1] << 8);
            *at += 2;
        }
        return v_load(x);
    }
    vec w = _mm512_setzero_si512();
    if (streams == 2) {
        const unsigned lo = need & 255, hi = need >> 8;
        __m256i a = _mm256_maskz_expand_epi32((__mmask8)lo, _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)word[0])));
        __m256i b = _mm256_maskz_expand_epi32((__mmask8)hi, _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)word[1])));
        w = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
        word[0] += 2 * __builtin_popcount(lo);
        word[1] += 2 * __builtin_popcount(hi);
    } else {
        /* the word of a lane is its stream's first plus its rank: one expansion of all four streams' words, where
         * each stream's words are moved to where the expansion will look for them */
        __m128i part[4];
        for (int s = 0; s < 4; s++) {
            const unsigned m = need >> (4 * s) & 15;
            part[s] = _mm_maskz_expand_epi32((__mmask8)m, _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)word[s])));
            word[s] += 2 * __builtin_popcount(m);
        }
        w = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(part[0]), part[1], 1)),
                               _mm256_inserti128_si256(_mm256_castsi128_si256(part[2]), part[3], 1), 1);
    }
    return _mm512_mask_or_epi32(state, need, _mm512_slli_epi32(state, 16), w);
}
