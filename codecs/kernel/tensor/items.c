/* Which tensors of a call are coded side by side. */
#include "tensor/tensor.h"

#include <stdlib.h>

static int by_shape(const void *a, const void *b)
{
    const tensor_item *x = *(tensor_item *const *)a, *y = *(tensor_item *const *)b;
    const int64_t left[4] = {x->shape.frames, x->shape.height, x->shape.width, x->shape.inner};
    const int64_t right[4] = {y->shape.frames, y->shape.height, y->shape.width, y->shape.inner};
    for (int i = 0; i < 4; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

int tensor_is_alike(const tensor_shape *a, const tensor_shape *b)
{
    return a->frames == b->frames && a->height == b->height && a->width == b->width && a->inner == b->inner;
}

void tensor_sort(tensor_item **items, int count)
{
    qsort(items, (size_t)count, sizeof *items, by_shape);
}

int tensor_together(tensor_item *const *items, int count, int channels)
{
    const tensor_shape *s = &items[0]->shape;
    const int most = LS_MAX_LANES / tensor_lanes(s->frames * s->height * s->width * channels);
    int together = 1;
    while (together < most && together < count && tensor_is_alike(s, &items[together]->shape))
        together++;
    return together;
}
