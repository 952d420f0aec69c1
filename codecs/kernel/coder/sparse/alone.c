/* The sparse form of a group: its decoder, of one group. */
#include "coder/sparse/sparse.h"

#include <string.h>

void ls_sparse_open(ls_sparse_reader *l, const ls_job *job, int8_t *out)
{
    const ls_group *g = &job->group;
    const uint8_t *p = g->payload;
    l->job = job;
    l->out = out + job->out_at;
    l->state = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    l->words = p + 4;
    l->words_end = l->escapes = p + g->payload_size - g->escapes;
    l->escapes_end = p + g->payload_size;
}

/* Which positions are taken, of one group. */
void ls_sparse_find(ls_sparse *s, ls_sparse_reader *l, const ls_coder *coder)
{
    const uint32_t precision = (uint32_t)coder->precision, all = 1u << precision;
    const uint16_t *empty = coder->empty + (size_t)l->job->group.model * LS_NEAR;
    uint32_t state = l->state;
    s->taken = 0;
    for (int y = 0; y < s->height; y++) {
        const size_t row = ls_sparse_row_start(s, y), position = (size_t)y * (size_t)s->width;
        uint32_t taken = 0, near = ls_sparse_row(s, s->is_taken + row);
        for (size_t x = 0; x < (size_t)s->width; x++) {
            near = ls_sparse_near(near, taken, s, s->is_taken + row + x);
            const uint32_t free_ = empty[near], slot = state & (all - 1), high = state >> precision;
            taken = slot >= free_;
            state = taken ? (all - free_) * high + slot - free_ : free_ * high + slot;
            s->is_taken[row + x] = (uint8_t)taken;
            s->place[s->taken] = (uint32_t)(row + x);
            s->position[s->taken] = (uint32_t)(position + x);
            s->taken += taken;
            /* the last symbols leave a small state, and there is no word any more */
            if (state < LS_STATE_LOW && l->words != l->words_end) {
                state = state << 16 | (uint32_t)l->words[0] | (uint32_t)l->words[1] << 8;
                l->words += 2;
            }
        }
    }
    l->state = state;
}

/* The symbols of a channel. Most values are 0, 1 or -1, and these are not looked for. */
static int decode_channel(const ls_sparse *of, ls_sparse_reader *l, const ls_coder *coder, int k)
{
    ls_sparse s = *of; /* a copy, of which the compiler knows that nothing else changes it */
    const uint32_t precision = (uint32_t)coder->precision, mask = (1u << precision) - 1;
    const ls_channel *c = coder->channel + (size_t)l->job->group.model * (size_t)coder->channels + k;
    const uint32_t *zero = coder->zero + (c - coder->channel) * 2 * LS_BUCKETS - LS_BUCKETS;
    int8_t *out = l->out + (size_t)k * (size_t)s.height * (size_t)s.width;
    const uint8_t *words = l->words, *const words_end = l->words_end;
    uint32_t state = l->state;
    for (size_t i = 0; i < s.taken; i++) {
        const uint32_t slot = state & mask, context = ls_sparse_context(&s, k, i), z = zero[context];
        uint32_t freq = z & 0xffff, beyond = slot - (z >> 16);
        int value = 0;
        if (beyond >= freq) {
            const uint32_t table = c->table[context >> 6][context & 63];
            uint32_t found = coder->guess[table * LS_GUESSES + (slot >> (precision - 8))];
            freq = found >> 12 & 0xfff, beyond = slot - (found & 0xfff);
            if (beyond >= freq) {
                found = ls_symbol(coder, table, coder->symbol[table << precision | slot]);
                freq = found >> 12 & 0xfff, beyond = slot - (found & 0xfff);
            }
            value = (int32_t)found >> 24;
            if (value == -128) {
                if (l->escapes == l->escapes_end)
                    return LS_CORRUPT;
                value = (int8_t)*l->escapes++;
            }
            out[s.position[i]] = (int8_t)value;
            if (value) {
                ls_sparse_tell_own(&s, c, k, i, ls_sparse_magnitude(value));
                if (k + 1 < s.channels)
                    ls_sparse_tell_later(&s, coder, c, k, s.place[i], ls_sparse_magnitude(value));
            }
        }
        state = freq * (state >> precision) + beyond;
        if (state < LS_STATE_LOW && words != words_end) {
            state = state << 16 | (uint32_t)words[0] | (uint32_t)words[1] << 8;
            words += 2;
        }
    }
    l->state = state;
    l->words = words;
    return LS_OK;
}

int ls_sparse_values(ls_sparse *s, ls_sparse_reader *l, const ls_coder *coder)
{
    int status = LS_OK;
    ls_sparse_begin(s, coder, l->job->group.model);
    for (int k = 0; !status && k < coder->channels; k++)
        status = decode_channel(s, l, coder, k);
    if (l->state || l->words != l->words_end || l->escapes != l->escapes_end)
        status = LS_CORRUPT;
    return status;
}
