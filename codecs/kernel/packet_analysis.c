#include "packet.h"
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#define MARGIN ROW_ALIGN /* floats before index 0 of a row; index -1 is read */

/* One level of the tree; node = path * colours + colour, where path is the band index of the level above. */
struct level {
    size_t nodes, rows, n; /* rows and columns of its bands */
    size_t stride;         /* floats from one band's row to the next band's */
    float *haar, *low;     /* nodes x 3 rows x 4 bands: after Haar, and after the step on the low bands */
    float *input;          /* nodes x 2 rows: the pair of rows to be split next */
    size_t input_stride;
};

struct analysis {
    const struct row_ops *ops;
    struct level level[LEVELS];
    float *planes; /* BANDS * colours rows: one row of the result */
    size_t planes_stride;
    struct tile tile;
    int colours;
    band_sink sink;
    void *context;
};

static size_t aligned(size_t n)
{
    return (n + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
}

void extend_sideways(float *quad, size_t stride, size_t n)
{
    for (int band = 0; band < 4; band++) {
        float *row = quad + (size_t)band * stride, sign = band & 1 ? -1.0f : 1.0f;
        row[-1] = sign * row[0];
        row[n] = sign * row[n - 1];
    }
}

void reflect_row(float *quad, const float *from, size_t stride)
{
    const ptrdiff_t margin = MARGIN;
    memcpy(quad - margin, from - margin, 2 * stride * sizeof(float));
    float *high = quad + 2 * stride - margin;
    const float *source = from + 2 * stride - margin;
    for (size_t i = 0; i < 2 * stride; i++)
        high[i] = -source[i];
}

size_t reflected(size_t i, size_t n)
{
    i %= 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

static float *ring_row(const struct level *v, float *ring, size_t node, size_t row)
{
    return ring + (node * 3 + row % 3) * 4 * v->stride + MARGIN;
}

/* Row r of a finished band goes to the input of its node one level down, or to the result. */
static float *destination(struct analysis *s, int l, size_t band_node, size_t row)
{
    if (l + 1 == LEVELS)
        return s->planes + band_node * s->planes_stride;
    struct level *below = &s->level[l + 1];
    return below->input + (band_node * 2 + (row & 1)) * below->input_stride;
}

/* Lets one node take its input pair as row m (if it is a row at all) and finish row m - 2. */
static void advance_node(struct analysis *s, int l, size_t node, size_t m)
{
    struct level *v = &s->level[l];
    const struct row_ops *ops = s->ops;
    const size_t stride = v->stride, n = v->n, rows = v->rows, before_first = 2; /* = -1 modulo 3 */
    if (m < rows) {
        float *quad = ring_row(v, v->haar, node, m);
        const float *pair = v->input + node * 2 * v->input_stride;
        ops->haar(pair, pair + v->input_stride, quad, stride, n);
        extend_sideways(quad, stride, n);
        if (m == 0)
            reflect_row(ring_row(v, v->haar, node, before_first), quad, stride);
    } else if (m == rows) {
        reflect_row(ring_row(v, v->haar, node, m), ring_row(v, v->haar, node, m - 1), stride);
    }
    if (m >= 1 && m <= rows) {
        float *quad = ring_row(v, v->low, node, m - 1);
        float *out[4] = {quad, quad + stride, quad + 2 * stride, quad + 3 * stride};
        ops->lift(ring_row(v, v->haar, node, m + 1), ring_row(v, v->haar, node, m - 1), ring_row(v, v->haar, node, m),
                  stride, out, n, TAP_LOW, BAND_LL);
        extend_sideways(quad, stride, n);
        if (m == 1)
            reflect_row(ring_row(v, v->low, node, before_first), quad, stride);
    } else if (m == rows + 1) {
        reflect_row(ring_row(v, v->low, node, m - 1), ring_row(v, v->low, node, m - 2), stride);
    }
    if (m >= 2) {
        const size_t path = node / (size_t)s->colours, colour = node % (size_t)s->colours, row = m - 2;
        float *out[4];
        for (size_t band = 0; band < 4; band++)
            out[band] = destination(s, l, (path * 4 + band) * (size_t)s->colours + colour, row);
        ops->lift(ring_row(v, v->low, node, row + 2), ring_row(v, v->low, node, row), ring_row(v, v->low, node, row + 1),
                  stride, out, n, TAP_HIGH, BAND_HH);
    }
}

static void advance(struct analysis *s, int l, size_t m)
{
    for (size_t node = 0; node < s->level[l].nodes; node++)
        advance_node(s, l, node, m);
    if (m < 2)
        return;
    if (l + 1 == LEVELS)
        s->sink(s->context, m - 2, s->tile.column, s->tile.count, s->planes + (s->tile.column - s->tile.first),
                s->planes_stride);
    else if ((m - 2) & 1)
        advance(s, l + 1, (m - 2) / 2);
}

static void load_row(const struct analysis *s, const uint8_t *pixels, struct picture_size size, float *rows)
{
    const size_t left = s->tile.first * REDUCTION, end = left + s->tile.columns * REDUCTION;
    const size_t real_end = end < size.width ? end : size.width, stride = s->level[0].input_stride * 2;
    s->ops->load_pixels(pixels + left * (size_t)size.colours, real_end - left, size.colours, rows, stride);
    for (int colour = 0; colour < size.colours; colour++)
        for (size_t x = real_end; x < end; x++)
            rows[(size_t)colour * stride + x - left] =
                rows[(size_t)colour * stride + reflected(x, size.width) - left];
}

static void run_tile(struct analysis *s, const uint8_t *pixels, struct picture_size size)
{
    const size_t row_bytes = size.width * (size_t)size.colours;
    struct level *top = &s->level[0];
    for (size_t m = 0; m < top->rows; m++) {
        load_row(s, pixels + reflected(2 * m, size.height) * row_bytes, size, top->input);
        load_row(s, pixels + reflected(2 * m + 1, size.height) * row_bytes, size, top->input + top->input_stride);
        advance(s, 0, m);
    }
    for (int l = 0; l < LEVELS; l++) {
        advance(s, l, s->level[l].rows);
        advance(s, l, s->level[l].rows + 1);
    }
}

/* Sets sizes for tiles of up to `columns` latent columns and, once `arena` is there, places the buffers. */
static size_t lay_out(struct analysis *s, size_t columns, size_t latent_rows, float *arena)
{
    size_t used = 0;
    for (int l = 0; l < LEVELS; l++) {
        struct level *v = &s->level[l];
        v->nodes = (size_t)s->colours << (2 * l);
        v->rows = latent_rows << (LEVELS - 1 - l);
        v->stride = aligned(columns << (LEVELS - 1 - l)) + 2 * MARGIN;
        v->input_stride = 2 * aligned(columns << (LEVELS - 1 - l));
        float **const buffers[] = {&v->haar, &v->low, &v->input};
        const size_t sizes[] = {v->nodes * 12 * v->stride, v->nodes * 12 * v->stride, v->nodes * 2 * v->input_stride};
        for (int i = 0; i < 3; i++) {
            *buffers[i] = arena ? arena + used : NULL;
            used += sizes[i];
        }
    }
    s->planes_stride = aligned(columns) + 2 * MARGIN;
    s->planes = arena ? arena + used : NULL;
    return used + BANDS * (size_t)s->colours * s->planes_stride + CHUNK;
}

int picture_bands(const uint8_t *pixels, struct picture_size size, band_sink sink, void *context)
{
    const size_t rows = latent_side(size.height), width = latent_side(size.width);
    const size_t columns = width < TILE + 2 * HALO ? width : TILE + 2 * HALO;
    struct analysis s = {.ops = row_ops(), .colours = size.colours, .sink = sink, .context = context};
    float *arena = calloc(lay_out(&s, columns, rows, NULL) + ROW_ALIGN, sizeof(float));
    if (arena == NULL)
        return FRONT_NO_MEMORY;
    const uintptr_t mask = ROW_ALIGN * sizeof(float) - 1;
    lay_out(&s, columns, rows, (float *)(((uintptr_t)arena + mask) & ~mask));
    for (size_t column = 0; column < width; column += TILE) {
        s.tile = tile_at(column, width);
        for (int l = 0; l < LEVELS; l++)
            s.level[l].n = s.tile.columns << (LEVELS - 1 - l);
        run_tile(&s, pixels, size);
    }
    free(arena);
    return FRONT_OK;
}
