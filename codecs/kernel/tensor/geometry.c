#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

static const int row_of[TENSOR_PHASES] = {0, 1, 1, 0}, column_of[TENSOR_PHASES] = {0, 1, 0, 1};
static const int phase_of[2][2] = {{0, 3}, {2, 1}};

int tensor_lanes(int64_t values)
{
    int lanes = 1;
    while (lanes < LS_MAX_LANES && values >= (int64_t)lanes * 2 * TENSOR_VALUES_PER_LANE)
        lanes *= 2;
    return lanes;
}

int tensor_geometry_make(tensor_geometry *g, const tensor_shape *shape, int channels, int samples)
{
    const int64_t limit = (int64_t)1 << 40;
    const tensor_shape s = *shape;
    memset(g, 0, sizeof *g);
    if (s.frames < 0 || s.height < 0 || s.width < 0 || s.inner < 1 || s.frames > limit || s.height > limit ||
        s.width > limit)
        return LS_BAD_ARGUMENT;
    if (s.height && s.width && (s.frames > limit / s.height || s.frames * s.height > limit / s.width ||
                                s.frames * s.height * s.width > limit / channels))
        return LS_BAD_ARGUMENT;
    g->shape = s;
    g->h = (s.height + 1) / 2;
    g->w = (s.width + 1) / 2;
    g->grid = s.frames * g->h * g->w;
    g->samples = samples;
    g->size = g->grid * samples;
    g->lanes = tensor_lanes(s.frames * s.height * s.width * channels);
    g->guard = (g->w + 1 + 31) / 16 * 16;
    g->stride = (g->size + 15) / 16 * 16 + 2 * g->guard;
    for (int f = 0; f < TENSOR_PHASES; f++) {
        g->phase[f].rows = (s.height + 1 - row_of[f]) / 2;
        g->phase[f].columns = (s.width + 1 - column_of[f]) / 2;
        g->phase[f].count = s.frames * g->phase[f].rows * g->phase[f].columns;
        g->order[f] = g->phase[f].count ? g->phases++ : -1;
    }
    return LS_OK;
}

/* Whether each position of the grid has a neighbour there. */
static void fill_mask(const tensor_geometry *g, int oy, int ox, int16_t *mask)
{
    const int64_t rows = g->shape.frames * g->samples * g->h;
    for (int64_t y = 0; y < rows; y++) {
        const int64_t inside = y % g->h + oy;
        const int16_t value = inside >= 0 && inside < g->h ? -1 : 0;
        int16_t *row = mask + y * g->w;
        for (int64_t x = 0; x < g->w; x++)
            row[x] = value;
        if (ox < 0)
            row[0] = 0;
        if (ox > 0)
            row[g->w - 1] = 0;
    }
}

/* The neighbour (dy, dx) of a phase. */
static tensor_neighbour neighbour(const tensor_work *work, int phase, int dy, int dx)
{
    const tensor_geometry *g = &work->g;
    const int y = row_of[phase] + dy, x = column_of[phase] + dx;
    const int oy = y < 0 ? -1 : y >> 1, ox = x < 0 ? -1 : x >> 1;
    const int order = g->order[phase_of[y & 1][x & 1]];
    if (order < 0 || (oy && g->h == 1) || (ox && g->w == 1))
        return (tensor_neighbour){0, NULL, -1};
    return (tensor_neighbour){g->guard + oy * g->w + ox, oy || ox ? work->mask[oy + 1][ox + 1] : NULL, order};
}

/* Adds neighbours at distance 0 (themselves), 1 (beside) or 2 (diagonal) to sum `j`: those that are inside first. */
static void add_ring(tensor_activity *a, int j, const tensor_work *work, const int16_t *planes, int phase, int distance)
{
    int count = j ? a->end[j - 1] : 0;
    for (int masked = 0; masked < 2 && planes; masked++) {
        for (int place = 0; place < 9; place++) {
            const tensor_neighbour *n = &work->near[phase][place / 3][place % 3];
            if (abs(place / 3 - 1) + abs(place % 3 - 1) == distance && n->order >= 0 && !n->mask == !masked)
                a->source[count++] = (tensor_source){planes + n->order * work->g.stride + n->offset, n->mask};
        }
        if (!masked)
            a->inside[j] = count;
    }
    if (!planes)
        a->inside[j] = count;
    a->end[j] = count;
}

/* What is the same in all channels but the first. */
static void make_sums(tensor_activity *a, const tensor_work *work, int channel, int phase)
{
    const int16_t *activity = channel ? work->activity : NULL;
    add_ring(a, 0, work, phase >= 2 ? work->magnitude : NULL, phase, 1);
    add_ring(a, 1, work, phase & 1 ? work->magnitude : NULL, phase, 2);
    for (int ring = 0; ring <= 2; ring++)
        add_ring(a, 2 + ring, work, activity, phase, ring);
}

