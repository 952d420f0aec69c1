#include "coder_work.h"

#include <stdlib.h>
#include <string.h>

int ls_work_make(ls_work *w, const ls_coder *coder, const ls_geometry *g)
{
    const size_t n = (size_t)g->size, pad = (size_t)g->pad, padded = n + 2 * pad, block = (n + 191) / 64 * 64;
    const int kept = coder->kept;
    memset(w, 0, sizeof *w);
    w->g = g;
    w->memory = calloc(1, 3 * padded + (size_t)(kept + 1) * padded + (size_t)coder->channels * 2 * block + 6 * block + 64);
    if (!w->memory)
        return LS_NO_MEMORY;
    uint8_t *at = w->memory;
    w->prediction = (int32_t *)at;
    at += 4 * block;
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
    for (int k = kept; k < coder->channels; k++)
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
    w->used[k] = path->magnitudes(w->g, w->residual, w->scratch, w->pairs[k]) ? w->pairs[k] : NULL;
}
