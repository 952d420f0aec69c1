/* Contexts that adapt, of planes of one row: docs/format-audio.md section S5.  A lane holds a stream, and sixteen go in
 * lock-step, one instant after another.  Included after coder_template.h, and compiled once for each path like it. */

#include <math.h>

/* Magnitudes of a plane of one row, whose neighbours above and below repeat it; returns whether any is not zero. */
static int row_magnitudes(const ls_geometry *g, const int8_t *restrict magnitude, uint8_t *restrict pairs)
{
    const ptrdiff_t wide = g->wide, n = g->size;
    int8_t any = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        any |= magnitude[i];
    if (!any)
        return 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int8_t a = magnitude[i];
        pairs[2 * i] = (uint8_t)(4 * a);
        pairs[2 * i + 1] = (uint8_t)(3 * (magnitude[i - wide] + magnitude[i + wide]) + 2 * a);
    }
    /* beyond the ends there are zeros, where the ends themselves should be */
    for (ptrdiff_t i = 0; i < wide; i++) {
        const ptrdiff_t last = (g->widths[i] - 1) * wide + i;
        pairs[2 * i + 1] = (uint8_t)(pairs[2 * i + 1] + 3 * magnitude[i]);
        pairs[2 * last + 1] = (uint8_t)(pairs[2 * last + 1] + 3 * magnitude[last]);
    }
    return 1;
}

#define POWER_FLOOR 64

/* What sixteen channels have learnt by an instant, and where their tables lie. */
typedef struct {
    vec own[5], bias, a1, a2, a3, fast, slow; /* magnitudes of the last three residuals, and their averages */
    vec taps[LS_TAPS], value, power, gain_at; /* the last value, and the power of all inputs */
    vec_table table;
    vec table_at; /* where lanes have tables of their own: entries from the coder's first channel on */
} learner;

/* What they expect of the next value. */
typedef struct {
    vec x[LS_TAPS], sum, whole, flip, gain, bucket; /* level * 64 + bucket */
} expectation;

static inline vec square(vec x)
{
    return v_mul(x, x);
}

static inline __attribute__((always_inline)) void start(learner *l, const ls_coder *coder, const ls_plane *plane,
                                                        int filtered, int mixed)
{
    l->a1 = l->a2 = l->a3 = l->fast = l->slow = l->value = v_set(0);
    for (int j = 0; j < 5; j++)
        l->own[j] = of_channels(plane, offsetof(ls_channel, own) + 4 * (size_t)j);
    l->bias = of_channels(plane, offsetof(ls_channel, bias));
    l->gain_at = of_channels(plane, offsetof(ls_channel, gain_at));
    l->power = v_set(POWER_FLOOR);
    for (int j = 0; filtered && j < LS_TAPS; j++)
        l->taps[j] = of_channels(plane, offsetof(ls_channel, taps) + 4 * (size_t)j);
    for (int j = 0; filtered && j < LS_SOURCES; j++)
        l->power = v_add(l->power, square(v_load_i8(plane->source[j])));
    if (mixed) {
        uint32_t x[16];
        for (int k = 0; k < 16; k++)
            x[k] = (uint32_t)(((const char *)plane->channel[k]->table16 - (const char *)coder->channel) / 2);
        l->table_at = v_load(x);
    } else {
        l->table = v_table_load(&plane->channel[0]->table16[0][0], filtered);
    }
}

/* The inputs are in the planes, but for the last value, which has only just been stored. Those before the first instant
 * are the planes' margins. */
