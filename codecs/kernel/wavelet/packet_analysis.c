#include "wavelet/packet.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 16 /* rows of the first level that are made at once */

/* One level of the tree; node = path * colours + colour, where path is the band index of the level above. */
struct level {
    size_t nodes, rows, n; /* rows and columns of its bands */
    size_t stride;         /* floats from one band's row to the next band's */
    float *haar, *low;     /* nodes x 3 rows x 4 bands: after Haar, and after the step on the low bands */
    float *input;          /* nodes x input_rows: rows to be split, a ring */
    size_t input_stride, input_rows;
    size_t next;           /* the first row not yet made */
};

struct analysis {
    const struct row_ops *ops;
    struct level level[MAX_LEVELS];
    float *planes; /* bands * colours x plane_rows: rows of the result, a ring */
    size_t planes_stride, plane_rows;
    struct tile tile;
    int colours, levels;
    band_sink sink;
    void *context;
};

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

static float *input_row(const struct level *v, size_t node, size_t row)
{
    return v->input + (node * v->input_rows + row % v->input_rows) * v->input_stride;
}

/* Row r of a finished band goes to the input of its node one level down, or to the result. */
static float *destination(struct analysis *s, int l, size_t band_node, size_t row)
{
    if (l + 1 == s->levels)
        return s->planes + (band_node * s->plane_rows + row % s->plane_rows) * s->planes_stride;
    return input_row(&s->level[l + 1], band_node, row);
}

/* Lets one node take its input pair as row m (if it is a row at all) and finish row m - 2. */
static void advance_node(struct analysis *s, int l, size_t node, size_t m)
{
    struct level *v = &s->level[l];
    const struct row_ops *ops = s->ops;
    const size_t stride = v->stride, n = v->n, rows = v->rows, before_first = 2; /* = -1 modulo 3 */
    if (m < rows) {
        float *quad = ring_row(v, v->haar, node, m);
        ops->haar(input_row(v, node, 2 * m), input_row(v, node, 2 * m + 1), quad, stride, n);
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

/* Makes rows up to `end` of a level, for one node after another so that its last rows stay in L1, then what they allow
 * on the levels below. Two rows past the last one finish it. */
static void advance(struct analysis *s, int l, size_t end)
{
    struct level *v = &s->level[l];
    const size_t begin = v->next, done = end < 2 ? 0 : end - 2;
    for (size_t node = 0; node < v->nodes; node++)
        for (size_t m = begin; m < end; m++)
            advance_node(s, l, node, m);
    v->next = end;
    if (l + 1 < s->levels) {
        const size_t ready = done == v->rows ? done / 2 + 2 : done / 2;
        if (ready > s->level[l + 1].next)
            advance(s, l + 1, ready);
        return;
    }
    for (size_t row = begin < 2 ? 0 : begin - 2; row < done; row++)
        s->sink(s->context, row, s->tile.column, s->tile.count,
                s->planes + (row % s->plane_rows) * s->planes_stride + (s->tile.column - s->tile.first),
                s->plane_rows * s->planes_stride);
}

static void load_row(const struct analysis *s, const uint8_t *pixels, struct image_size size, float *rows)
{
    const size_t left = s->tile.first << s->levels, end = left + (s->tile.columns << s->levels);
    const size_t real_end = end < size.width ? end : size.width, stride = s->level[0].input_rows * s->level[0].input_stride;
    s->ops->load_pixels(pixels + left * (size_t)size.colours, real_end - left, size.colours, rows, stride);
    for (int colour = 0; colour < size.colours; colour++)
        for (size_t x = real_end; x < end; x++)
            rows[(size_t)colour * stride + x - left] =
                rows[(size_t)colour * stride + reflected(x, size.width) - left];
}

static void run_tile(struct analysis *s, const uint8_t *pixels, struct image_size size)
{
    const size_t row_bytes = size.width * (size_t)size.colours;
    struct level *top = &s->level[0];
    for (int l = 0; l < s->levels; l++) {
        s->level[l].n = s->tile.columns << (s->levels - 1 - l);
        s->level[l].next = 0;
    }
    for (size_t row = 0; row < 2 * top->rows; row++) {
        load_row(s, pixels + reflected(row, size.height) * row_bytes, size, input_row(top, 0, row));
        if (row + 1 == 2 * top->rows)
            advance(s, 0, top->rows + 2);
        else if ((row + 1) % (2 * BATCH) == 0)
            advance(s, 0, (row + 1) / 2);
    }
}

/* Sets sizes for tiles of up to `columns` latent columns and, once `arena` is there, places the buffers. */
static size_t lay_out(struct analysis *s, size_t columns, size_t latent_rows, float *arena)
{
    size_t used = 0, input_rows = 2 * BATCH;
    for (int l = 0; l < s->levels; l++) {
        struct level *v = &s->level[l];
        v->nodes = (size_t)s->colours << (2 * l);
        v->rows = latent_rows << (s->levels - 1 - l);
        v->stride = aligned(columns << (s->levels - 1 - l)) + 2 * MARGIN;
        v->input_rows = input_rows;
        input_rows = (input_rows / 2 + 2 + 1 + 1) / 2 * 2; /* rows made at once, two at the end, one that waits; even */
        v->input_stride = 2 * aligned(columns << (s->levels - 1 - l));
        float **const buffers[] = {&v->haar, &v->low, &v->input};
        const size_t sizes[] = {v->nodes * 12 * v->stride, v->nodes * 12 * v->stride, v->nodes * v->input_rows * v->input_stride};
        for (int i = 0; i < 3; i++) {
            *buffers[i] = arena ? arena + used : NULL;
            used += sizes[i];
        }
    }
    s->planes_stride = aligned(columns) + 2 * MARGIN;
    s->plane_rows = input_rows;
    s->planes = arena ? arena + used : NULL;
    return used + band_count(s->levels) * (size_t)s->colours * s->plane_rows * s->planes_stride + CHUNK;
}

int image_bands(const uint8_t *pixels, struct image_size size, band_sink sink, void *context)
{
    const size_t rows = latent_side(size.height, size.levels), width = latent_side(size.width, size.levels);
    const size_t columns = width < TILE + 2 * HALO ? width : TILE + 2 * HALO;
    struct analysis s = {
        .ops = row_ops(), .colours = size.colours, .levels = size.levels, .sink = sink, .context = context};
    float *arena = calloc(lay_out(&s, columns, rows, NULL) + ROW_ALIGN, sizeof(float));
    if (arena == NULL)
        return FRONT_NO_MEMORY;
    const uintptr_t mask = ROW_ALIGN * sizeof(float) - 1;
    lay_out(&s, columns, rows, (float *)(((uintptr_t)arena + mask) & ~mask));
    for (size_t column = 0; column < width; column += s.tile.count) {
        s.tile = tile_at(column, width);
        run_tile(&s, pixels, size);
    }
    free(arena);
    return FRONT_OK;
}
