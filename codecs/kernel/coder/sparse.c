/* The sparse form of a group: its memory, its encoder and its decoder. */
#include "coder/sparse.h"

#include <stdlib.h>
#include <string.h>

#define SIDE_BY_SIDE 4
#define SMALL (1 << 16) /* positions of planes that are decoded side by side; larger ones fill the cache alone */

int ls_sparse_make(ls_sparse *s, int height, int width, int channels)
{
    const size_t area = (size_t)height * (size_t)width;
    memset(s, 0, sizeof *s);
    s->height = height;
    s->width = width;
    s->channels = channels;
    s->stride = (channels + 7) / 8 * 8;
    s->row = width + 3;
    s->places = (size_t)s->row * ((size_t)height + 3) + 3;
    s->is_taken = calloc(s->places, 1);
    s->place = malloc((area + 1) * 2 * sizeof *s->place);
    s->seen = malloc(area);
    s->context = malloc(s->places * (size_t)s->stride * sizeof *s->context);
    if (!s->is_taken || !s->place || !s->seen || !s->context)
        return LS_NO_MEMORY;
    s->position = s->place + area + 1;
    return LS_OK;
}

void ls_sparse_free(ls_sparse *s)
{
    free(s->is_taken);
    free(s->place);
    free(s->seen);
    free(s->context);
    memset(s, 0, sizeof *s);
}

void ls_sparse_begin(ls_sparse *s, const ls_coder *coder, int model)
{
    const ls_channel *c = coder->channel + (size_t)model * (size_t)s->channels;
    const size_t n = (size_t)s->stride;
    uint16_t bias[LS_MAX_GROUP] = {0};
    for (int k = 0; k < s->channels; k++)
        bias[k] = (uint16_t)(c[k].bias < 4 ? 4 : c[k].bias);
    memset(s->seen, 0, s->taken);
    memcpy(s->context, bias, n * sizeof *bias);
    for (size_t done = 1; done < s->places;) { /* a few large copies */
        const size_t left = s->places - done, next = left < done ? left : done;
        memcpy(s->context + done * n, s->context, next * n * sizeof *bias);
        done += next;
    }
}

static size_t row_start(const ls_sparse *s, int y)
{
    return (size_t)(y + 2) * (size_t)s->row;
}

/* encoding */

static int take_positions(ls_sparse *s, const ls_coder *coder, int model, const int8_t *latent)
{
    const size_t area = (size_t)s->height * (size_t)s->width;
    uint8_t *any = calloc(area, 1);
    if (!any)
        return LS_NO_MEMORY;
    for (int k = 0; k < s->channels; k++)
        for (size_t i = 0; i < area; i++)
            any[i] |= (uint8_t)latent[(size_t)k * area + i];
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            const size_t i = (size_t)y * (size_t)s->width + (size_t)x, at = row_start(s, y) + (size_t)x;
            if (any[i]) {
                s->is_taken[at] = 1;
                s->place[s->taken] = (uint32_t)at * (uint32_t)s->stride;
                s->position[s->taken++] = (uint32_t)i;
            }
        }
    free(any);
    ls_sparse_begin(s, coder, model);
    return LS_OK;
}

int ls_sparse_better(const ls_coder *coder, int model, int height, int width, const int8_t *latent)
{
    const size_t area = (size_t)height * (size_t)width;
    size_t taken = 0;
    if (coder->adaptive || !coder->plain[model])
        return 0;
    for (size_t i = 0; i < area; i++) {
        int any = 0;
        for (int k = 0; k < coder->channels; k++)
            any |= latent[(size_t)k * area + i];
        taken += any != 0;
    }
    return 3 * taken < area;
}

/* What the states are told, in the order of decoding: freq | start << 16. */
typedef struct {
    uint32_t *event;
    size_t events, escapes;
    uint8_t *escape;
} spelling;

static void spell_positions(const ls_sparse *s, const ls_coder *coder, int model, spelling *to)
{
    const uint16_t *empty = coder->empty + (size_t)model * LS_NEAR;
    const uint32_t all = 1u << coder->precision;
    for (int y = 0; y < s->height; y++) {
        const uint8_t *at = s->is_taken + row_start(s, y);
        uint32_t near = ls_sparse_row(s, at), taken = 0;
        for (int x = 0; x < s->width; x++, at++) {
            near = ls_sparse_near(near, taken, s, at);
            taken = *at;
            to->event[to->events++] = taken ? (all - empty[near]) | (uint32_t)empty[near] << 16 : empty[near];
        }
    }
}

