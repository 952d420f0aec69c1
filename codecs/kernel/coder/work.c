#include "coder/work.h"

#include <stdlib.h>
#include <string.h>

int ls_work_make(ls_work *w, const ls_coder *coder, const ls_geometry *g)
{
    const size_t n = (size_t)g->size, pad = (size_t)g->pad, padded = n + 2 * pad, block = (n + 191) / 64 * 64;
    const size_t row = (size_t)g->period * LS_MAX_LANES * sizeof *w->sums;
    const int kept = coder->kept;
    memset(w, 0, sizeof *w);
    w->g = g;
    w->adaptive = coder->adaptive;
    w->memory = calloc(1, 3 * padded + (size_t)(kept + 1) * padded + (size_t)coder->channels * 2 * block + 6 * block + row + 64);
    if (!w->memory)
        return LS_NO_MEMORY;
    uint8_t *at = w->memory;
    w->prediction = (int32_t *)at;
    at += 4 * block;
    w->sums = (uint32_t *)at;
    at += row;
    w->context = (uint16_t *)at;
    at += 2 * block;
    for (int k = 0; k < coder->channels; k++, at += 2 * block)
        w->pairs[k] = at;
    w->scratch = at;
    at += 2 * padded;
    w->residual = (int8_t *)(at + pad);
    at += padded;
    for (int k = 0; k <= kept; k++, at += padded)
        w->value[k] = (int8_t *)(at + pad);
    for (int k = kept; k <= LS_MAX_GROUP; k++)
        w->value[k] = w->value[kept];
    return LS_OK;
}

void ls_work_free(ls_work *w)
{
    free(w->memory);
    w->memory = NULL;
}

void ls_earlier(ls_work *w, const ls_path *path, const ls_channel *const channel[LS_MAX_LANES], int k)
{
    int predicted = 0;
    for (int lane = 0; lane < LS_MAX_LANES; lane++) {
        const ls_channel *c = channel[lane];
        predicted |= c->predicted;
        for (int p = 0; p < k; p++)
            w->weights[p][lane] = (uint16_t)(c->cross[p][0] | c->cross[p][1] << 8);
    }
    path->cross(w->g, k, w->used, (const uint16_t(*)[LS_MAX_LANES])w->weights, w->context);
    if (!predicted)
        return;
    for (int lane = 0; lane < LS_MAX_LANES; lane++)
        for (int p = 0; p < k; p++)
            for (int j = 0; j < 9; j++)
                w->signed_weights[p][j][lane] = channel[lane]->predicted ? channel[lane]->signed_cross[p][j] : 0;
    memset(w->prediction, 0, (size_t)w->g->size * 4);
    path->signed_cross(w->g, k, (const int8_t *const *)w->value, (const int32_t(*)[9][LS_MAX_LANES])w->signed_weights,
                       (int8_t *)w->scratch, w->prediction);
}

void ls_finish_plane(ls_work *w, const ls_path *path, int k)
{
    const int any = w->adaptive ? path->row_magnitudes(w->g, w->residual, w->pairs[k])
                                : path->magnitudes(w->g, w->residual, w->scratch, w->pairs[k]);
    w->used[k] = any ? w->pairs[k] : NULL;
}

/* One of LS_MAX_GROUP, at whose place a plane of zeros lies (nothing is written there), stands for none. */
static int source_of(const ls_channel *c, int which, int k)
{
    return c->source[which] < k ? c->source[which] : LS_MAX_GROUP;
}

void ls_sources(ls_work *w, const ls_channel *const channel[LS_MAX_LANES], int k, const int8_t *source[LS_SOURCES])
{
    const ptrdiff_t n = w->g->size, pad = w->g->pad;
    for (int which = 0; which < LS_SOURCES; which++) {
        const int first = source_of(channel[0], which, k);
        int8_t *merged = (int8_t *)w->scratch + pad + which * (n + 2 * pad);
        uint64_t done = 0;
        source[which] = w->value[first];
        for (int lane = 0; lane < LS_MAX_LANES; lane++)
            if (source_of(channel[lane], which, k) != first)
                source[which] = merged;
        if (source[which] != merged)
            continue;
        memset(merged - pad, 0, (size_t)(n + 2 * pad));
        for (int lane = 0; lane < LS_MAX_LANES; lane++) {
            const int p = source_of(channel[lane], which, k);
            const int8_t *restrict from = w->value[p];
            int8_t mask[LS_MAX_LANES];
            if (p == LS_MAX_GROUP || done >> p & 1)
                continue;
            done |= (uint64_t)1 << p;
            for (int i = 0; i < LS_MAX_LANES; i++)
                mask[i] = source_of(channel[i], which, k) == p ? -1 : 0;
            for (ptrdiff_t at = 0; at < n; at += LS_MAX_LANES)
                for (int i = 0; i < LS_MAX_LANES; i++)
                    merged[at + i] |= from[at + i] & mask[i];
        }
    }
}
