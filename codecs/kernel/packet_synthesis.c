#include "packet.h"
#include "rows.h"

#include <stdlib.h>

#define MARGIN ROW_ALIGN

/* One level of the tree; node = path * colours + colour, where path is the band index of the level above. */
struct level {
    size_t nodes, rows, n; /* rows and columns of its bands */
    size_t stride;
    float *bands; /* nodes x 4 rows x 4 bands: as they come; the level below delivers two rows at a time */
    float *haar;  /* nodes x 3 rows x 4 bands: after the step on the high bands is undone */
};

struct synthesis {
    const struct row_ops *ops;
    struct level level[LEVELS];
    float *quad;   /* 4 bands: after both steps are undone */
    float *output; /* colours x 2 rows of the picture */
    size_t output_stride;
    struct tile tile;
    struct picture_size size;
    uint8_t *pixels;
};

static size_t aligned(size_t n)
{
    return (n + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
}

static float *bands_row(const struct level *v, size_t node, size_t row)
{
    return v->bands + (node * 4 + row % 4) * 4 * v->stride + MARGIN;
}

static float *haar_row(const struct level *v, size_t node, size_t row)
{
    return v->haar + (node * 3 + row % 3) * 4 * v->stride + MARGIN;
}

/* Where row `row` of what a node puts together belongs: a band of its parent, or the picture. */
static float *destination(struct synthesis *s, int l, size_t node, size_t row)
{
    if (l == 0)
        return s->output + (node * 2 + (row & 1)) * s->output_stride;
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
            reflect_row(bands_row(v, node, 3), bands_row(v, node, 0), stride); /* 3 = -1 modulo 4 */
    } else if (m == rows) {
        reflect_row(bands_row(v, node, m), bands_row(v, node, m - 1), stride);
    }
    if (m >= 1 && m <= rows) {
        float *quad = haar_row(v, node, m - 1);
        float *out[4] = {quad, quad + stride, quad + 2 * stride, quad + 3 * stride};
        ops->lift(bands_row(v, node, m + 2), bands_row(v, node, m - 1), bands_row(v, node, m), stride, out, n, -TAP_HIGH,
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

/* Stores the wanted columns of the two rows 2m and 2m + 1 of the picture. */
static void store_rows(struct synthesis *s, size_t m)
{
    const size_t colours = (size_t)s->size.colours, left = s->tile.column * REDUCTION;
    const size_t skip = left - s->tile.first * REDUCTION, end = left + s->tile.count * REDUCTION;
    const size_t count = (end < s->size.width ? end : s->size.width) - left;
    for (size_t row = 2 * m; row < 2 * m + 2 && row < s->size.height; row++)
        s->ops->store_pixels(s->output + (row & 1) * s->output_stride + skip, 2 * s->output_stride, count,
                             s->size.colours, s->pixels + (row * s->size.width + left) * colours);
}

static void advance(struct synthesis *s, int l, size_t m)
{
    for (size_t node = 0; node < s->level[l].nodes; node++)
        advance_node(s, l, node, m);
    if (m < 2)
        return;
    if (l == 0) {
        store_rows(s, m - 2);
    } else {
        advance(s, l - 1, 2 * (m - 2));
        advance(s, l - 1, 2 * (m - 2) + 1);
    }
}

static void run_tile(struct synthesis *s, band_source source, void *context)
{
    const struct level *deepest = &s->level[LEVELS - 1];
    const size_t colours = (size_t)s->size.colours;
    float *planes[BANDS * MAX_COLOURS];
    for (size_t m = 0; m < deepest->rows; m++) {
        for (size_t plane = 0; plane < BANDS * colours; plane++) {
            const size_t band = plane / colours, node = band / 4 * colours + plane % colours;
            planes[plane] = bands_row(deepest, node, m) + band % 4 * deepest->stride;
        }
        source(context, m, s->tile.first, s->tile.columns, planes);
        advance(s, LEVELS - 1, m);
    }
    for (int l = LEVELS - 1; l >= 0; l--) {
        advance(s, l, s->level[l].rows);
        advance(s, l, s->level[l].rows + 1);
    }
}

static size_t lay_out(struct synthesis *s, size_t columns, size_t latent_rows, float *arena)
{
    size_t used = 0;
    for (int l = 0; l < LEVELS; l++) {
        struct level *v = &s->level[l];
        v->nodes = (size_t)s->size.colours << (2 * l);
        v->rows = latent_rows << (LEVELS - 1 - l);
        v->n = columns << (LEVELS - 1 - l);
        v->stride = aligned(v->n) + 2 * MARGIN;
        v->bands = arena ? arena + used : NULL;
        used += v->nodes * 16 * v->stride;
        v->haar = arena ? arena + used : NULL;
        used += v->nodes * 12 * v->stride;
    }
    s->quad = arena ? arena + used : NULL;
    used += 4 * s->level[0].stride;
    s->output_stride = 2 * aligned(s->level[0].n);
    s->output = arena ? arena + used : NULL;
    return used + (size_t)s->size.colours * 2 * s->output_stride;
}

int bands_picture(uint8_t *pixels, struct picture_size size, band_source source, void *context)
{
    const size_t rows = latent_side(size.height), width = latent_side(size.width);
    const size_t columns = width < TILE + 2 * HALO ? width : TILE + 2 * HALO;
    struct synthesis s = {.ops = row_ops(), .size = size, .pixels = pixels};
    float *arena = calloc(lay_out(&s, columns, rows, NULL) + ROW_ALIGN, sizeof(float));
    if (arena == NULL)
        return FRONT_NO_MEMORY;
    const uintptr_t mask = ROW_ALIGN * sizeof(float) - 1;
    lay_out(&s, columns, rows, (float *)(((uintptr_t)arena + mask) & ~mask));
    for (size_t column = 0; column < width; column += TILE) {
        s.tile = tile_at(column, width);
        for (int l = 0; l < LEVELS; l++)
            s.level[l].n = s.tile.columns << (LEVELS - 1 - l);
        run_tile(&s, source, context);
    }
    free(arena);
    return FRONT_OK;
}
