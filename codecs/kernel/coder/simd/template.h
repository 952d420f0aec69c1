/* The inner loops of the entropy coder, written once over the 16-lane vectors of vec_*.h and compiled once for each
 * path.  Included by portable.c, avx2.c, avx512.c and neon.c. */

#include <stddef.h>
#include <string.h>

#include "coder/simd/predict.h"

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

/* One plane's 16 lanes in flight. The previous steps sit in registers: what was upper-right one and two steps ago is
 * upper and upper-left now. */
typedef struct {
    vec state, a1, a2, up, up_left;  /* magnitudes to the left, two to the left; rows above, not yet cut at the edges */
    vec q1, q_up, q_up_left;         /* the same of values, where they are predicted */
    vec own[5], bias, signed_own[4]; /* of each lane */
    vec_table table;
    vec table_at; /* where lanes have tables of their own: entries from the coder's first channel on */
    reader words;
} flight;

/* a number of each lane's channel, at this place in it */
static inline vec of_channels(const ls_plane *plane, size_t place)
{
    uint32_t x[16];
    for (int k = 0; k < 16; k++)
        memcpy(x + k, (const char *)plane->channel[k] + place, 4);
    return v_load(x);
}

/* the same of signed_own[i], 0 where a lane's channel is not predicted */
static inline vec signed_weight(const ls_plane *plane, int i)
{
    uint32_t x[16];
    for (int k = 0; k < 16; k++)
        x[k] = plane->channel[k]->predicted ? (uint32_t)plane->channel[k]->signed_own[i] : 0;
    return v_load(x);
}

static inline __attribute__((always_inline)) void take_off(flight *f, const ls_coder *coder, const ls_plane *plane,
                                                           int predicted, int streams, int mixed)
{
    f->state = v_load(plane->states);
    f->a1 = f->a2 = f->up = f->up_left = f->q1 = f->q_up = f->q_up_left = v_set(0);
    for (int i = 0; i < 5; i++)
        f->own[i] = of_channels(plane, offsetof(ls_channel, own) + 4 * (size_t)i);
    f->bias = of_channels(plane, offsetof(ls_channel, bias));
    for (int i = 0; predicted && i < 4; i++)
        f->signed_own[i] = signed_weight(plane, i);
    if (mixed) {
        uint32_t x[16];
        for (int k = 0; k < 16; k++)
            x[k] = (uint32_t)(((const char *)plane->channel[k]->table16 - (const char *)coder->channel) / 2);
        f->table_at = v_load(x);
    } else {
        f->table = v_table_load(&plane->channel[0]->table16[0][0], predicted);
    }
    reader_open(&f->words, plane->streams, streams);
}

/* Values that stood behind an escape, in the order of lanes; LS_CORRUPT where there are not so many. */
static __attribute__((noinline)) int read_escapes(const ls_plane *plane, int lanes, mask escaped, vec p, vec *symbol,
                                                  vec *value)
{
    uint32_t predicted[16], symbols[16], values[16];
    v_store(predicted, p);
    v_store(symbols, *symbol);
    v_store(values, *value);
    for (int k = 0; k < 16; k++)
        if (escaped >> k & 1) {
            ls_stream *s = plane->streams + k / lanes;
            if (s->escapes == s->escapes_end)
                return give_up(s, LS_CORRUPT);
            const int full = (int8_t)*s->escapes++, r = full - (int32_t)predicted[k];
            values[k] = (uint32_t)full;
            symbols[k] = (uint32_t)(r > 127 ? 127 : r < -128 ? -128 : r);
        }
    *symbol = v_load(symbols);
    *value = v_load(values);
    return LS_OK;
}

/* ls_symbol of the lanes whose guess was wrong */
static __attribute__((noinline)) vec look_up_symbols(const ls_coder *coder, vec table, vec slot, vec guess, mask wrong)
{
    uint32_t tables[16], slots[16], symbols[16];
    v_store(tables, table);
    v_store(slots, slot);
    v_store(symbols, guess);
    for (unsigned left = wrong; left; left &= left - 1) {
        const int k = __builtin_ctz(left);
        symbols[k] = ls_symbol(coder, tables[k], coder->symbol[tables[k] << coder->precision | slots[k]]);
    }
    return v_load(symbols);
}