/* codes: (channels, height, width), 0xffff where no symbol stands, (level * 64 + bucket) * 64 + symbol elsewhere */
static void spell_values(ls_sparse *s, const ls_coder *coder, int model, const int8_t *latent, spelling *to,
                         uint16_t *codes)
{
    const size_t area = (size_t)s->height * (size_t)s->width;
    for (int k = 0; k < s->channels; k++) {
        const ls_channel *c = coder->channel + (size_t)model * (size_t)s->channels + k;
        for (size_t i = 0; i < s->taken; i++) {
            const int value = latent[(size_t)k * area + s->position[i]];
            const uint32_t context = ls_sparse_context(s, k, i);
            const unsigned r = (unsigned)(value + LS_RADIUS);
            uint32_t symbol = r > 2 * LS_RADIUS ? LS_ESCAPE : r;
            if (codes)
                codes[(size_t)k * area + s->position[i]] = (uint16_t)(context << 6 | symbol);
            if (to) {
                const uint32_t table = (uint32_t)c->table[context >> 6][context & 63] << 6;
                if (!coder->freq[table | symbol])
                    symbol = LS_ESCAPE;
                if (symbol == LS_ESCAPE)
                    to->escape[to->escapes++] = (uint8_t)value;
                to->event[to->events++] = coder->freq_start[table | symbol];
            }
            if (value)
                ls_sparse_value(s, coder, c, k, i, value);
        }
    }
}

static int make_taken(ls_sparse *s, const ls_coder *coder, int model, int height, int width, const int8_t *latent)
{
    const int status = ls_sparse_make(s, height, width, coder->channels);
    return status ? status : take_positions(s, coder, model, latent);
}

/* state, words, escapes; `to` has the events of all of them */
static int write_payload(const ls_coder *coder, const spelling *from, uint8_t **payload, size_t *payload_size)
{
    const size_t most = 4 + 2 * from->events;
    uint8_t *words = malloc(most), *end = words + most;
    uint32_t state = 0;
    if (!words)
        return LS_NO_MEMORY;
    for (size_t i = from->events; i-- > 0;) {
        const uint32_t freq = from->event[i] & 0xffff, start = from->event[i] >> 16;
        if (state >> (32 - coder->precision) >= freq) {
            *--end = (uint8_t)(state >> 8);
            *--end = (uint8_t)state;
            state >>= 16;
        }
        state = (state / freq << coder->precision) + state % freq + start;
    }
    for (int b = 3; b >= 0; b--)
        *--end = (uint8_t)(state >> (8 * b));
    const size_t head = (size_t)(words + most - end);
    if (!(*payload = malloc(head + from->escapes))) {
        free(words);
        return LS_NO_MEMORY;
    }
    memcpy(*payload, end, head);
    memcpy(*payload + head, from->escape, from->escapes);
    *payload_size = head + from->escapes;
    free(words);
    return LS_OK;
}

int ls_encode_sparse(const ls_coder *coder, ls_group *group, const int8_t *latent, uint8_t **payload)
{
    ls_sparse s;
    spelling to = {0};
    int status = make_taken(&s, coder, group->model, group->height, group->width, latent);
    *payload = NULL;
    group->payload_size = group->escapes = 0;
    group->sparse = s.taken > 0;
    if (!status && s.taken) {
        const size_t symbols = s.taken * (size_t)s.channels;
        to.event = malloc((symbols + (size_t)s.height * (size_t)s.width) * sizeof *to.event);
        to.escape = malloc(symbols);
        status = LS_NO_MEMORY;
        if (to.event && to.escape) {
            spell_positions(&s, coder, group->model, &to);
            spell_values(&s, coder, group->model, latent, &to, NULL);
            status = write_payload(coder, &to, payload, &group->payload_size);
            group->escapes = to.escapes;
        }
    }
    free(to.event);
    free(to.escape);
    ls_sparse_free(&s);
    return status;
}

int ls_sparse_codes(const ls_coder *coder, int model, int height, int width, const int8_t *latent, uint16_t *codes)
{
    ls_sparse s;
    const int status = make_taken(&s, coder, model, height, width, latent);
    memset(codes, 255, (size_t)height * (size_t)width * (size_t)coder->channels * sizeof *codes);
    if (!status)
        spell_values(&s, coder, model, latent, NULL, codes);
    ls_sparse_free(&s);
    return status;
}

