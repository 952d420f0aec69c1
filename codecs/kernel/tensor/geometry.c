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
    return LS_OK;
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

/* The neighbour (dy, dx) of a phase: its phase, and its shift on the grid. -1 if no position has it. */
static int neighbour(const tensor_geometry *g, int phase, int dy, int dx, int *oy, int *ox)
{
    const int y = row_of[phase] + dy, x = column_of[phase] + dx;
    *oy = y < 0 ? -1 : y >> 1;
    *ox = x < 0 ? -1 : x >> 1;
    const int there = phase_of[y & 1][x & 1];
    if (g->order[there] < 0 || (*oy && g->h == 1) || (*ox && g->w == 1))
        return -1;
    return there;
}

void tensor_run_make(tensor_run *run, const tensor_work *work, const tensor_coder *coder, int channel, int phase)
{
    const tensor_geometry *g = &work->g;
    const int model = channel * TENSOR_PHASES + phase;
    run->count = 0;
    for (int masked = 1; masked >= 0; masked--) {
        for (uint32_t i = coder->first[model]; i < coder->first[model + 1]; i++) {
            const tensor_tap *tap = coder->taps + i;
            int oy, ox;
            const int there = neighbour(g, phase, tap->dy, tap->dx, &oy, &ox);
            if (there < 0 || (oy || ox) != masked)
                continue;
            run->source[run->count].value = tensor_plane(work, channel - tap->back, there) + oy * g->w + ox;
            run->source[run->count].mask = work->mask[oy + 1][ox + 1];
            run->weight[run->count++] = tap->weight;
        }
        if (run->count & 1 && (masked || run->count)) { /* pairs: one that counts for nothing */
            run->source[run->count] = run->source[run->count - 1];
            run->weight[run->count++] = 0;
        }
        if (masked)
            run->masked = run->count;
    }
}

/* Adds the neighbours at distance 0 (themselves), 1 (beside) or 2 (diagonal) to the sources. */
static int add_ring(const tensor_work *work, int16_t *planes, int phase, int distance, tensor_source *source, int count)
{
    const tensor_geometry *g = &work->g;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
            int oy, ox, there;
            if (abs(dy) + abs(dx) != distance || (there = neighbour(g, phase, dy, dx, &oy, &ox)) < 0)
                continue;
            source[count].value = tensor_near(work, planes, there) + oy * g->w + ox;
            source[count++].mask = work->mask[oy + 1][ox + 1];
        }
    return count;
}

void tensor_activity_make(tensor_activity *a, const tensor_work *work, const tensor_coder *coder, int channel, int phase)
{
    const int model = channel * TENSOR_PHASES + phase;
    int count = 0;
    if (phase >= 2)
        count = add_ring(work, work->magnitude, phase, 1, a->source, count);
    a->end[0] = count;
    if (phase & 1)
        count = add_ring(work, work->magnitude, phase, 2, a->source, count);
    a->end[1] = count;
    for (int ring = 0; ring <= 2; ring++) {
        if (channel)
            count = add_ring(work, work->activity, phase, ring, a->source, count);
        a->end[2 + ring] = count;
    }
    for (int j = 0; j < TENSOR_SUMS; j++)
        a->weight[j] = (int16_t)coder->activity[model * TENSOR_SUMS + j];
    a->weight[TENSOR_SUMS] = 0;
    a->bias = coder->bias[model];
}
