/* Coding residuals in plain C: what no vector takes. */
#include "tensor/tensor.h"

#include <stdlib.h>

static int add_escape(tensor_escapes *e, int32_t high)
{
    if (e->count == e->room) {
        const size_t room = 2 * e->room + 64;
        int32_t *more = realloc(e->high, room * sizeof *more);
        if (!more)
            return LS_NO_MEMORY;
        e->high = more;
        e->room = room;
    }
    e->high[e->count++] = high;
    return LS_OK;
}

/* Writes the low word of a state, which counts only if it is needed: no branch can guess that. */
static inline void put_word(uint8_t *base, int32_t *at, uint32_t *x, int needed)
{
    uint8_t *to = base + *at - 2;
    to[0] = (uint8_t)*x;
    to[1] = (uint8_t)(*x >> 8);
    *at -= needed ? 2 : 0;
    *x = needed ? *x >> 16 : *x;
}

/* A decoder takes a word, where a lane needs one, after the high part and again after the low bits. */
static inline int code_one(const tensor_coder *coder, tensor_writers *w, int spiked, int sample, int k, int bucket,
                           int32_t residual)
{
    int shift = tensor_shift(bucket);
    const int32_t high = residual >> shift;
    const tensor_symbol *symbol = coder->symbols[spiked] + bucket * TENSOR_SYMBOLS;
    const uint32_t code = (uint32_t)high + TENSOR_CENTRE;
    if (spiked && residual == TENSOR_SPIKED && symbol[TENSOR_SPIKE].freq) {
        symbol += TENSOR_SPIKE;
        shift = 0;
    } else if (code - 1 < TENSOR_SYMBOLS - 1 && symbol[code].freq && !(spiked && code == TENSOR_SPIKE))
        symbol += code;
    else if (add_escape(w->escapes + sample, high))
        return LS_NO_MEMORY;
    uint32_t x = w->state[k];
    if (shift) {
        put_word(w->base, w->at + k, &x, x >> (32 - shift) != 0);
        x = x << shift | ((uint32_t)residual & ((1u << shift) - 1));
    }
    const uint32_t freq = symbol->freq;
    put_word(w->base, w->at + k, &x, x >> (32 - TENSOR_PRECISION) >= freq);
    uint32_t quotient = (uint32_t)((uint64_t)x * symbol->reciprocal >> 32), rest = x - quotient * freq;
    quotient += rest >= freq;
    rest -= rest >= freq ? freq : 0;
    w->state[k] = (quotient << TENSOR_PRECISION) + rest + symbol->start;
    return LS_OK;
}

int tensor_code_plain(const tensor_coder *coder, tensor_writers *w, int spiked, ptrdiff_t first, ptrdiff_t end,
                      ptrdiff_t count, const uint8_t *bucket, const int32_t *residual)
{
    for (int sample = 0; sample < w->samples; sample++, bucket += count, residual += count)
        for (ptrdiff_t i = end; i-- > first;) {
            const int k = sample * w->lanes + (int)(i & (w->lanes - 1));
            if (code_one(coder, w, spiked, sample, k, bucket[i], residual[i]))
                return LS_NO_MEMORY;
        }
    return LS_OK;
}