/* In 1/256 bit, each event by itself, as everywhere (ls_coder_tables). */
int ls_sparse_cost(const ls_coder *coder, int model, int height, int width, const int8_t *latent, double *bits)
{
    ls_sparse s;
    uint64_t total = 0;
    int status = make_taken(&s, coder, model, height, width, latent);
    uint16_t *codes = malloc((size_t)height * (size_t)width * (size_t)coder->channels * sizeof *codes);
    uint32_t *event = malloc((size_t)height * (size_t)width * sizeof *event);
    spelling to = {.event = event};
    if (!codes || !event)
        status = LS_NO_MEMORY;
    if (!status) {
        spell_positions(&s, coder, model, &to);
        for (size_t i = 0; i < to.events; i++)
            total += ls_event_cost(coder->precision, event[i] & 0xffff);
        spell_values(&s, coder, model, latent, NULL, codes);
        for (int k = 0; k < s.channels; k++) {
            const ls_channel *c = coder->channel + (size_t)model * (size_t)s.channels + k;
            for (size_t i = 0; i < s.taken; i++) {
                const uint32_t code = codes[(size_t)k * (size_t)height * (size_t)width + s.position[i]];
                total += coder->cost[(uint32_t)c->table[code >> 12][code >> 6 & 63] << 6 | (code & 63)];
            }
        }
    }
    *bits = (double)total / 256;
    free(codes);
    free(event);
    ls_sparse_free(&s);
    return status;
}

/* decoding */

typedef struct {
    ls_sparse s;
    const ls_job *job;
    const ls_channel *channel; /* that of symbol `at` */
    const uint32_t *zero;      /* coder->zero of that channel */
    const uint16_t *empty;
    int8_t *out;
    uint32_t state;
    const uint8_t *words, *words_end, *escapes, *escapes_end;
    int k;
    size_t at; /* the next symbol is of channel k at taken position `at` */
} lane;

static void open_lane(lane *l, const ls_coder *coder, const ls_job *job, int8_t *out)
{
    const ls_group *g = &job->group;
    const uint8_t *p = g->payload;
    const size_t area = (size_t)g->height * (size_t)g->width;
    l->job = job;
    l->channel = coder->channel + (size_t)g->model * (size_t)coder->channels;
    l->zero = coder->zero + (l->channel - coder->channel) * 2 * LS_BUCKETS;
    l->empty = coder->empty + (size_t)g->model * LS_NEAR;
    l->out = out + job->out_at;
    l->state = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    l->words = p + 4;
    l->words_end = l->escapes = p + g->payload_size - g->escapes;
    l->escapes_end = p + g->payload_size;
    l->k = 0;
    l->at = 0;
    l->s.taken = 0;
    memset(l->out, 0, area * (size_t)coder->channels);
}

/* The last symbols leave a small state, and there is no word any more. */
static inline __attribute__((always_inline)) uint32_t refilled(uint32_t state, lane *l)
{
    if (state < LS_STATE_LOW && l->words != l->words_end) {
        state = state << 16 | (uint32_t)l->words[0] | (uint32_t)l->words[1] << 8;
        l->words += 2;
    }
    return state;
}

/* Which positions are taken, of `count` groups side by side: each waits long for its state. */
static inline __attribute__((always_inline)) void decode_positions(lane *lanes, const ls_coder *coder, const int count)
{
    const uint32_t precision = (uint32_t)coder->precision, all = 1u << precision;
    const int height = lanes[0].s.height, width = lanes[0].s.width;
    uint32_t state[SIDE_BY_SIDE], near[SIDE_BY_SIDE];
    for (int i = 0; i < count; i++)
        state[i] = lanes[i].state;
    for (int y = 0; y < height; y++) {
        const size_t row = row_start(&lanes[0].s, y), position = (size_t)y * (size_t)width;
        uint32_t taken[SIDE_BY_SIDE] = {0};
        for (int i = 0; i < count; i++)
            near[i] = ls_sparse_row(&lanes[i].s, lanes[i].s.is_taken + row);
        for (size_t x = 0; x < (size_t)width; x++)
            for (int i = 0; i < count; i++) {
                lane *l = lanes + i;
                ls_sparse *s = &l->s;
                near[i] = ls_sparse_near(near[i], taken[i], s, s->is_taken + row + x);
                const uint32_t free_ = l->empty[near[i]], slot = state[i] & (all - 1), high = state[i] >> precision;
                taken[i] = slot >= free_;
                state[i] = taken[i] ? (all - free_) * high + slot - free_ : free_ * high + slot;
                s->is_taken[row + x] = (uint8_t)taken[i];
                s->place[s->taken] = (uint32_t)(row + x) * (uint32_t)s->stride;
                s->position[s->taken] = (uint32_t)(position + x);
                s->taken += taken[i];
                state[i] = refilled(state[i], l);
            }
    }
    for (int i = 0; i < count; i++)
        lanes[i].state = state[i];
}

