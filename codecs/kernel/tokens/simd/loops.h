/* The loops that are plain C on every path: compiled for each of them, as most have better shifts than the least
 * processor. */
#include "tokens/lanes.h"

INLINE uint32_t value_at(const void *array, size_t i, int bytes)
{
    if (bytes == 1)
        return ((const uint8_t *)array)[i];
    return bytes == 2 ? ((const uint16_t *)array)[i] : ((const uint32_t *)array)[i];
}

INLINE void put_value(void *array, size_t i, uint32_t value, int bytes)
{
    if (bytes == 1)
        ((uint8_t *)array)[i] = (uint8_t)value;
    else if (bytes == 2)
        ((uint16_t *)array)[i] = (uint16_t)value;
    else
        ((uint32_t *)array)[i] = value;
}

#ifndef LOW_BITS
#define LOW_BITS(X, COUNT) ((X) & (((uint64_t)1 << (COUNT)) - 1))
#endif

INLINE uint32_t place_in(tok_interval interval, uint64_t bits)
{
    return (uint32_t)LOW_BITS(bits, interval.extra);
}

/* Values that are read before the place among the extra bits is looked at: 32 bits each stay within TOK_PAD. */
#define BLOCK 56

INLINE int values_any(const tok_model *m, const uint16_t *tokens, size_t values, const uint8_t *extras, size_t *at,
                      size_t most, void *array, const int bytes, const int shifted, const int four)
{
    const tok_interval *interval = m->interval;
    const int shift = m->shift;
    size_t bit = *at;
    for (size_t i = 0; i < values;) {
        const size_t until = values - i < BLOCK ? values : i + BLOCK;
        for (; four && i + 4 <= until; i += 4) {
            uint64_t bits = load_64(extras + (bit >> 3)) >> (bit & 7);
            for (size_t k = 0; k < 4; k++) {
                const tok_interval a = interval[tokens[i + k]];
                const uint32_t v = a.base + place_in(a, bits);
                bits >>= a.extra;
                bit += a.extra;
                put_value(array, i + k, shifted ? v << shift : v, bytes);
            }
        }
        /* two fit into what one load gives, but for the rarest of 32 bits */
        for (; i + 2 <= until; i += 2) {
            const tok_interval a = interval[tokens[i]], b = interval[tokens[i + 1]];
            if (bytes == 4 && a.extra + b.extra > 57)
                break;
            const uint64_t bits = load_64(extras + (bit >> 3)) >> (bit & 7);
            const uint32_t x = a.base + place_in(a, bits), y = b.base + place_in(b, bits >> a.extra);
            bit += a.extra + b.extra;
            put_value(array, i, shifted ? x << shift : x, bytes);
            put_value(array, i + 1, shifted ? y << shift : y, bytes);
        }
        for (size_t next = i + 2 < until ? i + 2 : until; i < next; i++) {
            const tok_interval a = interval[tokens[i]];
            const uint64_t bits = load_64(extras + (bit >> 3)) >> (bit & 7);
            const uint32_t v = a.base + place_in(a, bits);
            bit += a.extra;
            put_value(array, i, shifted ? v << shift : v, bytes);
        }
        if (bit > most)
            return -1;
    }
    *at = bit;
    return 0;
}

static int values_loop(const tok_model *m, const uint16_t *tokens, size_t values, const uint8_t *extras, size_t *at,
                       size_t most, void *array)
{
    if (m->bytes == 1)
        return values_any(m, tokens, values, extras, at, most, array, 1, 1, 1);
    if (m->bytes == 2 && m->four)
        return m->shift ? values_any(m, tokens, values, extras, at, most, array, 2, 1, 1)
                        : values_any(m, tokens, values, extras, at, most, array, 2, 0, 1);
    if (m->bytes == 2)
        return values_any(m, tokens, values, extras, at, most, array, 2, 1, 0);
    return m->shift ? values_any(m, tokens, values, extras, at, most, array, 4, 1, 0)
                    : values_any(m, tokens, values, extras, at, most, array, 4, 0, 0);
}

#ifndef TOKENS_OF_SIXTEENS
#define TOKENS_OF_SIXTEENS(M, VALUES, COUNT, FIRST, INDEX, WRITER) 0
#define TOKENS_OF_EIGHTS(M, VALUES, COUNT, FIRST, INDEX, WRITER) 0
#endif