static inline __attribute__((always_inline)) void expect_value(learner *l, expectation *e, const ls_coder *coder,
                                                               const ls_plane *plane, ptrdiff_t at, const int filtered,
                                                               const int mixed)
{
    vec context = v_add(l->bias, v_load_u16(plane->cross + at));
    context = v_add(context, v_add(v_mul16(l->a2, l->own[1]), v_mul16(l->a3, l->own[2])));
    context = v_add(context, v_mul16(l->a1, l->own[0]));
    context = v_add(context, v_srl(v_add(v_mul16(l->fast, l->own[3]), v_mul16(l->slow, l->own[4])), 8));
    e->bucket = bucket_of(context);
    if (!filtered)
        return;
    e->x[0] = l->value;
    for (int j = 1; j < LS_OWN_TAPS; j++)
        e->x[j] = v_load_i8(plane->value + at - 16 * (j + 1));
    l->power = v_add(l->power, v_sub(square(l->value), square(v_load_i8(plane->value + at - 16 * (LS_OWN_TAPS + 1)))));
    for (int j = 0; j < LS_SOURCES; j++) {
        const int8_t *source = plane->source[j] + at;
        vec *x = e->x + LS_OWN_TAPS + 3 * j;
        for (int i = 0; i < 3; i++)
            x[i] = v_load_i8(source + 16 * (i - 1));
        l->power = v_add(l->power, v_sub(square(x[2]), square(v_load_i8(source - 32))));
    }
    const vec power = bucket_of(l->power);
    e->gain = mixed ? v_gather16(coder->gain, v_add(l->gain_at, power))
                    : v_one_of_64(coder->gain + plane->channel[0]->gain_at, power);
    vec sum = v_mul(l->taps[LS_TAPS - 1], e->x[LS_TAPS - 1]);
    for (int j = LS_TAPS - 2; j >= 0; j--)
        sum = v_add(sum, v_mul(l->taps[j], e->x[j]));
    e->sum = sum;
    e->whole = v_max(v_min(v_sra(v_add(sum, v_set(32768)), 16), v_set(127)), v_set((uint32_t)-127));
    const vec fraction = v_sub(sum, v_sll(e->whole, 16));
    e->flip = v_sra(fraction, 31);
    /* -2^31 has no absolute value; its bits taken as a number without sign are right */
    e->bucket = v_or(e->bucket, v_sll(v_min(v_srl(v_abs(fraction), 13), v_set(3)), 6));
}

static inline __attribute__((always_inline)) vec table_of(const learner *l, const ls_coder *coder, vec bucket,
                                                          const int filtered, const int mixed)
{
    return mixed ? v_gather16((const uint16_t *)(const void *)coder->channel, v_add(l->table_at, bucket))
                 : v_lookup(l->table, bucket, filtered);
}

static inline __attribute__((always_inline)) void learn(learner *l, const expectation *e, vec value, vec magnitude,
                                                        const int filtered)
{
    l->a3 = l->a2;
    l->a2 = l->a1;
    l->a1 = magnitude;
    const vec now = v_sll(magnitude, 8);
    l->fast = v_add(l->fast, v_sra(v_sub(now, l->fast), 3));
    l->slow = v_add(l->slow, v_sra(v_sub(now, l->slow), 5));
    if (!filtered)
        return;
    vec error = v_sub(v_sll(value, 12), v_sra(e->sum, 4));
    error = v_max(v_min(error, v_set(32767)), v_set((uint32_t)-32767));
    const vec step = v_sra(v_mul(error, e->gain), 10), half = v_set(512);
    for (int j = 0; j < LS_TAPS; j++)
        l->taps[j] = v_add(l->taps[j], v_sra(v_add(v_mul(step, e->x[j]), half), 10));
    l->value = value;
}

