/* The sparse form of a group: its decoder. */
#include "coder/sparse/sparse.h"

#include <stdlib.h>
#include <string.h>

#define FEWEST_TOGETHER 3 /* fewer are faster one by one */
#define SMALL (1 << 14)   /* positions of planes that are decoded together; larger ones fill the cache alone */

typedef struct {
    ls_sparse s;
    const ls_job *job;
    int8_t *out;
    uint32_t state;
    const uint8_t *words, *words_end, *escapes, *escapes_end;
} lane;

static void open_lane(lane *l, const ls_job *job, int8_t *out)
{
    const ls_group *g = &job->group;
    const uint8_t *p = g->payload;
    l->job = job;
    l->out = out + job->out_at;
    l->state = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    l->words = p + 4;
    l->words_end = l->escapes = p + g->payload_size - g->escapes;
    l->escapes_end = p + g->payload_size;
    l->s.taken = 0;
}

/* Which positions are taken, of one group. */
static void find_alone(lane *l, const ls_coder *coder)
{
    const uint32_t precision = (uint32_t)coder->precision, all = 1u << precision;
    const uint16_t *empty = coder->empty + (size_t)l->job->group.model * LS_NEAR;
    ls_sparse *s = &l->s;
    uint32_t state = l->state;
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
static int decode_channel(lane *l, const ls_coder *coder, int k)
{
    ls_sparse s = l->s; /* a copy, of which the compiler knows that nothing else changes it */
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

/* Which positions are taken, of up to 16 groups. */
static int find_taken(lane *lanes, const ls_coder *coder, int count, uint8_t *is_taken)
{
    const ls_sparse *s = &lanes->s;
    ls_taken t = {.height = s->height, .width = s->width, .row = s->row, .is_taken = is_taken};
    size_t size = 4;
    for (int i = 0; i < count; i++)
        size += (size_t)(lanes[i].words_end - lanes[i].words);
    uint8_t *bytes = calloc(size, 1), *to = bytes;
    if (!bytes)
        return LS_NO_MEMORY;
    t.bytes = bytes;
    for (int i = 0; i < count; i++) {
        const lane *l = lanes + i;
        const size_t words = (size_t)(l->words_end - l->words);
        memcpy(to, l->words, words);
        t.word[i] = (uint32_t)(to - bytes);
        t.word_end[i] = (uint32_t)(t.word[i] + words);
        to += words;
        t.state[i] = l->state;
        t.empty[i] = (uint32_t)l->job->group.model * LS_NEAR;
        t.place[i] = l->s.place;
        t.position[i] = l->s.position;
    }
    ls_current_path()->find_taken(coder, &t);
    for (int i = 0; i < count; i++) {
        lanes[i].state = t.state[i];
        lanes[i].words = lanes[i].words_end - (t.word_end[i] - t.word[i]);
        lanes[i].s.taken = t.count[i];
    }
    free(bytes);
    return LS_OK;
}

static int decode_lanes(lane *lanes, const ls_coder *coder, int count, uint8_t *is_taken, int *failed)
{
    if (is_taken && count >= FEWEST_TOGETHER) {
        if (find_taken(lanes, coder, count, is_taken))
            return LS_NO_MEMORY;
    } else {
        for (int at = 0; at < count; at++)
            find_alone(lanes + at, coder);
    }
    for (int i = 0; i < count; i++) {
        lane *l = lanes + i;
        int status = LS_OK;
        ls_sparse_begin(&l->s, coder, l->job->group.model);
        for (int k = 0; !status && k < coder->channels; k++)
            status = decode_channel(l, coder, k);
        if (status || l->state || l->words != l->words_end || l->escapes != l->escapes_end) {
            *failed = l->job->index;
            return LS_CORRUPT;
        }
    }
    return LS_OK;
}

int ls_decode_sparse(const ls_coder *coder, ls_job *jobs, int count, int height, int width, int8_t *out, int *failed)
{
    const int most = height * width <= SMALL ? LS_MAX_LANES : 1, used = count < most ? count : most;
    lane lanes[LS_MAX_LANES];
    int status = LS_OK, made = 0;
    for (; !status && made < used; made++)
        status = ls_sparse_make(&lanes[made].s, height, width, coder->channels);
    uint8_t *is_taken = used > 1 && !status ? calloc(lanes->s.places * LS_MAX_LANES, 1) : NULL;
    if (used > 1 && !is_taken)
        status = LS_NO_MEMORY;
    for (int at = 0; !status && at < count;) {
        int n = 0;
        for (; n < used && at < count; n++, at++) {
            open_lane(lanes + n, jobs + at, out);
            memset(lanes[n].out, 0, (size_t)coder->channels * (size_t)height * (size_t)width);
        }
        status = decode_lanes(lanes, coder, n, is_taken, failed);
    }
    while (made)
        ls_sparse_free(&lanes[--made].s);
    free(is_taken);
    return status;
}
