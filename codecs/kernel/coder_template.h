/* The inner loops of the entropy coder, written once over the 16-lane vectors of coder_vec_*.h and
 * compiled once for each path.  Included by coder_portable.c, coder_avx2.c and coder_avx512.c. */

#include <stdlib.h>
#include <string.h>

static inline uint8_t choose8(uint8_t mask, uint8_t yes, uint8_t no)
{
    return (uint8_t)((yes & mask) | (no & ~mask));
}

static int magnitudes(const ls_geometry *g, const int8_t *restrict residual, uint8_t *restrict scratch,
                      uint8_t *restrict pairs)
{
    const ptrdiff_t wide = g->wide, n = g->size, up = 2 * wide + 1;
    const ptrdiff_t up_wrap = (ptrdiff_t)g->wrap * wide - (g->lanes - 1);
    uint8_t *restrict a = scratch + g->pad;
    uint8_t *restrict h = scratch + 3 * g->pad + n;
    uint8_t any = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        uint8_t m = (uint8_t)(residual[i] < 0 ? -residual[i] : residual[i]);
        m = m > 15 ? 15 : m;
        a[i] = m;
        any |= m;
    }
    if (!any)
        return 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        uint8_t left = choose8(g->first_column[i], a[i], a[i - wide]);
        uint8_t right = choose8(g->last_column[i], a[i], a[i + wide]);
        h[i] = (uint8_t)(left + a[i] + right);
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        uint8_t above = choose8(g->first_lane[i], h[i - up_wrap], h[i - up]);
        uint8_t below = choose8(g->last_lane[i], h[i + up_wrap], h[i + up]);
        above = choose8(g->first_row[i], h[i], above);
        below = choose8(g->last_row[i], h[i], below);
        pairs[2 * i] = (uint8_t)(4 * a[i]);
        pairs[2 * i + 1] = (uint8_t)(above + h[i] + below - a[i]);
    }
    return 1;
}

/* 4 log2 v in quarter octaves from v = 4, linear inside an octave: the top bits of v as a float */
static inline vec bucket_of(vec context)
{
    const vec bits = v_float_bits(v_max(context, v_set(4)));
    return v_min(v_sub(v_srl(bits, 21), v_set(129u << 2)), v_set(63));
}

/* A neighbour in the row above: a stream's first lane finds it with the last lane, one turn earlier. */
static inline vec above(const int8_t *at, ptrdiff_t up, ptrdiff_t up_wrap, mask first_lane)
{
    return v_blend(first_lane, v_load_i8(at - up), v_load_i8(at - up_wrap));
}

static void own_contexts(const ls_geometry *g, const ls_channel *c, const int8_t *restrict residual,
                         const uint16_t *restrict cross_context, uint8_t *restrict scratch,
                         uint8_t *restrict bucket)
{
    const ptrdiff_t wide = g->wide, n = g->size, up = 2 * wide + 1;
    const ptrdiff_t up_wrap = (ptrdiff_t)g->wrap * wide - (g->lanes - 1);
    const vec w0 = v_set((uint32_t)c->own[0]), w1 = v_set((uint32_t)c->own[1]), w2 = v_set((uint32_t)c->own[2]),
              w3 = v_set((uint32_t)c->own[3]), w4 = v_set((uint32_t)c->own[4]), bias = v_set((uint32_t)c->bias);
    int8_t *restrict a = (int8_t *)scratch + g->pad;
    for (ptrdiff_t i = 0; i < n; i++) {
        int m = residual[i] < 0 ? -residual[i] : residual[i];
        a[i] = (int8_t)(m > 15 ? 15 : m);
    }
    /* masks and planes are padded, so the last vector may run over */
    for (ptrdiff_t i = 0; i < n; i += 16) {
        const int8_t *at = a + i;
        const mask first_lane = v_mask(g->first_lane + i), first_column = v_mask(g->first_column + i),
                   second_column = v_mask(g->second_column + i), last_column = v_mask(g->last_column + i),
                   first_row = v_mask(g->first_row + i);
        const vec left = v_load_i8(at - wide);
        vec u = above(at, up, up_wrap, first_lane), ul = above(at - wide, up, up_wrap, first_lane);
        vec ur = above(at + wide, up, up_wrap, first_lane), l = v_blend(first_column, left, u);
        vec ll = v_blend(first_column, v_blend(second_column, v_load_i8(at - 2 * wide), left), u);
        ul = v_blend(first_column, ul, u);
        ur = v_blend(last_column, ur, u);
        u = v_blend(first_row, u, l);
        ul = v_blend(first_row, ul, l);
        ur = v_blend(first_row, ur, l);
        vec context = v_add(bias, v_load_u16(cross_context + i));
        context = v_add(context, v_add(v_mul16(u, w1), v_add(v_mul16(ul, w2), v_mul16(ur, w3))));
        context = v_add(context, v_add(v_mul16(ll, w4), v_mul16(l, w0)));
        v_store_i8((int8_t *)bucket + i, bucket_of(context));
    }
}

