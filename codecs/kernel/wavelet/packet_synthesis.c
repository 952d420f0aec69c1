#include "wavelet/packet.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 4 /* rows of the deepest level that are used at once */

/* One level of the tree; node = path * colours + colour, where path is the band index of the level above. */
struct level {
    size_t nodes, rows, n; /* rows and columns of its bands */
    size_t stride;
    size_t ring;  /* rows that `bands` holds: those that come at once, and what earlier ones are still needed for */
    size_t next;  /* the first row not yet made */
    float *bands; /* nodes x ring x 4 bands: as they come */
    float *haar;  /* nodes x 3 rows x 4 bands: after the step on the high bands is undone */
};

struct synthesis {
    const struct row_ops *ops;
    struct level level[MAX_LEVELS];
    float *quad;   /* 4 bands: after both steps are undone */
    float *output; /* colours x output_rows: rows of the image, a ring */
    size_t output_stride, output_rows;
    uint8_t *scratch; /* one row of pixels, with room for what the vectors write past its end */
    struct tile tile;
    struct image_size size;
    uint8_t *pixels;
};

static float *bands_row(const struct level *v, size_t node, size_t row)
{
    return v->bands + (node * v->ring + row % v->ring) * 4 * v->stride + MARGIN;
}

static float *haar_row(const struct level *v, size_t node, size_t row)
{
    return v->haar + (node * 3 + row % 3) * 4 * v->stride + MARGIN;
}

/* Where row `row` of what a node puts together belongs: a band of its parent, or the image. */
static float *destination(struct synthesis *s, int l, size_t node, size_t row)
{
    if (l == 0)
        return s->output + (node * s->output_rows + row % s->output_rows) * s->output_stride;
    const size_t colours = (size_t)s->size.colours, path = node / colours;
    const struct level *parent = &s->level[l - 1];
    return bands_row(parent, path / 4 * colours + node % colours, row) + path % 4 * parent->stride;
}

/* Lets one node use row m of its bands (if it is a row at all) and finish row m - 2. */
static void advance_node(struct synthesis *s, int l, size_t node, size_t m)
{
    struct level *v = &s->level[l];
    const struct row_ops *ops = s->ops;
    const size_t stride = v->stride, n = v->n, rows = v->rows;
    if (m < rows) {
        extend_sideways(bands_row(v, node, m), stride, n);
        if (m == 0)
            reflect_row(bands_row(v, node, v->ring - 1), bands_row(v, node, 0), stride);
    } else if (m == rows) {
        reflect_row(bands_row(v, node, m), bands_row(v, node, m - 1), stride);
    }
    if (m >= 1 && m <= rows) {
        float *quad = haar_row(v, node, m - 1);
        float *out[4] = {quad, quad + stride, quad + 2 * stride, quad + 3 * stride};
        ops->lift(bands_row(v, node, m + v->ring - 2), bands_row(v, node, m - 1), bands_row(v, node, m), stride, out, n, -TAP_HIGH,
                  BAND_HH);
        extend_sideways(quad, stride, n);
        if (m == 1)
            reflect_row(haar_row(v, node, 2), quad, stride); /* 2 = -1 modulo 3 */
    } else if (m == rows + 1) {
        reflect_row(haar_row(v, node, m - 1), haar_row(v, node, m - 2), stride);
    }
    if (m >= 2) {
        const size_t row = m - 2;
        float *out[4] = {s->quad, s->quad + stride, s->quad + 2 * stride, s->quad + 3 * stride};
        ops->lift(haar_row(v, node, row + 2), haar_row(v, node, row), haar_row(v, node, row + 1), stride, out, n,
                  -TAP_LOW, BAND_LL);
        ops->unhaar(s->quad, stride, destination(s, l, node, 2 * row), destination(s, l, node, 2 * row + 1), n);
    }
}

/* Stores the wanted columns of a row of the image. */
static void store_row(struct synthesis *s, size_t row)
{
    const size_t colours = (size_t)s->size.colours, left = s->tile.column << s->size.levels;
    const size_t skip = left - (s->tile.first << s->size.levels), end = left + (s->tile.count << s->size.levels);
    const size_t count = (end < s->size.width ? end : s->size.width) - left;
    s->ops->store_pixels(s->output + row % s->output_rows * s->output_stride + skip, s->output_rows * s->output_stride,
                         count, s->size.colours, s->scratch);
    memcpy(s->pixels + (row * s->size.width + left) * colours, s->scratch, count * colours);
}

