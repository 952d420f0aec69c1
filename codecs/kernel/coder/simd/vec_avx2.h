/* Sixteen lanes of 32 bits in two AVX2 registers. */
typedef struct { __m256i lo, hi; } vec;
typedef uint16_t mask;
/* entries of a table by their bucket: 64 of them as bytes, in four parts, or where values are predicted 4 times 64 */
typedef struct {
    __m256i part[4];
    const uint16_t *all;
} vec_table;
#define BOTH(NAME, OP)                                                                                                 \
    static inline vec NAME(vec a, vec b) { return (vec){OP(a.lo, b.lo), OP(a.hi, b.hi)}; }
#define SHIFT(NAME, OP) static inline vec NAME(vec a, int n) { return (vec){OP(a.lo, n), OP(a.hi, n)}; }

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
static inline void v_store_u16(uint16_t *p, vec a)
{
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(_mm256_packus_epi32(a.lo, a.hi), 0xd8));
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
SHIFT(v_srl, _mm256_srli_epi32)
SHIFT(v_sll, _mm256_slli_epi32)
SHIFT(v_sra, _mm256_srai_epi32)
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
    return (mask)~bits_of(_mm256_cmpeq_epi32(_mm256_max_epu32(a.lo, b.lo), a.lo),
                          _mm256_cmpeq_epi32(_mm256_max_epu32(a.hi, b.hi), a.hi));
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
static inline vec v_float_to_int(vec a)
{
    return (vec){_mm256_cvttps_epi32(_mm256_castsi256_ps(a.lo)), _mm256_cvttps_epi32(_mm256_castsi256_ps(a.hi))};
}
#define FLOATS(OP, A, B) _mm256_castps_si256(OP(_mm256_castsi256_ps(A), _mm256_castsi256_ps(B)))
#define FLOAT_LESS(A, B) _mm256_cmp_ps(A, B, _CMP_LT_OQ)
static inline vec v_float_add(vec a, vec b)
{
    return (vec){FLOATS(_mm256_add_ps, a.lo, b.lo), FLOATS(_mm256_add_ps, a.hi, b.hi)};
}
static inline vec v_float_mul(vec a, vec b)
{
    return (vec){FLOATS(_mm256_mul_ps, a.lo, b.lo), FLOATS(_mm256_mul_ps, a.hi, b.hi)};
}
static inline mask v_float_less(vec a, vec b)
{
    return bits_of(FLOATS(FLOAT_LESS, a.lo, b.lo), FLOATS(FLOAT_LESS, a.hi, b.hi));
}
/* One by one: that takes less than the instruction. base + scale * i, and four bytes from there. */
static inline int four_bytes(const uint8_t *p)
{
    int x;
    memcpy(&x, p, 4);
    return x;
}
static inline __m128i gather4(const uint8_t *base, __m128i i, const size_t scale)
{
    const uint64_t a = (uint64_t)_mm_cvtsi128_si64(i), b = (uint64_t)_mm_extract_epi64(i, 1);
    __m128i r = _mm_cvtsi32_si128(four_bytes(base + scale * (uint32_t)a));
    r = _mm_insert_epi32(r, four_bytes(base + scale * (a >> 32)), 1);
    r = _mm_insert_epi32(r, four_bytes(base + scale * (uint32_t)b), 2);
    return _mm_insert_epi32(r, four_bytes(base + scale * (b >> 32)), 3);
}
static inline __m256i gather8(const void *base, __m256i i, const size_t scale)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(gather4(base, _mm256_castsi256_si128(i), scale)),
                                   gather4(base, _mm256_extracti128_si256(i, 1), scale), 1);
}
static inline vec v_gather(const uint32_t *base, vec i)
{
    return (vec){gather8(base, i.lo, 4), gather8(base, i.hi, 4)};
}
static inline vec v_gather_bytes(const uint8_t *base, vec i)
{
    return (vec){gather8(base, i.lo, 1), gather8(base, i.hi, 1)};
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
    return (vec){_mm256_and_si256(gather8(base, i.lo, 2), low), _mm256_and_si256(gather8(base, i.hi, 2), low)};
}
static inline vec v_one_of_64(const uint16_t *row, vec i) { return v_gather16(row, i); }
static inline vec_table v_table_load(const uint16_t *table, int fractions)
{
    vec_table r = {.all = table};
    for (int i = 0; i < 4 && !fractions; i++) {
        const __m128i low = _mm_loadu_si128((const __m128i *)(table + 16 * i));
        const __m128i high = _mm_loadu_si128((const __m128i *)(table + 16 * i + 8));
        r.part[i] = _mm256_broadcastsi128_si256(_mm_packus_epi16(low, high));
    }
    return r;
}
/* i below 64: its low four bits choose in each part, and the other two the part */
static inline __m256i one_of_parts(const __m256i part[4], __m256i i)
{
    const __m256i bit4 = _mm256_slli_epi32(i, 3), bit5 = _mm256_slli_epi32(i, 2);
    const __m256i low = _mm256_blendv_epi8(_mm256_shuffle_epi8(part[0], i), _mm256_shuffle_epi8(part[1], i), bit4);
    const __m256i high = _mm256_blendv_epi8(_mm256_shuffle_epi8(part[2], i), _mm256_shuffle_epi8(part[3], i), bit4);
    return _mm256_and_si256(_mm256_blendv_epi8(low, high, bit5), _mm256_set1_epi32(0xff));
}
static inline vec v_lookup(vec_table table, vec i, int fractions)
{
    if (fractions)
        return v_gather16(table.all, i);
    return (vec){one_of_parts(table.part, i.lo), one_of_parts(table.part, i.hi)};
}
/* Where the streams of a vector are read: by pointers, or for many streams by each lane's distance from the payloads'
 * start, so that one gather takes the words of all. */
