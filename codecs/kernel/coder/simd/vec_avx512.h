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
static inline void v_store_u16(uint16_t *p, vec a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(a));
}
static inline void v_store_i8(int8_t *p, vec a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a)); }
static inline vec v_add(vec a, vec b) { return _mm512_add_epi32(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm512_sub_epi32(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm512_mullo_epi32(a, b); }
static inline vec v_mul16(vec a, vec b) { return _mm512_madd_epi16(a, b); }
#define v_dot16 v_mul16
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
static inline vec v_float_to_int(vec a) { return _mm512_cvttps_epi32(_mm512_castsi512_ps(a)); }
static inline vec v_float_add(vec a, vec b)
{
    return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
}
static inline vec v_float_mul(vec a, vec b)
{
    return _mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
}
static inline mask v_float_less(vec a, vec b)
{
    return _mm512_cmp_ps_mask(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), _CMP_LT_OQ);
}
static inline vec v_gather(const uint32_t *base, vec i) { return _mm512_i32gather_epi32(i, base, 4); }
/* four bytes from base + i on */
static inline vec v_gather_bytes(const uint8_t *base, vec i) { return _mm512_i32gather_epi32(i, base, 1); }
static inline vec v_shuffle(vec a, vec order, vec b) { return _mm512_permutex2var_epi32(a, order, b); }
/* the two bytes behind an entry are read too: a table is followed by two more (ls_channel) */
static inline vec v_gather16(const uint16_t *base, vec i)
{
    return _mm512_and_si512(_mm512_i32gather_epi32(i, base, 2), _mm512_set1_epi32(0xffff));
}
static inline vec v_one_of_64(const uint16_t *row, vec i)
{
    return _mm512_maskz_permutex2var_epi16(0x55555555, _mm512_loadu_si512(row), i, _mm512_loadu_si512(row + 32));
}
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
/* Where each stream reads its next word: one or two streams by pointers, for whole runs of words; more by places
 * relative to the first stream's, a place a lane, all in one buffer (ls_stream). */
typedef struct {
    const uint8_t *word[2];
    __m512i at, end;
} reader;

static inline void reader_open(reader *r, const ls_stream *streams, int count)
{
    uint32_t at[16], end[16];
    for (int s = 0; s < count && s < 2; s++)
        r->word[s] = streams[s].words;
    for (int k = 0; count > 2 && k < 16; k++) {
        const ls_stream *s = streams + k * count / 16;
        at[k] = (uint32_t)(s->words - s->base);
        end[k] = (uint32_t)(s->words_end - s->base);
    }
    if (count > 2) {
        r->word[0] = streams->base;
        r->at = v_load(at);
        r->end = v_load(end);
    }
}
static inline void reader_close(const reader *r, ls_stream *streams, int count)
{
    uint32_t at[16];
    for (int s = 0; s < count && count <= 2; s++)
        streams[s].words = r->word[s];
    if (count > 2) {
        v_store(at, r->at);
        for (int s = 0; s < count; s++)
            streams[s].words = streams->base + at[s * (16 / count)];
    }
}
/* a bit for every stream that has read past its end; for many streams the first of them alone */
static inline mask reader_beyond(const reader *r, const ls_stream *streams, int count)
{
    if (count > 2) {
        const mask m = _mm512_cmpgt_epu32_mask(r->at, r->end);
        return m ? (mask)(1u << (__builtin_ctz(m) * count / 16)) : 0;
    }
    mask m = 0;
    for (int s = 0; s < count; s++)
        m |= (mask)((r->word[s] > streams[s].words_end) << s);
    return m;
}
/* the states that need one take a word of their stream, lane after lane */
static inline vec reader_refill(reader *r, vec state, mask need, int count)
{
    vec w;
    if (count == 1) {
        w = _mm512_maskz_expand_epi32(need, v_load_u16((const uint16_t *)r->word[0]));
        r->word[0] += 2 * __builtin_popcount(need);
    } else if (count == 2) {
        const unsigned lo = need & 255, hi = need >> 8;
        const __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)r->word[0]));
        const __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)r->word[1]));
        w = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_maskz_expand_epi32((__mmask8)lo, a)),
                               _mm256_maskz_expand_epi32((__mmask8)hi, b), 1);
        r->word[0] += 2 * __builtin_popcount(lo);
        r->word[1] += 2 * __builtin_popcount(hi);
    } else {
        /* a lane's word is its stream's next but as many as lanes before it need one */
        const __m512i two = _mm512_set1_epi32(2);
        __m512i at = r->at, next = _mm512_mask_add_epi32(r->at, need, r->at, two);
        if (count == 8) {
            const mask before = (mask)((need & 0x5555) << 1), after = (mask)(need >> 1 & 0x5555);
            at = _mm512_mask_add_epi32(at, before, at, two);
            next = _mm512_mask_add_epi32(next, before | after, next, two);
        } else if (count == 4) {
            for (int i = 1; i < 4; i++) {
                static const mask low[4] = {0, 0x7777, 0x3333, 0x1111};
                const mask before = (mask)((need & low[i]) << i), after = (mask)(need >> i & low[i]);
                at = _mm512_mask_add_epi32(at, before, at, two);
                next = _mm512_mask_add_epi32(next, before, next, two);
                next = _mm512_mask_add_epi32(next, after, next, two);
            }
        }
        r->at = next;
        w = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), need, at, r->word[0], 1);
        w = _mm512_and_si512(w, _mm512_set1_epi32(0xffff));
    }
    return _mm512_mask_or_epi32(state, need, _mm512_slli_epi32(state, 16), w);
}
