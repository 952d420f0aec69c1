/* The sparse form of a group: its encoder, and its length. */
#include "coder/sparse/sparse.h"

#include <stdlib.h>
#include <string.h>

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
            const size_t i = (size_t)y * (size_t)s->width + (size_t)x, at = ls_sparse_row_start(s, y) + (size_t)x;
            if (any[i]) {
                s->is_taken[at] = 1;
                s->place[s->taken] = (uint32_t)at;
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
        const uint8_t *at = s->is_taken + ls_sparse_row_start(s, y);
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
            if (value) {
                ls_sparse_tell_own(s, c, k, i, ls_sparse_magnitude(value));
                ls_sparse_tell_later(s, coder, c, k, s->place[i], ls_sparse_magnitude(value));
            }
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