typedef struct {
    vec residual, next; /* -128 for an escape; the state before words are read */
} decoded;

static inline __attribute__((always_inline)) vec slots_of(const ls_coder *coder, vec state)
{
    return v_and(state, v_set((1u << coder->precision) - 1));
}

static inline __attribute__((always_inline)) vec guess_symbols(const ls_coder *coder, vec table, vec slot)
{
    return v_gather(coder->guess, v_or(v_sll(table, 8), v_srl(slot, coder->precision - 8)));
}

static inline __attribute__((always_inline)) decoded decode_symbols(const ls_coder *coder, vec table, vec slot, vec state,
                                                                    vec symbol)
{
    const vec twelve = v_set(0xfff);
    vec freq = v_and(v_srl(symbol, 12), twelve), beyond = v_sub(slot, v_and(symbol, twelve));
    const mask right = v_less(beyond, freq);
    if (__builtin_expect(right != 0xffff, 0)) {
        symbol = look_up_symbols(coder, table, slot, symbol, (mask)~right);
        freq = v_and(v_srl(symbol, 12), twelve), beyond = v_sub(slot, v_and(symbol, twelve));
    }
    const decoded d = {v_sra(symbol, 24), v_add(v_mul(freq, v_srl(state, coder->precision)), beyond)};
    return d;
}

/* which lanes of a step are at an edge of their plane */
typedef struct {
    mask first_column, second_column, last_column, first_row;
} edges;

/* The neighbours of a step, magnitudes or values; what is left of `left2` is not looked at for values. */
typedef struct {
    vec left, up, up_left, up_right, left2;
} around;

static inline vec magnitude_at(const int8_t *residual)
{
    return v_min(v_abs(v_load_i8(residual)), v_set(15));
}

static inline __attribute__((always_inline)) around neighbours(const edges *at, vec corner, vec q1, vec q2, vec *up,
                                                               vec *up_left)
{
    around n = {q1, *up, *up_left, corner, q2};
    *up_left = *up;
    *up = corner;
    n.left2 = v_blend(at->first_column, v_blend(at->second_column, q2, q1), n.up);
    n.left = v_blend(at->first_column, q1, n.up);
    n.up_left = v_blend(at->first_column, n.up_left, n.up);
    n.up_right = v_blend(at->last_column, n.up_right, n.up);
    n.up = v_blend(at->first_row, n.up, n.left);
    n.up_left = v_blend(at->first_row, n.up_left, n.left);
    n.up_right = v_blend(at->first_row, n.up_right, n.left);
    return n;
}

/* The symbols of one step, whose neighbours among magnitudes are `n`, and among values `q`; lanes that are not `active`
 * code nothing. */
static inline __attribute__((always_inline)) int decode_step(const ls_coder *coder, const int lanes, const ls_plane *plane,
                                                             flight *f, ptrdiff_t at, around n, around q, mask active,
                                                             const int predicted, const int streams, const int mixed)
{
    const vec zero = v_set(0);
    vec context = v_add(f->bias, v_load_u16(plane->cross + at));
    context = v_add(context, v_add(v_mul16(n.up, f->own[1]),
                                   v_add(v_mul16(n.up_left, f->own[2]), v_mul16(n.up_right, f->own[3]))));
    context = v_add(v_add(context, v_mul16(n.left2, f->own[4])), v_mul16(n.left, f->own[0]));
    vec bucket = bucket_of(context), p = zero, flip = zero;
    if (predicted) {
        const vec near = v_add(v_mul(q.left, f->signed_own[0]), v_mul(q.up, f->signed_own[1]));
        const vec far = v_add(v_mul(q.up_left, f->signed_own[2]), v_mul(q.up_right, f->signed_own[3]));
        const vec sum = v_add(v_load((const uint32_t *)plane->prediction + at), v_add(near, far));
        p = v_max(v_min(v_sra(v_add(sum, v_set(512)), 10), v_set(127)), v_set((uint32_t)-127));
        const vec fraction = v_sub(sum, v_sll(p, 10));
        flip = v_sra(fraction, 31);
        bucket = v_or(bucket, v_sll(v_min(v_srl(v_abs(fraction), 7), v_set(3)), 6));
    }
    const vec table = mixed ? v_gather16((const uint16_t *)(const void *)coder->channel, v_add(f->table_at, bucket))
                            : v_lookup(f->table, bucket, predicted);
    const vec slot = slots_of(coder, f->state);
    const decoded d = decode_symbols(coder, table, slot, f->state, guess_symbols(coder, table, slot));
    f->state = v_blend(active, f->state, d.next);
    const mask low = v_equal(v_srl(f->state, 16), zero);
    f->state = reader_refill(&f->words, f->state, active & low, streams);
    vec symbol = d.residual;
    const mask escape = v_equal(symbol, v_set((uint32_t)-128)), escaped = active & escape;
    symbol = predicted ? v_sub(v_xor(symbol, flip), flip) : symbol;
    symbol = v_blend(active, zero, symbol);
    vec value = symbol;
    if (predicted) {
        value = v_add(symbol, p);
        value = v_max(v_min(v_blend(active, zero, value), v_set(127)), v_set((uint32_t)-128));
    }
    if (escaped && read_escapes(plane, lanes, escaped, p, &symbol, &value))
        return LS_CORRUPT;
    v_store_i8(plane->residual + at, symbol);
    f->a2 = f->a1;
    f->a1 = v_min(v_abs(symbol), v_set(15));
    if (predicted) {
        v_store_i8(plane->value + at, value);
        f->q1 = value;
    }
    return LS_OK;
}