/* Decodes one instant of a plane. Streams that have ended keep their states, and go on as zeros. */
static inline __attribute__((always_inline)) int decode_instant(const ls_coder *coder, const ls_plane *plane,
                                                                learner *l, vec *state, reader *words, ptrdiff_t at,
                                                                const mask active, const int filtered, const int mixed)
{
    expectation e;
    expect_value(l, &e, coder, plane, at, filtered, mixed);
    const vec slot = slots_of(coder, *state), table = table_of(l, coder, e.bucket, filtered, mixed);
    const decoded d = decode_symbols(coder, table, slot, *state, guess_symbols(coder, table, slot));
    const vec next = v_blend(active, *state, d.next);
    *state = reader_refill(words, next, v_less(next, v_set(LS_STATE_LOW)), 16);
    const mask beyond = reader_beyond(words, plane->streams, 16);
    if (beyond)
        return give_up(plane->streams + __builtin_ctz(beyond), LS_TRUNCATED);
    vec residual = d.residual, value = residual;
    const mask escaped = v_equal(residual, v_set((uint32_t)-128)) & active;
    if (filtered) {
        residual = v_sub(v_xor(residual, e.flip), e.flip);
        value = v_max(v_min(v_add(residual, e.whole), v_set(127)), v_set((uint32_t)-128));
    }
    if (escaped && read_escapes(plane, 1, escaped, filtered ? e.whole : v_set(0), &residual, &value))
        return LS_CORRUPT;
    value = v_blend(active, v_set(0), value);
    const vec magnitude = v_blend(active, v_set(0), v_min(v_abs(residual), v_set(15)));
    v_store_i8(plane->value + at, value);
    v_store_i8(plane->residual + at, magnitude);
    learn(l, &e, value, magnitude, filtered);
    return LS_OK;
}

static inline __attribute__((always_inline)) int decode_rows_any(const ls_coder *coder, const ls_geometry *g,
                                                                 ls_plane *plane, const int filtered, const int mixed)
{
    learner l;
    reader words;
    vec state = v_load(plane->states);
    start(&l, coder, plane, filtered, mixed);
    reader_open(&words, plane->streams, 16);
    for (int t = 0; t < g->width;) {
        /* as far as the same streams go on */
        mask active = 0;
        int until = g->width;
        for (int lane = 0; lane < 16; lane++) {
            if (g->widths[lane] <= t)
                continue;
            active |= (mask)(1u << lane);
            until = g->widths[lane] < until ? g->widths[lane] : until;
        }
        for (; t < until; t++) {
            const int status = decode_instant(coder, plane, &l, &state, &words, (ptrdiff_t)t * 16, active, filtered, mixed);
            if (status)
                return status;
        }
    }
    v_store(plane->states, state);
    reader_close(&words, plane->streams, 16);
    return LS_OK;
}

static int decode_rows(const ls_coder *coder, const ls_geometry *g, ls_plane *plane)
{
    if (plane->predicted)
        return plane->mixed ? decode_rows_any(coder, g, plane, 1, 1) : decode_rows_any(coder, g, plane, 1, 0);
    return plane->mixed ? decode_rows_any(coder, g, plane, 0, 1) : decode_rows_any(coder, g, plane, 0, 0);
}

/* The symbols of residuals, less their sign where they are predicted. */
static inline __attribute__((always_inline)) vec symbol_of(const expectation *e, vec residual, const int filtered)
{
    const vec coded = filtered ? v_sub(v_xor(residual, e->flip), e->flip) : residual;
    const vec symbol = v_add(coded, v_set(LS_RADIUS));
    return v_blend(v_less(symbol, v_set(2 * LS_RADIUS + 1)), v_set(LS_ESCAPE), symbol);
}

static inline __attribute__((always_inline)) void code_rows_any(const ls_coder *coder, const ls_geometry *g,
                                                                const ls_plane *plane, uint16_t *codes,
                                                                const int filtered, const int mixed, const int contexts)
{
    learner l;
    start(&l, coder, plane, filtered, mixed);
    for (ptrdiff_t at = 0; at < g->size; at += 16) {
        expectation e;
        expect_value(&l, &e, coder, plane, at, filtered, mixed);
        const vec value = v_load_i8(plane->value + at), residual = filtered ? v_sub(value, e.whole) : value;
        const vec magnitude = v_min(v_abs(residual), v_set(15));
        const vec table = contexts ? e.bucket : table_of(&l, coder, e.bucket, filtered, mixed);
        v_store_u16(codes + at, v_or(v_sll(table, 6), symbol_of(&e, residual, filtered)));
        v_store_i8(plane->residual + at, magnitude);
        learn(&l, &e, value, magnitude, filtered);
    }
}

