/* What encoder and decoder share. */
#ifndef LATENTSTORE_TOKENS_LANES_H
#define LATENTSTORE_TOKENS_LANES_H

#include "tokens/tokens.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

static inline uint64_t load_64(const uint8_t *p)
{
    uint64_t x = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&x, p, 8);
#else
    for (int i = 0; i < 8; i++)
        x |= (uint64_t)p[i] << 8 * i;
#endif
    return x;
}

static inline void store_64(uint8_t *p, uint64_t x)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &x, 8);
#else
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> 8 * i);
#endif
}

static inline void store_16(uint8_t *p, uint16_t x)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &x, 2);
#else
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
#endif
}

INLINE void put_bits(tok_writer *w, uint64_t bits, uint64_t count)
{
    w->bits |= bits << w->count;
    w->count += count;
    store_64(w->to, w->bits);
    w->to += w->count >> 3;
    w->bits >>= w->count & 56;
    w->count &= 7;
}

/* The most bits that put_bits takes at once, as it may hold seven. */
#define MOST_PUT 56

/* lookup: m->lookup_shift. exact: m->exact. */
INLINE uint32_t token_of(const tok_model *m, uint32_t v, int lookup, int exact)
{
    uint32_t t = m->lookup[v >> lookup];
    while (!exact && v > m->ends[t])
        t++;
    return t;
}

/* The runs of values that share a channel, one after another. */
typedef struct {
    size_t at, end; /* of this run */
    int channel;    /* -1 if the array has not the model's channels */
} tok_channel_run;

static inline tok_channel_run tok_first_run(const tok_model *m, const tok_shape *shape)
{
    const int none = !shape->inner || !m->channels;
    return (tok_channel_run){0, none || shape->inner > shape->values ? shape->values : shape->inner, none ? -1 : 0};
}

static inline void tok_next_run(const tok_model *m, const tok_shape *shape, tok_channel_run *run)
{
    run->at = run->end;
    run->end = run->channel < 0 || shape->values - run->at < shape->inner ? shape->values : run->at + shape->inner;
    run->channel = run->channel + 1 < m->channels ? run->channel + 1 : run->channel < 0 ? -1 : 0;
}

#endif
