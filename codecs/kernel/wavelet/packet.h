/* The wavelet packet transform of images, of a few levels, streamed in rows.
 *
 * An image goes through in column tiles, so work memory does not depend on its size: a tile carries HALO latent columns
 * of its neighbours on either side, more than what the edge of a tile spoils. Within a tile, rows stream through the
 * levels: every node (band to be split, colour) keeps the last three rows before and after the first lifting step.
 * Nodes work on several rows at a time, since those three rows then stay in the first cache; half of the time went to
 * fetching them from the second when a level went on row by row.
 */
#ifndef LATENTSTORE_PACKET_H
#define LATENTSTORE_PACKET_H

#include "wavelet/rows.h"

#define MAX_LEVELS 4
#define MAX_COLOURS 4
#define TILE 128 /* most latent columns of a tile, without its halo */

/* A lifting step spoils two samples of its level at a false edge: 2 * (2 + 4 + ... + 2^levels) pixels, which is less
 * than four latent columns of 2^levels pixels, however many levels there are. */
#define HALO 4

enum front_status { FRONT_OK, FRONT_NO_MEMORY, FRONT_BAD_TABLE };

struct image_size {
    size_t height, width; /* pixels */
    int colours;
    int levels; /* of the transform, 1 to MAX_LEVELS: a latent position is 2^levels pixels high and wide */
};

static inline size_t latent_side(size_t pixels, int levels)
{
    return (pixels + ((size_t)1 << levels) - 1) >> levels;
}

/* Bands of each colour. */
static inline size_t band_count(int levels)
{
    return (size_t)1 << (2 * levels);
}

/* Takes row `row` of the bands at latent columns [column, column + count). Plane p = band * colours + colour starts at
 * planes + p * stride and may be read up to CHUNK values past its end. */
typedef void (*band_sink)(void *context, size_t row, size_t column, size_t count, const float *planes, size_t stride);

/* Bands of an image. Sides that are no multiple of 2^levels are extended by reflection. */
int image_bands(const uint8_t *pixels, struct image_size size, band_sink sink, void *context);

/* Fills row `row` of the bands at latent columns [column, column + count). Plane p is to be written at planes[p]; it has
 * room for CHUNK more values. */
typedef void (*band_source)(void *context, size_t row, size_t column, size_t count, float *const *planes);

/* An image from its bands, cropped to its size. */
int bands_image(uint8_t *pixels, struct image_size size, band_source source, void *context);

/* --- shared by both directions --- */

/* Floats before index 0 and past the end of a row of bands: one holds a value of the extension. */
#define MARGIN ROW_ALIGN

static inline size_t aligned(size_t n)
{
    return (n + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
}

/* The lifting taps: a 6/10-tap pair of even length, symmetric, exact in binary. */
#define TAP_LOW (-7.0f / 64.0f)
#define TAP_HIGH (-9.0f / 64.0f)

/* The columns a tile works on: [first, first + columns) latent columns, of which [column, column + count) are wanted. */
struct tile {
    size_t first, columns, column, count;
};

static inline struct tile tile_at(size_t column, size_t width)
{
    const size_t tiles = (width + TILE - 1) / TILE, even = (width + tiles - 1) / tiles;
    const size_t count = width - column < even ? width - column : even;
    const size_t first = column > HALO ? column - HALO : 0;
    const size_t end = width - column - count > HALO ? column + count + HALO : width;
    return (struct tile){first, end - first, column, count};
}

/* Half-sample symmetric extension of a row of four bands: bands that are high in a direction change their sign there. */
void extend_sideways(float *quad, size_t stride, size_t n);
void reflect_row(float *quad, const float *from, size_t stride);

/* The row that stands at i in a signal of n rows extended by reflection. */
size_t reflected(size_t i, size_t n);

#endif
