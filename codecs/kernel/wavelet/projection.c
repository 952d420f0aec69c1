#include "wavelet/projection.h"

#include "wavelet/blocks.h"
#include "wavelet/rows.h"

#include <stdlib.h>
#include <string.h>

static size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

/* --- bands as they are --- */

struct plane_writer {
    float *planes;
    size_t height, width, count;
};

static void write_planes(void *context, size_t row, size_t column, size_t count, const float *planes, size_t stride)
{
    const struct plane_writer *writer = context;
    for (size_t p = 0; p < writer->count; p++)
        memcpy(writer->planes + (p * writer->height + row) * writer->width + column, planes + p * stride,
               count * sizeof(float));
}

int image_analysis(const uint8_t *pixels, struct image_size size, float *planes)
{
    struct plane_writer writer = {planes, latent_side(size.height, size.levels), latent_side(size.width, size.levels),
                                  band_count(size.levels) * (size_t)size.colours};
    return image_bands(pixels, size, write_planes, &writer);
}

struct plane_reader {
    const float *planes;
    size_t height, width, count;
};

static void read_planes(void *context, size_t row, size_t column, size_t count, float *const *planes)
{
    const struct plane_reader *reader = context;
    for (size_t p = 0; p < reader->count; p++)
        memcpy(planes[p], reader->planes + (p * reader->height + row) * reader->width + column, count * sizeof(float));
}

int image_synthesis(const float *planes, uint8_t *pixels, struct image_size size)
{
    struct plane_reader reader = {planes, latent_side(size.height, size.levels), latent_side(size.width, size.levels),
                                  band_count(size.levels) * (size_t)size.colours};
    return bands_image(pixels, size, read_planes, &reader);
}

/* --- image to channels --- */

struct projector {
    const struct row_ops *ops;
    const struct analysis_tables *tables;
    struct blocks blocks;
    const float *inv_step, *rounding; /* no rounding: coefficients are wanted */
    float *coefs;
    int8_t *latent;
    size_t height, width, outside;
    float *entries;            /* entries x CHUNK */
    float sums[BLOCK][CHUNK];
};

static void store_channel(struct projector *p, size_t channel, const float *sums, size_t row, size_t column, size_t count)
{
    const size_t at = (channel * p->height + row) * p->width + column;
    if (p->rounding == NULL) {
        float scaled[CHUNK];
        p->ops->scale(sums, p->inv_step[channel], scaled);
        memcpy(p->coefs + at, scaled, count * sizeof(float));
    } else {
        int8_t symbols[CHUNK];
        p->outside += p->ops->quantise(sums, p->inv_step[channel], p->rounding[channel], count, symbols);
        memcpy(p->latent + at, symbols, count);
    }
}

static void project_row(void *context, size_t row, size_t column, size_t count, const float *planes, size_t stride)
{
    struct projector *p = context;
    float *out[BLOCK];
    for (int k = 0; k < BLOCK; k++)
        out[k] = p->sums[k];
    for (size_t x = 0; x < count; x += CHUNK) {
        for (size_t j = 0; j < p->tables->entries; j++) {
            const int32_t *entry = p->tables->basis + 3 * j;
            p->ops->combine(planes + (size_t)entry[0] * stride + x,
                            entry[1] < 0 ? NULL : planes + (size_t)entry[1] * stride + x, entry[2],
                            p->entries + j * CHUNK);
        }
        for (size_t i = 0; i < p->blocks.count; i++) {
            const struct block *b = &p->blocks.block[i];
            p->ops->project(p->entries, b->index, b->terms, b->weights, out);
            for (size_t k = 0; k < b->outputs; k++)
                store_channel(p, (size_t)b->output[k], out[k], row, column + x, at_most(count - x, CHUNK));
        }
    }
}

static int project_image(const uint8_t *pixels, struct image_size size, struct projector *p)
{
    p->ops = row_ops();
    p->height = latent_side(size.height, size.levels);
    p->width = latent_side(size.width, size.levels);
    int status = analysis_blocks(p->tables, &p->blocks);
    if (status == FRONT_OK) {
        p->entries = malloc((p->tables->entries * CHUNK + 1) * sizeof(float));
        status = p->entries ? image_bands(pixels, size, project_row, p) : FRONT_NO_MEMORY;
    }
    free(p->entries);
    free_blocks(&p->blocks);
    return status;
}