/* how a caller learns which stream ended its run */
static inline int give_up(ls_stream *stream, int status)
{
    stream->words = NULL;
    return status;
}

/* Decodes the 16 lanes of one plane. The previous steps sit in registers: what was upper-right one and two
 * steps ago is upper and upper-left now. STREAMS is 0 for the many streams that small planes of few lanes have. */
#define DECODE_PLANE(NAME, PREDICTED, STREAMS)                                                                     \
    static int NAME(const ls_coder *coder, const ls_geometry *g, const ls_channel *c,                              \
                    const uint16_t *restrict cross_context, const int32_t *restrict prediction, uint32_t *states,  \
                    ls_stream *streams, int8_t *restrict residual, int8_t *restrict value)                         \
    {                                                                                                              \
        const int steps = g->steps, wrap = g->wrap, lanes = g->lanes, precision = coder->precision;                \
        const int count = STREAMS ? STREAMS : 16 / lanes;                                                          \
        const uint32_t *slots = coder->slots;                                                                      \
        uint32_t order[16];                                                                                        \
        for (int k = 0; k < 16; k++)                                                                               \
            order[k] = k % lanes ? (uint32_t)(k - 1) : (uint32_t)(16 + k + lanes - 1);                             \
        const vec shift = v_load(order);                                                                           \
        const vec w0 = v_set((uint32_t)c->own[0]), w1 = v_set((uint32_t)c->own[1]),                                \
                  w2 = v_set((uint32_t)c->own[2]), w3 = v_set((uint32_t)c->own[3]),                                \
                  w4 = v_set((uint32_t)c->own[4]), bias = v_set((uint32_t)c->bias);                                \
        const vec p0 = v_set((uint32_t)c->signed_own[0]), p1 = v_set((uint32_t)c->signed_own[1]),                  \
                  p2 = v_set((uint32_t)c->signed_own[2]), p3 = v_set((uint32_t)c->signed_own[3]);                  \
        const vec slot_mask = v_set((1u << precision) - 1), low = v_set(LS_STATE_LOW), \
                  zero = v_set(0), twelve = v_set(0xfff); \
        const vec_table table = v_table_load(PREDICTED ? &c->table16[0][0] : c->table16[0], PREDICTED);            \
        vec state = v_load(states);                                                                                \
        vec a1 = zero, a2 = zero, u0 = zero, u1 = zero;                                                            \
        vec q1 = zero, s0 = zero, s1 = zero;                                                                       \
        const uint8_t *word[STREAMS ? STREAMS : 16], *word_end[STREAMS ? STREAMS : 16];                            \
        for (int s = 0; s < count; s++) {                                                                          \
            word[s] = streams[s].words;                                                                            \
            word_end[s] = streams[s].words_end;                                                                    \
        }                                                                                                          \
        for (int t = 0; t < steps; t++) {                                                                          \
            const ptrdiff_t at = (ptrdiff_t)t * 16;                                                                \
            const mask first_column = v_mask(g->first_column + at), second_column = v_mask(g->second_column + at), \
                       last_column = v_mask(g->last_column + at), first_row = v_mask(g->first_row + at),           \
                       active = v_mask(g->active + at);                                                            \
            const ptrdiff_t behind = (ptrdiff_t)(t - wrap + 1) * 16;                                               \
            const vec corner = v_shuffle(a1, shift, v_min(v_abs(v_load_i8(residual + behind)), v_set(15)));        \
            vec u = u0, ul = u1, l = v_blend(first_column, a1, u), ll = v_blend(second_column, a2, a1);            \
            u1 = u0;                                                                                               \
            u0 = corner;                                                                                           \
            ll = v_blend(first_column, ll, u);                                                                     \
            ul = v_blend(first_column, ul, u);                                                                     \
            vec ur = v_blend(last_column, corner, u);                                                              \
            u = v_blend(first_row, u, l);                                                                          \
            ul = v_blend(first_row, ul, l);                                                                        \
            ur = v_blend(first_row, ur, l);                                                                        \
            vec context = v_add(bias, v_load_u16(cross_context + at));                                             \
            context = v_add(context, v_add(v_mul16(u, w1), v_add(v_mul16(ul, w2), v_mul16(ur, w3))));              \
            context = v_add(v_add(context, v_mul16(ll, w4)), v_mul16(l, w0));                                      \
            vec bucket = bucket_of(context);                                                                       \
            vec p = zero, flip = zero;                                                                             \
            if (PREDICTED) {                                                                                       \
                const vec qcorner = v_shuffle(q1, shift, v_load_i8(value + behind));                               \
                vec qu = s0, qul = s1, ql = v_blend(first_column, q1, qu);                                         \
                s1 = s0;                                                                                           \
                s0 = qcorner;                                                                                      \
                qul = v_blend(first_column, qul, qu);                                                              \
                vec qur = v_blend(last_column, qcorner, qu);                                                       \
                qu = v_blend(first_row, qu, ql);                                                                   \
                qul = v_blend(first_row, qul, ql);                                                                 \
                qur = v_blend(first_row, qur, ql);                                                                 \
                vec sum = v_add(v_load((const uint32_t *)prediction + at),                                         \
                                v_add(v_add(v_mul(ql, p0), v_mul(qu, p1)), v_add(v_mul(qul, p2), v_mul(qur, p3)))); \
                p = v_max(v_min(v_sra(v_add(sum, v_set(512)), 10), v_set(127)), v_set((uint32_t)-127));            \
                const vec fraction = v_sub(sum, v_sll(p, 10));                                                     \
                flip = v_sra(fraction, 31);                                                                        \
                const vec level = v_min(v_srl(v_abs(fraction), 7), v_set(3));                                      \
                bucket = v_or(bucket, v_sll(level, 6));                                                            \
            }                                                                                                      \
            const vec index = v_or(v_sll(v_lookup(table, bucket, PREDICTED), precision), v_and(state, slot_mask)); \
            const vec entry = v_gather(slots, index);                                                              \
            vec symbol = v_sra(entry, 24);                                                                         \
            const vec next = v_add(v_mul(v_and(v_srl(entry, 12), twelve), v_srl(state, precision)),                \
                                   v_and(entry, twelve));                                                          \
            state = v_blend(active, state, next);                                                                  \
            const mask need = active & v_less(state, low);                                                         \
            state = v_refill(state, need, word, count);                                                            \
            for (int s = 0; s < count; s++)                                                                        \
                if (word[s] > word_end[s])                                                                         \
                    return give_up(streams + s, LS_TRUNCATED);                                                     \
            if (PREDICTED)                                                                                         \
                symbol = v_sub(v_xor(symbol, flip), flip);                                                         \
            const mask escaped = active & v_equal(v_sra(entry, 24), v_set((uint32_t)-128));                        \
            symbol = v_blend(active, zero, symbol);                                                                \
            vec q = PREDICTED ? v_blend(active, zero, v_add(symbol, p)) : symbol;                                  \
            if (escaped) {                                                                                         \
                uint32_t predicted[16], symbols[16], values[16];                                                   \
                v_store(predicted, p);                                                                             \
                v_store(symbols, symbol);                                                                          \
                v_store(values, q);                                                                                \
                for (int k = 0; k < 16; k++)                                                                       \
                    if (escaped >> k & 1) {                                                                        \
                        ls_stream *s = streams + k / lanes;                                                        \
                        if (s->escapes == s->escapes_end)                                                          \
                            return give_up(s, LS_CORRUPT);                                                         \
                        int full = (int8_t)*s->escapes++, r = full - (PREDICTED ? (int32_t)predicted[k] : 0);      \
                        values[k] = (uint32_t)full;                                                                \
                        symbols[k] = (uint32_t)(r > 127 ? 127 : r < -128 ? -128 : r);                              \
                    }                                                                                              \
                symbol = v_load(symbols);                                                                          \
                q = v_load(values);                                                                                \
            } else if (PREDICTED) {                                                                                \
                q = v_max(v_min(q, v_set(127)), v_set((uint32_t)-128));                                            \
            }                                                                                                      \
            v_store_i8(residual + at, symbol);                                                                     \
            a2 = a1;                                                                                               \
            a1 = v_min(v_abs(symbol), v_set(15));                                                                  \
            if (PREDICTED) {                                                                                       \
                v_store_i8(value + at, q);                                                                         \
                q1 = q;                                                                                            \
            }                                                                                                      \
        }                                                                                                          \
        v_store(states, state);                                                                                    \
        for (int s = 0; s < count; s++)                                                                            \
            streams[s].words = word[s];                                                                            \
        return LS_OK;                                                                                              \
    }

