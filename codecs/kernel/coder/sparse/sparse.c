/* The sparse form of a group: its memory. */
#include "coder/sparse/sparse.h"

#include <stdlib.h>
#include <string.h>

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
    s->index = calloc(s->places, sizeof *s->index);
    s->place = malloc((area + 1) * 2 * sizeof *s->place);
    s->seen = malloc(area);
    s->context = calloc((area + LS_SPARSE_ASIDE) * (size_t)s->stride, sizeof *s->context);
    if (!s->is_taken || !s->index || !s->place || !s->seen || !s->context)
        return LS_NO_MEMORY;
    s->position = s->place + area + 1;
    return LS_OK;
}

void ls_sparse_free(ls_sparse *s)
{
    free(s->is_taken);
    free(s->index);
    free(s->place);
    free(s->seen);
    free(s->context);
    memset(s, 0, sizeof *s);
}

void ls_sparse_begin(ls_sparse *s, const ls_coder *coder, int model)
{
    const ls_channel *c = coder->channel + (size_t)model * (size_t)s->channels;
    uint16_t bias[LS_MAX_GROUP] = {0}, *row = s->context + LS_SPARSE_ASIDE * s->stride;
    for (int k = 0; k < s->channels; k++)
        bias[k] = (uint16_t)(c[k].bias < 4 ? 4 : c[k].bias);
    memset(s->seen, 0, s->taken);
    memset(s->index, 0, s->places * sizeof *s->index);
    for (size_t i = 0; i < s->taken; i++, row += s->stride) {
        s->index[s->place[i]] = (uint32_t)(LS_SPARSE_ASIDE + i);
        for (int k = 0; k < s->stride; k += 8)
            ls_eight_store(row + k, ls_eight_load(bias + k));
    }
}