INLINE size_t tokens_any(const tok_model *m, const tok_shape *shape, const void *array, uint16_t *index,
                         tok_writer *writer, const int bytes, const int ranked, const int exact, const int four)
{
    /* exact: there is no shift, either */
    const int shift = exact ? 0 : m->shift, lookup = exact ? (bytes == 1 ? 0 : 8 * bytes - 12) : m->lookup_shift;
    const uint32_t low = exact ? 0 : ((uint32_t)1 << shift) - 1;
    tok_writer w = *writer;
    tok_channel_run run = tok_first_run(m, shape);
    for (; run.at < shape->values; tok_next_run(m, shape, &run)) {
        const uint32_t first = run.channel < 0 ? 0 : (uint32_t)(m->table[run.channel] * m->tokens);
        const size_t book = (size_t)(run.channel + 1);
        const uint32_t size = m->sizes[book];
        const uint16_t *rank = m->rank + book * (ranked ? (size_t)m->last + 1 : 0);
        size_t i = run.at;
        if (bytes == 2 && four && exact)
            i += TOKENS_OF_SIXTEENS(m, (const uint16_t *)array + i, run.end - i, first, index + i, &w);
        if (bytes == 4 && m->quick)
            i += TOKENS_OF_EIGHTS(m, (const uint32_t *)array + i, run.end - i, first, index + i, &w);
        for (; four && exact && i + 4 <= run.end; i += 4) { /* values of which none is refused */
            uint64_t bits = 0;
            uint32_t count = 0;
            for (size_t k = 0; k < 4; k++) {
                const uint32_t v = value_at(array, i + k, bytes), t = m->lookup[v >> lookup];
                const tok_interval a = m->interval[t];
                index[i + k] = (uint16_t)(first + t);
                bits |= (uint64_t)(v - a.base) << count;
                count += a.extra;
            }
            put_bits(&w, bits, count);
        }
        while (i < run.end) {
            uint32_t v = value_at(array, i, bytes);
            if (ranked ? v >= size : v & low)
                return i;
            v = ranked ? rank[v] : v >> shift;
            const uint32_t s = token_of(m, v, lookup, exact);
            const tok_interval a = m->interval[s];
            index[i++] = (uint16_t)(first + s);
            uint64_t bits = v - a.base;
            uint32_t count = a.extra;
            /* two are put at once, but for the rarest of 32 bits */
            if (i < run.end) {
                uint32_t u = value_at(array, i, bytes);
                if (ranked ? u >= size : u & low)
                    return i;
                u = ranked ? rank[u] : u >> shift;
                const uint32_t t = token_of(m, u, lookup, exact);
                const tok_interval b = m->interval[t];
                if (bytes != 4 || a.extra + b.extra <= MOST_PUT) {
                    index[i++] = (uint16_t)(first + t);
                    bits |= (uint64_t)(u - b.base) << a.extra;
                    count += b.extra;
                }
            }
            put_bits(&w, bits, count);
        }
    }
    *writer = w;
    return shape->values;
}

static size_t tokens_loop(const tok_model *m, const tok_shape *shape, const void *array, uint16_t *index, tok_writer *w)
{
    if (m->ranked)
        return m->bytes == 1   ? tokens_any(m, shape, array, index, w, 1, 1, 0, 0)
               : m->bytes == 2 ? tokens_any(m, shape, array, index, w, 2, 1, 0, 0)
                               : tokens_any(m, shape, array, index, w, 4, 1, 0, 0);
    if (m->bytes == 1)
        return m->exact ? tokens_any(m, shape, array, index, w, 1, 0, 1, 1)
                        : tokens_any(m, shape, array, index, w, 1, 0, 0, 0);
    if (m->bytes == 2)
        return m->exact && m->four ? tokens_any(m, shape, array, index, w, 2, 0, 1, 1)
                                   : tokens_any(m, shape, array, index, w, 2, 0, 0, 0);
    return m->exact ? tokens_any(m, shape, array, index, w, 4, 0, 1, 0) : tokens_any(m, shape, array, index, w, 4, 0, 0, 0);
}

/* Codes a symbol; its word, if it puts one, goes before `to`. */
INLINE uint32_t code_one(const tok_symbol s, uint32_t x, uint8_t **to)
{
    const uint32_t freq = s.freq, full = x >> (32 - TOK_PRECISION) >= freq;
    store_16(*to - 2, (uint16_t)x);
    *to -= 2 * full;
    x >>= 16 * full;
    uint32_t quotient = (uint32_t)((uint64_t)x * s.reciprocal >> 32);
    quotient += x - quotient * freq >= freq;
    return (quotient << TOK_PRECISION) + (x - quotient * freq) + s.start;
}

INLINE uint8_t *code_any(const tok_model *m, const uint16_t *index, size_t values, uint32_t *states, uint8_t *to,
                         const int lanes)
{
    const tok_symbol *symbol = m->symbol;
    uint32_t x[TOK_MAX_LANES]; /* which words cannot overwrite, as the compiler knows */
    memcpy(x, states, 4 * (size_t)lanes);
    size_t i = values;
    for (; i % (size_t)lanes; i--)
        x[(i - 1) % (size_t)lanes] = code_one(symbol[index[i - 1]], x[(i - 1) % (size_t)lanes], &to);
    while (i) {
        i -= (size_t)lanes;
        for (int k = lanes - 1; k >= 0; k--)
            x[k] = code_one(symbol[index[i + (size_t)k]], x[k], &to);
    }
    memcpy(states, x, 4 * (size_t)lanes);
    return to;
}

static uint8_t *code_loop(const tok_model *m, const uint16_t *index, size_t values, uint32_t *states, uint8_t *to,
                          int lanes)
{
    switch (lanes) {
    case 1:
        return code_any(m, index, values, states, to, 1);
    case 4:
        return code_any(m, index, values, states, to, 4);
    case 16:
        return code_any(m, index, values, states, to, 16);
    default:
        return code_any(m, index, values, states, to, 32);
    }
}