#ifndef reader_refill_each
/* the same where each lane is a stream */
static inline vec reader_refill_each(reader *r, vec state)
{
    return reader_refill(r, state, v_equal(v_srl(state, 16), v_set(0)), 16);
}
#endif

/* whether a stream has read past its end, and has been told so */
static inline __attribute__((always_inline)) int too_short(const reader *words, const ls_plane *plane, int streams)
{
    const mask beyond = reader_beyond(words, plane->streams, streams);
    if (beyond)
        give_up(plane->streams + __builtin_ctz(beyond), LS_TRUNCATED);
    return beyond != 0;
}

/* Decodes one plane of each of `count` bundles side by side: a step waits long for its table, and two fill the time. */
static inline __attribute__((always_inline)) int decode_any(const ls_coder *coder, const ls_geometry *g, ls_plane *planes,
                                                            int *failed, const int predicted, const int streams,
                                                            const int count, const int mixed)
{
    flight f[2] = {0}; /* nothing reads these zeros, but gcc 12 cannot see it and warns */
    uint32_t order[16];
    for (int k = 0; k < 16; k++)
        order[k] = k % g->lanes ? (uint32_t)(k - 1) : (uint32_t)(16 + k + g->lanes - 1);
    const vec shift = v_load(order);
    for (int i = 0; i < count; i++)
        take_off(f + i, coder, planes + i, predicted, streams, mixed);
    for (int t = 0; t < g->steps; t++) {
        const ptrdiff_t at = (ptrdiff_t)t * 16, behind = (ptrdiff_t)(t - g->wrap + 1) * 16;
        edges e;
        e.first_column = v_mask(g->first_column + at);
        e.second_column = v_mask(g->second_column + at);
        e.last_column = v_mask(g->last_column + at);
        e.first_row = v_mask(g->first_row + at);
        const mask active = v_mask(g->active + at);
        for (int i = 0; i < count; i++) {
            const ls_plane *plane = planes + i;
            const vec corner = v_shuffle(f[i].a1, shift, magnitude_at(plane->residual + behind));
            const around n = neighbours(&e, corner, f[i].a1, f[i].a2, &f[i].up, &f[i].up_left);
            around q = n;
            if (predicted)
                q = neighbours(&e, v_shuffle(f[i].q1, shift, v_load_i8(plane->value + behind)), f[i].q1, f[i].q1,
                               &f[i].q_up, &f[i].q_up_left);
            *failed = i;
            const int status = decode_step(coder, g->lanes, plane, f + i, at, n, q, active, predicted, streams, mixed);
            if (too_short(&f[i].words, plane, streams))
                return LS_TRUNCATED;
            if (status)
                return status;
        }
    }
    for (int i = 0; i < count; i++) {
        v_store(planes[i].states, f[i].state);
        reader_close(&f[i].words, planes[i].streams, streams);
    }
    return LS_OK;
}