static inline __attribute__((always_inline)) int decode_value(lane *l, const ls_coder *coder)
{
    const uint32_t precision = (uint32_t)coder->precision, state = l->state, slot = state & ((1u << precision) - 1);
    const ls_channel *c = l->channel;
    const uint32_t context = ls_sparse_context(&l->s, l->k, l->at), zero = l->zero[context - LS_BUCKETS];
    uint32_t freq = zero & 0xffff, beyond = slot - (zero >> 16);
    int value = 0;
    /* most values are 0, 1 or -1, and those need not wait for `slots`, which fills a cache */
    if (beyond >= freq) {
        const uint32_t table = c->table[context >> 6][context & 63], *near = coder->freq_start + (table << 6 | LS_RADIUS);
        const uint32_t above = slot - (near[1] >> 16), below = slot - (near[-1] >> 16);
        if (above < (near[1] & 0xffff)) {
            value = 1, freq = near[1] & 0xffff, beyond = above;
        } else if (below < (near[-1] & 0xffff)) {
            value = -1, freq = near[-1] & 0xffff, beyond = below;
        } else {
            const uint32_t entry = coder->slots[table << precision | slot];
            value = (int32_t)entry >> 24, freq = entry >> 12 & 0xfff, beyond = entry & 0xfff;
        }
    }
    l->state = refilled(freq * (state >> precision) + beyond, l);
    if (value) {
        if (value == -128) {
            if (l->escapes == l->escapes_end)
                return LS_CORRUPT;
            value = (int8_t)*l->escapes++;
        }
        l->out[l->s.position[l->at]] = (int8_t)value;
        if (value)
            ls_sparse_value(&l->s, coder, c, l->k, l->at, value);
    }
    if (++l->at == l->s.taken) {
        l->at = 0;
        l->k++;
        l->channel++;
        l->zero += 2 * LS_BUCKETS;
        l->out += (size_t)l->s.height * (size_t)l->s.width;
    }
    return LS_OK;
}

/* `steps` symbols of each of `count` lanes, which have as many */
static inline __attribute__((always_inline)) int decode_run(lane *const *lanes, const ls_coder *coder, size_t steps,
                                                            const int count, int *failed)
{
    for (; steps; steps--)
        for (int i = 0; i < count; i++) {
            const int status = decode_value(lanes[i], coder);
            if (status) {
                *failed = lanes[i]->job->index;
                return status;
            }
        }
    return LS_OK;
}

static size_t still_to_come(const lane *l)
{
    return l->s.taken * (size_t)(l->s.channels - l->k) - l->at;
}

static int decode_side_by_side(lane *lanes, const ls_coder *coder, int count, int *failed)
{
    int status = LS_OK;
    if (count == SIDE_BY_SIDE)
        decode_positions(lanes, coder, SIDE_BY_SIDE);
    for (int i = 0; count < SIDE_BY_SIDE && i < count; i++)
        decode_positions(lanes + i, coder, 1);
    for (int i = 0; i < count; i++)
        ls_sparse_begin(&lanes[i].s, coder, lanes[i].job->group.model);
    while (!status) {
        lane *live[SIDE_BY_SIDE];
        size_t steps = 0;
        int n = 0;
        for (int i = 0; i < count; i++) {
            const size_t left = still_to_come(lanes + i);
            if (left && (!n || left < steps))
                steps = left;
            if (left)
                live[n++] = lanes + i;
        }
        if (!n)
            break;
        status = n == SIDE_BY_SIDE ? decode_run(live, coder, steps, SIDE_BY_SIDE, failed)
                                   : decode_run(live, coder, steps, n, failed);
    }
    for (int i = 0; !status && i < count; i++) {
        const lane *l = lanes + i;
        if (l->state || l->words != l->words_end || l->escapes != l->escapes_end) {
            *failed = l->job->index;
            return LS_CORRUPT;
        }
    }
    return status;
}

static int by_size(const void *a, const void *b)
{
    const ls_job *x = a, *y = b;
    if (x->group.payload_size != y->group.payload_size)
        return x->group.payload_size < y->group.payload_size ? -1 : 1;
    return x->index - y->index;
}

int ls_decode_sparse(const ls_coder *coder, ls_job *jobs, int count, int height, int width, int8_t *out, int *failed)
{
    const int most = height * width <= SMALL ? SIDE_BY_SIDE : 1, lanes_used = count < most ? count : most;
    lane lanes[SIDE_BY_SIDE];
    int status = LS_OK, made = 0;
    qsort(jobs, (size_t)count, sizeof *jobs, by_size); /* those side by side take about as long */
    for (; !status && made < lanes_used; made++)
        status = ls_sparse_make(&lanes[made].s, height, width, coder->channels);
    for (int at = 0; !status && at < count;) {
        int n = 0;
        while (n < most && at < count)
            open_lane(lanes + n++, coder, jobs + at++, out);
        status = decode_side_by_side(lanes, coder, n, failed);
    }
    while (made)
        ls_sparse_free(&lanes[--made].s);
    return status;
}
