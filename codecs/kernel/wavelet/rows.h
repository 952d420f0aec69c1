/* Loops over rows, one set per vector width: all arithmetic of the front end is here, none of its order.
 *
 * Every operation is a single IEEE float32 operation, never fused, in a fixed order, so all sets give the same bits.
 * Rows are processed in whole vectors: a row of n values may be read and written up to the next multiple of
 * ROW_ALIGN, so buffers have that room. What lies beyond n is never used for a result.
 */
#ifndef LATENTSTORE_ROWS_H
#define LATENTSTORE_ROWS_H

#include <stddef.h>
#include <stdint.h>

#define ROW_ALIGN 16 /* floats in the widest vector */
#define PIXEL_SLACK 4
#define CHUNK 32     /* positions that the projection takes at a time, so that all its inputs stay in L1 */
#define BLOCK 4      /* outputs that the projection computes at a time, so that its sums stay in registers */

/* The four bands of one level: index = 2 * (vertical high) + (horizontal high). */
enum { BAND_LL, BAND_HL, BAND_LH, BAND_HH };

struct row_ops {
    /* Two rows of 2n samples to one row of four bands, each `stride` floats after the one before. */
    void (*haar)(const float *top, const float *bottom, float *quad, size_t stride, size_t n);

    /* Its inverse. */
    void (*unhaar)(const float *quad, size_t stride, float *top, float *bottom, size_t n);

    /* One lifting step with tap c in both directions at once, for the row `row` between `above` and `below`.
     * target is BAND_LL (the low bands are changed from the high ones) or BAND_HH (the other way round).
     * Each of the three rows holds four bands, with one valid value before and after its n. */
    void (*lift)(const float *above, const float *row, const float *below, size_t stride, float *const out[4],
                 size_t n, float c, int target);

    /* Interleaved 8-bit pixels minus 128 to `colours` planar rows, each `stride` floats after the one before. */
    void (*load_pixels)(const uint8_t *pixels, size_t n, int colours, float *rows, size_t stride);

    /* Planar rows to interleaved pixels: floor(x + 128.5), limited to 0..255. Writes whole vectors of pixels, and
     * PIXEL_SLACK bytes more. */
    void (*store_pixels)(const float *rows, size_t stride, size_t n, int colours, uint8_t *pixels);

    /* out[CHUNK] = a + sign * b; b may be NULL. */
    void (*combine)(const float *a, const float *b, int sign, float *out);

    /* out[k][CHUNK] = sum over i of weights[i][k] * in[index[i]][CHUNK], in the order of i, for BLOCK outputs. */
    void (*project)(const float *in, const int32_t *index, size_t terms, const float *weights, float *const out[BLOCK]);

    /* out = x * factor, over CHUNK. */
    void (*scale)(const float *x, float factor, float *out);

    /* sign(x) * floor(|x| * inv_step + rounding), limited to +-127, over CHUNK; returns how many of the first
     * `count` were limited. */
    size_t (*quantise)(const float *x, float inv_step, float rounding, size_t count, int8_t *out);

    /* sign(q) * (|q| - (|q| == 1 ? delta1 : delta2)) * step, over CHUNK. */
    void (*dequantise)(const int8_t *q, float step, float delta1, float delta2, float *out);
};

extern const struct row_ops rows_portable;
#if defined(__x86_64__)
extern const struct row_ops rows_avx2;
extern const struct row_ops rows_avx512;
#endif

/* The set of the path in use. */
const struct row_ops *row_ops(void);

#endif