#include "coder/simd/narrow.h"
#include "coder/sparse/taken.h"
#if SIDE_BY_SIDE
#include "coder/sparse/values.h"
#endif

/* The loop is compiled alone and in pairs, predicted and not, for lanes of one model and of several; and where the
 * vectors make something of knowing it (VARIANTS_BY_STREAMS), for each number of streams that a vector can hold.
 * Streams of one lane have a loop of their own. */
typedef int decode_variant(const ls_coder *coder, const ls_geometry *g, ls_plane *planes, int *failed);
#define VARIANT(NAME, PREDICTED, STREAMS, COUNT, MIXED)                                                                \
    static int NAME(const ls_coder *coder, const ls_geometry *g, ls_plane *planes, int *failed)                        \
    {                                                                                                                  \
        return decode_any(coder, g, planes, failed, PREDICTED, STREAMS, COUNT, MIXED);                                 \
    }
#define NARROW(NAME, PREDICTED, COUNT, MIXED)                                                                          \
    static int NAME(const ls_coder *coder, const ls_geometry *g, ls_plane *planes, int *failed)                        \
    {                                                                                                                  \
        return decode_narrow(coder, g, planes, failed, PREDICTED, COUNT, MIXED);                                       \
    }
#if VARIANTS_BY_STREAMS
#define VARIANTS(NAME, COUNT, PREDICTED, MIXED)                                                                        \
    NARROW(NAME##_16, PREDICTED, COUNT, MIXED)                                                                         \
    VARIANT(NAME##_8, PREDICTED, 8, COUNT, MIXED)                                                                      \
    VARIANT(NAME##_4, PREDICTED, 4, COUNT, MIXED)                                                                      \
    VARIANT(NAME##_2, PREDICTED, 2, COUNT, MIXED)                                                                      \
    VARIANT(NAME##_1, PREDICTED, 1, COUNT, MIXED)                                                                      \
    static decode_variant *const NAME[] = {NAME##_16, NAME##_8, NAME##_4, NAME##_2, NAME##_1};
#else
#define VARIANTS(NAME, COUNT, PREDICTED, MIXED)                                                                        \
    NARROW(NAME##_16, PREDICTED, COUNT, MIXED)                                                                         \
    VARIANT(NAME##_any, PREDICTED, 16 / g->lanes, COUNT, MIXED)                                                        \
    static decode_variant *const NAME[] = {NAME##_16, NAME##_any, NAME##_any, NAME##_any, NAME##_any};
#endif
VARIANTS(decode_plain, 1, 0, 0)
VARIANTS(decode_predicted, 1, 1, 0)
VARIANTS(decode_plain_mixed, 1, 0, 1)
VARIANTS(decode_predicted_mixed, 1, 1, 1)
#if SIDE_BY_SIDE
VARIANTS(decode_plain_pair, 2, 0, 0)
VARIANTS(decode_predicted_pair, 2, 1, 0)
NARROW(decode_plain_pair_mixed, 0, 2, 1)
#endif

static int decode_planes(const ls_coder *coder, const ls_geometry *g, ls_plane *planes, int count, int *failed)
{
    const int by_lanes = __builtin_ctz((unsigned)g->lanes), predicted = planes->predicted;
    *failed = 0;
    if (count == 1 && planes->mixed)
        return (predicted ? decode_predicted_mixed : decode_plain_mixed)[by_lanes](coder, g, planes, failed);
    if (count == 1)
        return (predicted ? decode_predicted : decode_plain)[by_lanes](coder, g, planes, failed);
#if SIDE_BY_SIDE
    if (!planes[0].mixed && !planes[1].mixed && planes[1].predicted == predicted &&
        (g->lanes > 1 || planes[0].channel[0] == planes[1].channel[0]))
        return (predicted ? decode_predicted_pair : decode_plain_pair)[by_lanes](coder, g, planes, failed);
    if (g->lanes == 1 && !predicted && !planes[1].predicted)
        return decode_plain_pair_mixed(coder, g, planes, failed);
#endif
    int status = decode_planes(coder, g, planes, 1, failed);
    if (!status && (status = decode_planes(coder, g, planes + 1, 1, failed)))
        *failed = 1;
    return status;
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