/* Uses rows up to `end` of a level's bands, for one node after another so that its last rows stay in L1, then what they
 * give on the levels above. Two rows past the last one finish it. */
static void advance(struct synthesis *s, int l, size_t end)
{
    struct level *v = &s->level[l];
    const size_t begin = v->next, done = end < 2 ? 0 : end - 2;
    for (size_t node = 0; node < v->nodes; node++)
        for (size_t m = begin; m < end; m++)
            advance_node(s, l, node, m);
    v->next = end;
    if (l > 0) {
        const size_t ready = done == v->rows ? 2 * done + 2 : 2 * done;
        if (ready > s->level[l - 1].next)
            advance(s, l - 1, ready);
        return;
    }
    for (size_t row = begin < 2 ? 0 : 2 * (begin - 2); row < 2 * done && row < s->size.height; row++)
        store_row(s, row);
}

static void run_tile(struct synthesis *s, band_source source, void *context)
{
    const int levels = s->size.levels;
    const struct level *deepest = &s->level[levels - 1];
    const size_t colours = (size_t)s->size.colours, count = band_count(levels) * colours;
    float *planes[MAX_COLOURS << 2 * MAX_LEVELS];
    for (int l = 0; l < levels; l++) {
        s->level[l].n = s->tile.columns << (levels - 1 - l);
        s->level[l].next = 0;
    }
    for (size_t row = 0; row < deepest->rows; row++) {
        for (size_t plane = 0; plane < count; plane++) {
            const size_t band = plane / colours, node = band / 4 * colours + plane % colours;
            planes[plane] = bands_row(deepest, node, row) + band % 4 * deepest->stride;
        }
        source(context, row, s->tile.first, s->tile.columns, planes);
        if (row + 1 == deepest->rows)
            advance(s, levels - 1, deepest->rows + 2);
        else if ((row + 1) % BATCH == 0)
            advance(s, levels - 1, row + 1);
    }
}

static size_t lay_out(struct synthesis *s, size_t columns, size_t latent_rows, float *arena)
{
    const int levels = s->size.levels;
    size_t used = 0, at_once = BATCH;
    for (int l = levels - 1; l >= 0; l--) {
        struct level *v = &s->level[l];
        v->nodes = (size_t)s->size.colours << (2 * l);
        v->rows = latent_rows << (levels - 1 - l);
        v->ring = at_once + 3;        /* two rows from before, and a reflected one after the last */
        at_once = 2 * (at_once + 2); /* the last time, two more than were new */
        v->n = columns << (levels - 1 - l);
        v->stride = aligned(v->n) + 2 * MARGIN;
        v->bands = arena ? arena + used : NULL;
        used += v->nodes * v->ring * 4 * v->stride;
        v->haar = arena ? arena + used : NULL;
        used += v->nodes * 12 * v->stride;
    }
    s->quad = arena ? arena + used : NULL;
    used += 4 * s->level[0].stride;
    s->output_stride = 2 * aligned(s->level[0].n);
    s->output_rows = at_once;
    s->output = arena ? arena + used : NULL;
    used += (size_t)s->size.colours * s->output_rows * s->output_stride + ROW_ALIGN;
    s->scratch = arena ? (uint8_t *)(arena + used) : NULL;
    return used + (s->output_stride * (size_t)s->size.colours + PIXEL_SLACK) / sizeof(float) + ROW_ALIGN;
}

int bands_image(uint8_t *pixels, struct image_size size, band_source source, void *context)
{
    const size_t rows = latent_side(size.height, size.levels), width = latent_side(size.width, size.levels);
    const size_t columns = width < TILE + 2 * HALO ? width : TILE + 2 * HALO;
    struct synthesis s = {.ops = row_ops(), .size = size, .pixels = pixels};
    float *arena = calloc(lay_out(&s, columns, rows, NULL) + ROW_ALIGN, sizeof(float));
    if (arena == NULL)
        return FRONT_NO_MEMORY;
    const uintptr_t mask = ROW_ALIGN * sizeof(float) - 1;
    lay_out(&s, columns, rows, (float *)(((uintptr_t)arena + mask) & ~mask));
    for (size_t column = 0; column < width; column += s.tile.count) {
        s.tile = tile_at(column, width);
        run_tile(&s, source, context);
    }
    free(arena);
    return FRONT_OK;
}