DECODE_PLANE(decode_many, 0, 0)
DECODE_PLANE(decode_1, 0, 1)
DECODE_PLANE(decode_2, 0, 2)
DECODE_PLANE(decode_4, 0, 4)
DECODE_PLANE(decode_predicted_many, 1, 0)
DECODE_PLANE(decode_predicted_1, 1, 1)
DECODE_PLANE(decode_predicted_2, 1, 2)
DECODE_PLANE(decode_predicted_4, 1, 4)

static int decode_plane(const ls_coder *coder, const ls_geometry *g, const ls_channel *c, const uint16_t *cross,
                        const int32_t *prediction, uint32_t *states, ls_stream *streams, int8_t *residual,
                        int8_t *value)
{
    static int (*const variant[])(const ls_coder *, const ls_geometry *, const ls_channel *, const uint16_t *,
                                  const int32_t *, uint32_t *, ls_stream *, int8_t *, int8_t *) = {
        decode_many,           decode_4,           decode_2,           decode_1,
        decode_predicted_many, decode_predicted_4, decode_predicted_2, decode_predicted_1};
    int by_lanes = g->lanes >= 16 ? 3 : g->lanes >= 8 ? 2 : g->lanes >= 4 ? 1 : 0;
    return variant[by_lanes + (c->predicted ? 4 : 0)](coder, g, c, cross, prediction, states, streams, residual,
                                                      value);
}

/* One step of a lane: what a decoder reads as a word must be written before the state grows. */
static inline uint32_t encode_symbol(const ls_coder *coder, uint32_t x, uint32_t code, uint8_t **end)
{
    const uint32_t freq = coder->freq[code];
    if ((x >> (32 - coder->precision)) >= freq) {
        *end -= 2;
        (*end)[0] = (uint8_t)x;
        (*end)[1] = (uint8_t)(x >> 8);
        x >>= 16;
    }
    uint32_t quotient = (uint32_t)((uint64_t)x * coder->reciprocal[code] >> 32), rest = x - quotient * freq;
    if (rest >= freq) {
        quotient++;
        rest -= freq;
    }
    return (quotient << coder->precision) + rest + coder->start[code];
}

#define NO_SYMBOL 0xffff

static void encode_plane_scalar(const ls_coder *coder, const ls_geometry *g, const uint16_t *restrict codes,
                                uint32_t *states, uint8_t **end)
{
    for (ptrdiff_t at = g->size - g->wide; at >= 0; at -= g->wide)
        for (int k = g->wide - 1; k >= 0; k--)
            if (codes[at + k] != NO_SYMBOL)
                states[k] = encode_symbol(coder, states[k], codes[at + k], end);
}