typedef struct {
    const uint8_t *word[4];
    vec at, end;
} reader;


static inline void reader_open(reader *r, const ls_stream *streams, int count)
{
    uint32_t at[16], end[16];
    r->at = r->end = v_set(0);
    for (int s = 0; s < count && count <= 4; s++)
        r->word[s] = streams[s].words;
    if (count <= 4)
        return;
    for (int k = 0; k < 16; k++) {
        const ls_stream *s = streams + k * count / 16;
        at[k] = (uint32_t)(s->words - s->base);
        end[k] = (uint32_t)(s->words_end - s->base);
    }
    r->word[0] = streams->base;
    r->at = v_load(at);
    r->end = v_load(end);
}
static inline void reader_close(const reader *r, ls_stream *streams, int count)
{
    uint32_t at[16];
    if (count > 4)
        v_store(at, r->at);
    for (int s = 0; s < count; s++)
        streams[s].words = count > 4 ? streams->base + at[s * (16 / count)] : r->word[s];
}
/* a bit for every stream that has read past its end; for many streams the first of them alone */
static inline mask reader_beyond(const reader *r, const ls_stream *streams, int count)
{
    mask m = 0;
    if (count > 4) {
        m = v_less(r->end, r->at);
        return m ? (mask)(1u << (__builtin_ctz(m) * count / 16)) : 0;
    }
    for (int s = 0; s < count; s++)
        m |= (mask)((r->word[s] > streams[s].words_end) << s);
    return m;
}

/* For four lanes of which some need a word: their words, one after another, put where they are needed. */
static inline __m128i spread_words(const uint8_t *from, unsigned need)
{
#define TO(N) 2 * (N), 2 * (N) + 1, -1, -1
#define NONE -1, -1, -1, -1
    static const int8_t order[16][16] = {
        {NONE, NONE, NONE, NONE},    {TO(0), NONE, NONE, NONE},    {NONE, TO(0), NONE, NONE},
        {TO(0), TO(1), NONE, NONE},  {NONE, NONE, TO(0), NONE},    {TO(0), NONE, TO(1), NONE},
        {NONE, TO(0), TO(1), NONE},  {TO(0), TO(1), TO(2), NONE},  {NONE, NONE, NONE, TO(0)},
        {TO(0), NONE, NONE, TO(1)},  {NONE, TO(0), NONE, TO(1)},   {TO(0), TO(1), NONE, TO(2)},
        {NONE, NONE, TO(0), TO(1)},  {TO(0), NONE, TO(1), TO(2)},  {NONE, TO(0), TO(1), TO(2)},
        {TO(0), TO(1), TO(2), TO(3)}};
#undef TO
#undef NONE
    return _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i *)from), _mm_loadu_si128((const __m128i *)order[need]));
}

/* the states that need one take a word of their stream, lane after lane */
static inline vec reader_refill(reader *r, vec state, mask need, int count)
{
    vec w;
    if (count <= 4) {
        __m128i part[4];
        for (int i = 0; i < 4; i++) {
            const int s = i * count / 4, first = s * 16 / count; /* the stream, and its first lane */
            const unsigned before = (need & ((1u << 4 * i) - 1)) >> first;
            part[i] = spread_words(r->word[s] + 2 * __builtin_popcount(before), need >> 4 * i & 15);
        }
        for (int s = 0; s < count; s++)
            r->word[s] += 2 * __builtin_popcount(need >> s * (16 / count) & (0xffffu >> (16 - 16 / count)));
        w.lo = _mm256_inserti128_si256(_mm256_castsi128_si256(part[0]), part[1], 1);
        w.hi = _mm256_inserti128_si256(_mm256_castsi128_si256(part[2]), part[3], 1);
    } else {
        vec at = r->at, two = v_set(2), none = v_set(0);
        r->at = v_add(at, v_blend(need, none, two));
        if (count == 8) { /* pairs of lanes: the second reads after the first, and both move on together */
            const mask before = (mask)((need & 0x5555) << 1), after = (mask)(need >> 1 & 0x5555);
            at = v_add(at, v_blend(before, none, two));
            r->at = v_add(r->at, v_blend(before | after, none, two));
        }
        const int *base = (const int *)(const void *)r->word[0];
        const __m256i low = _mm256_set1_epi32(0xffff);
        w.lo = _mm256_and_si256(_mm256_i32gather_epi32(base, at.lo, 1), low);
        w.hi = _mm256_and_si256(_mm256_i32gather_epi32(base, at.hi, 1), low);
    }
    return v_blend(need, state, v_or(v_sll(state, 16), w));
}