static void code_rows(const ls_coder *coder, const ls_geometry *g, const ls_plane *plane, int contexts, uint16_t *codes)
{
    if (plane->predicted && plane->mixed)
        code_rows_any(coder, g, plane, codes, 1, 1, contexts);
    else if (plane->predicted)
        code_rows_any(coder, g, plane, codes, 1, 0, contexts);
    else
        code_rows_any(coder, g, plane, codes, 0, 1, contexts);
}

static inline vec v_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return v_set(bits);
}

static inline vec v_float_sub(vec a, vec b)
{
    return v_float_add(a, v_xor(b, v_set(0x80000000u)));
}

static inline vec v_load_float(const float *p)
{
    return v_load((const uint32_t *)(const void *)p);
}

/* What coder_optimise.c does, operation by operation: of the nearest integer and the two next towards zero the first
 * that costs least; 0 where no cost is a number. */
static inline __attribute__((always_inline)) void choose_rows_any(const ls_coder *coder, const ls_geometry *g,
                                                                  const ls_plane *plane, const ls_choices *choices,
                                                                  const int filtered, const int mixed)
{
    const vec lambda = v_float(choices->lambda), weight = v_load_float(choices->weight), zero = v_set(0);
    const vec delta1 = v_load_float(choices->delta[0]), delta2 = v_load_float(choices->delta[1]);
    learner l;
    start(&l, coder, plane, filtered, mixed);
    for (ptrdiff_t at = 0; at < g->size; at += 16) {
        expectation e;
        expect_value(&l, &e, coder, plane, at, filtered, mixed);
        const vec table = v_sll(table_of(&l, coder, e.bucket, filtered, mixed), 6), whole = filtered ? e.whole : zero;
        const vec z = v_load_float(choices->coefficients + at);
        const vec size = v_and(z, v_set(0x7fffffffu));
        const mask negative = v_float_less(z, zero);
        vec above = v_float_add(v_float_add(size, v_float(0.5f)),
                                v_blend(v_float_less(size, v_float(1.5f)), delta2, delta1));
        const mask fits = v_float_less(above, v_float(128.0f)) & (mask)~v_float_less(above, zero);
        const vec top = v_float_to_int(v_blend(fits, v_float(127.0f), above));
        vec best = zero, least = v_float(INFINITY);
        for (uint32_t j = 0; j < 3; j++) {
            const vec n = v_sub(top, v_set(j)), value = v_blend(negative, n, v_sub(zero, n));
            const vec delta = v_blend(v_equal(n, v_set(1)), delta2, delta1);
            const vec rebuilt = v_blend(v_equal(n, zero), v_float_sub(v_float_bits(n), delta), zero);
            const vec error = v_float_sub(size, rebuilt);
            const vec bits = v_gather16(coder->cost, v_or(table, symbol_of(&e, v_sub(value, whole), filtered)));
            const vec loss = v_float_add(v_float_mul(v_float_mul(weight, error), error),
                                         v_float_mul(lambda, v_float_bits(bits)));
            const mask better = v_float_less(loss, least) & v_less(n, v_set(128)); /* n is not negative */
            best = v_blend(better, best, value);
            least = v_blend(better, least, loss);
        }
        const vec magnitude = v_min(v_abs(v_sub(best, whole)), v_set(15));
        v_store_i8(plane->value + at, best);
        v_store_i8(plane->residual + at, magnitude);
        learn(&l, &e, best, magnitude, filtered);
    }
}

static void choose_rows(const ls_coder *coder, const ls_geometry *g, const ls_plane *plane, const ls_choices *choices)
{
    if (plane->predicted && plane->mixed)
        choose_rows_any(coder, g, plane, choices, 1, 1);
    else if (plane->predicted)
        choose_rows_any(coder, g, plane, choices, 1, 0);
    else
        choose_rows_any(coder, g, plane, choices, 0, 1);
}