int tensor_work_make(tensor_work *work, const tensor_geometry *g, int channels)
{
    const size_t size = (size_t)tensor_value_plane(g), stride = (size_t)g->stride;
    const size_t planes = (size_t)channels * (size_t)g->phases, near = (size_t)g->phases;
    memset(work, 0, sizeof *work);
    work->g = *g;
    work->channels = channels;
    const size_t narrow = (planes + 2 * near) * stride + 9 * size + size;
    const size_t wide = (near + 2) * size;
    /* zeros: outside the planes, and where an odd side leaves a phase without a row or a column */
    uint8_t *memory = calloc(1, narrow * 2 + wide * 4 + 2 * size + 64);
    if (!memory)
        return LS_NO_MEMORY;
    work->memory = memory;
    int32_t *at32 = (int32_t *)memory;
    work->value = at32;
    work->residual = at32 + near * size;
    work->dense_residual = work->residual + size;
    int16_t *at = (int16_t *)(at32 + wide);
    work->planes = at;
    at += planes * stride;
    work->magnitude = at;
    at += near * stride;
    work->activity = at;
    at += near * stride;
    for (int y = -1; y <= 1; y++)
        for (int x = -1; x <= 1; x++, at += size) {
            work->mask[y + 1][x + 1] = at;
            fill_mask(g, y, x, at);
        }
    work->prediction = at;
    at += size;
    work->bucket = (uint8_t *)at;
    work->dense_bucket = work->bucket + size;
    for (int phase = 0; phase < TENSOR_PHASES; phase++) {
        for (int place = 0; place < 9; place++)
            work->near[phase][place / 3][place % 3] = neighbour(work, phase, place / 3 - 1, place % 3 - 1);
        make_sums(&work->sums[0][phase], work, 0, phase);
        make_sums(&work->sums[1][phase], work, 1, phase);
    }
    return LS_OK;
}

void tensor_work_renew(tensor_work *work)
{
    memset(work->activity, 0, (size_t)(work->g.phases * work->g.stride) * sizeof *work->activity);
}

void tensor_spread(const tensor_geometry *g, int phase, const int32_t *dense, int32_t *grid)
{
    const tensor_phase *p = g->phase + phase;
    for (int64_t z = 0; z < g->shape.frames * g->samples; z++)
        for (int64_t y = 0; y < g->h; y++) {
            int32_t *to = grid + (z * g->h + y) * g->w;
            const int64_t columns = y < p->rows ? p->columns : 0;
            memcpy(to, dense + (z * p->rows + y) * p->columns, (size_t)columns * 4);
            memset(to + columns, 0, (size_t)(g->w - columns) * 4);
        }
}

void tensor_clear_beyond(const tensor_work *work, int phase)
{
    const tensor_geometry *g = &work->g;
    const tensor_phase *p = g->phase + phase;
    for (int64_t y = 0; y < g->shape.frames * g->samples * g->h; y++) {
        const int64_t columns = y % g->h < p->rows ? p->columns : 0;
        memset(work->prediction + y * g->w + columns, 0, (size_t)(g->w - columns) * sizeof *work->prediction);
    }
}

void tensor_gather(const tensor_geometry *g, int phase, const void *grid, size_t width, void *dense)
{
    const tensor_phase *p = g->phase + phase;
    for (int64_t z = 0; z < g->shape.frames * g->samples; z++)
        for (int64_t y = 0; y < p->rows; y++)
            memcpy((uint8_t *)dense + (size_t)((z * p->rows + y) * p->columns) * width,
                   (const uint8_t *)grid + (size_t)((z * g->h + y) * g->w) * width, (size_t)p->columns * width);
}

void tensor_work_free(tensor_work *work)
{
    free(work->memory);
    work->memory = NULL;
}

int16_t *tensor_plane(const tensor_work *work, int channel, int phase)
{
    const ptrdiff_t number = (ptrdiff_t)channel * work->g.phases + work->g.order[phase];
    return work->planes + number * work->g.stride + work->g.guard;
}

int16_t *tensor_near(const tensor_work *work, int16_t *planes, int phase)
{
    return planes + work->g.order[phase] * work->g.stride + work->g.guard;
}

void tensor_run_make(tensor_run *run, const tensor_work *work, const tensor_coder *coder, int channel, int phase)
{
    const int model = channel * TENSOR_PHASES + phase;
    int masks = 0, insides = 0;
    for (uint32_t i = coder->first[model]; i < coder->first[model + 1]; i++) {
        const tensor_tap *tap = coder->taps + i;
        const tensor_neighbour *n = &work->near[phase][tap->dy + 1][tap->dx + 1];
        if (n->order < 0)
            continue;
        const ptrdiff_t plane = (channel - tap->back) * (ptrdiff_t)work->g.phases + n->order;
        const int16_t *value = work->planes + plane * work->g.stride + n->offset;
        if (n->mask) {
            run->masked[masks] = (tensor_source){value, n->mask};
            run->masked_weight[masks++] = tap->weight;
        } else {
            run->inside[insides] = value;
            run->inside_weight[insides++] = tap->weight;
        }
    }
    if (masks & 1) { /* they come in pairs: one that counts for nothing */
        run->masked[masks] = run->masked[masks - 1];
        run->masked_weight[masks++] = 0;
    }
    if (insides & 1) {
        run->inside[insides] = run->inside[insides - 1];
        run->inside_weight[insides++] = 0;
    }
    run->masks = masks;
    run->insides = insides;
}

void tensor_activity_make(tensor_activity *a, const tensor_work *work, const tensor_coder *coder, int channel, int phase)
{
    const int model = channel * TENSOR_PHASES + phase;
    *a = work->sums[channel > 0][phase];
    for (int j = 0; j < TENSOR_SUMS; j++)
        a->weight[j] = (int16_t)coder->activity[model * TENSOR_SUMS + j];
    a->weight[TENSOR_SUMS] = 0;
    a->bias = coder->bias[model];
}