/* the same where each lane is a stream: those below 2^16 take a word */
static inline __m256i words_for(const uint8_t *base, __m256i state, __m256i *at)
{
    const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
    const __m256i words = gather8(base, *at, 1);
    const __m256i next = _mm256_blend_epi16(_mm256_slli_epi32(state, 16), words, 0x55);
    *at = _mm256_add_epi32(*at, _mm256_and_si256(low, _mm256_set1_epi32(2)));
    return _mm256_blendv_epi8(state, next, low);
}
static inline vec reader_refill_each(reader *r, vec state)
{
    const vec next = {words_for(r->word[0], state.lo, &r->at.lo), words_for(r->word[0], state.hi, &r->at.hi)};
    return next;
}
#define reader_refill_each reader_refill_each

/* the same of the sparse form, as long as there is another word (sparse/taken.h) */
static inline __m256i word_if_any(const uint8_t *base, __m256i state, __m256i *at, __m256i end)
{
    const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
    const __m256i need = _mm256_and_si256(low, _mm256_cmpgt_epi32(end, *at));
    const __m256i next = _mm256_blend_epi16(_mm256_slli_epi32(state, 16), gather8(base, *at, 1), 0x55);
    *at = _mm256_add_epi32(*at, _mm256_and_si256(need, _mm256_set1_epi32(2)));
    return _mm256_blendv_epi8(state, next, need);
}
static inline void v_take_words(const uint8_t *base, vec *state, vec *at, vec end)
{
    state->lo = word_if_any(base, state->lo, &at->lo, end.lo);
    state->hi = word_if_any(base, state->hi, &at->hi, end.hi);
}
#define v_take_words v_take_words
static inline __m256i if_less(__m256i a, __m256i b, __m256i yes, __m256i no)
{
    return _mm256_blendv_epi8(yes, no, _mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a));
}
static inline vec v_if_less(vec a, vec b, vec yes, vec no)
{
    return (vec){if_less(a.lo, b.lo, yes.lo, no.lo), if_less(a.hi, b.hi, yes.hi, no.hi)};
}
#define v_if_less v_if_less
static inline vec v_if_equal(vec a, vec b, vec yes, vec no)
{
    return (vec){_mm256_blendv_epi8(no.lo, yes.lo, _mm256_cmpeq_epi32(a.lo, b.lo)),
                 _mm256_blendv_epi8(no.hi, yes.hi, _mm256_cmpeq_epi32(a.hi, b.hi))};
}
#define v_if_equal v_if_equal
#define v_dot16 v_mul16
static inline __m128i gather4_places(const uint8_t *base, const uint32_t *at)
{
    __m128i r = _mm_cvtsi32_si128(four_bytes(base + at[0]));
    r = _mm_insert_epi32(r, four_bytes(base + at[1]), 1);
    r = _mm_insert_epi32(r, four_bytes(base + at[2]), 2);
    return _mm_insert_epi32(r, four_bytes(base + at[3]), 3);
}
static inline vec v_gather_places(const uint8_t *base, const uint32_t *at)
{
    return (vec){_mm256_inserti128_si256(_mm256_castsi128_si256(gather4_places(base, at)), gather4_places(base, at + 4), 1),
                 _mm256_inserti128_si256(_mm256_castsi128_si256(gather4_places(base, at + 8)),
                                         gather4_places(base, at + 12), 1)};
}
#define v_gather_places v_gather_places
static inline mask v_held(const int8_t *p)
{
    return (mask)~_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_setzero_si128()));
}
#define v_held v_held
static inline void v_sum_pairs(uint16_t *to, size_t i, int planes, uint16_t *const *pairs,
                               const uint16_t (*weights)[LS_MAX_LANES], const uint16_t *base)
{
    __m256i sum = _mm256_loadu_si256((const __m256i *)base);
    for (int p = 0; p < planes; p++)
        sum = _mm256_adds_epu16(sum, _mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)(pairs[p] + i)),
                                                          _mm256_loadu_si256((const __m256i *)weights[p])));
    _mm256_storeu_si256((__m256i *)to, sum);
}
#define v_sum_pairs v_sum_pairs