int image_to_coefs(const uint8_t *pixels, struct image_size size, const struct analysis_tables *tables,
                     const float *inv_step, float *coefs)
{
    struct projector p = {.tables = tables, .inv_step = inv_step, .coefs = coefs};
    return project_image(pixels, size, &p);
}

int image_to_latent(const uint8_t *pixels, struct image_size size, const struct analysis_tables *tables,
                      const float *inv_step, const float *rounding, int8_t *latent, size_t *outside)
{
    struct projector p = {.tables = tables, .inv_step = inv_step, .rounding = rounding, .latent = latent};
    int status = project_image(pixels, size, &p);
    *outside = p.outside;
    return status;
}

/* --- channels to image --- */

struct assembler {
    const struct row_ops *ops;
    const struct synthesis_tables *tables;
    struct blocks blocks;
    const float *step, *delta1, *delta2, *added;
    const int8_t *latent;
    size_t given, height, width;
    float *values;  /* given x CHUNK: dequantised channels */
    float *entries; /* (entries + 1) x CHUNK: the last takes what no output needs */
};

static void read_channels(struct assembler *a, size_t row, size_t column, size_t count)
{
    for (size_t k = 0; k < a->given; k++) {
        int8_t symbols[CHUNK] = {0};
        memcpy(symbols, a->latent + (k * a->height + row) * a->width + column, count);
        a->ops->dequantise(symbols, a->step[k], a->delta1[k], a->delta2[k], a->values + k * CHUNK);
    }
}

static void assemble_row(void *context, size_t row, size_t column, size_t count, float *const *planes)
{
    struct assembler *a = context;
    const struct synthesis_tables *tables = a->tables;
    for (size_t x = 0; x < count; x += CHUNK) {
        read_channels(a, row, column + x, at_most(count - x, CHUNK));
        for (size_t i = 0; i < a->blocks.count; i++) {
            const struct block *b = &a->blocks.block[i];
            float *out[BLOCK];
            for (size_t k = 0; k < BLOCK; k++)
                out[k] = a->entries + (k < b->outputs ? (size_t)b->output[k] : tables->entries) * CHUNK;
            a->ops->project(a->values, b->index, b->terms, b->weights, out);
        }
        for (size_t p = 0; p < tables->planes; p++) {
            const int32_t *parts = tables->assembly + 3 * p;
            a->ops->combine(a->entries + (size_t)parts[0] * CHUNK,
                            parts[1] < 0 ? NULL : a->entries + (size_t)parts[1] * CHUNK, parts[2], planes[p] + x);
            if (a->added != NULL) {
                const float *added = a->added + (p * a->height + row) * a->width + column + x;
                for (size_t i = 0; i < at_most(count - x, CHUNK); i++)
                    planes[p][x + i] += added[i];
            }
        }
    }
}

int latent_to_image(const int8_t *latent, size_t given, const struct synthesis_tables *tables, const float *step,
                      const float *delta1, const float *delta2, const float *added, uint8_t *pixels,
                      struct image_size size)
{
    struct assembler a = {.ops = row_ops(),
                          .tables = tables,
                          .step = step,
                          .delta1 = delta1,
                          .delta2 = delta2,
                          .added = added,
                          .latent = latent,
                          .given = given,
                          .height = latent_side(size.height, size.levels),
                          .width = latent_side(size.width, size.levels)};
    int status = synthesis_blocks(tables, given, &a.blocks);
    if (status == FRONT_OK) {
        a.values = malloc((given + tables->entries + 1) * CHUNK * sizeof(float));
        a.entries = a.values + given * CHUNK;
        status = a.values ? bands_image(pixels, size, assemble_row, &a) : FRONT_NO_MEMORY;
        free(a.values);
    }
    free_blocks(&a.blocks);
    return status;
}
