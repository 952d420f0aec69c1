/* Loops of the lapped transform, one set per vector width, as in rows.h: every operation is a single float32 operation,
 * in a fixed order, so all sets give the same bits. */
#ifndef LATENTSTORE_LAPPED_LOOPS_H
#define LATENTSTORE_LAPPED_LOOPS_H

#include "lapped/lapped.h"

/* A value of a latent that is not zero. */
struct term {
    uint32_t channel;
    float value;
};

struct lapped_ops {
    /* n interleaved samples to rows, `stride` floats apart, and back. */
    void (*split)(const float *samples, size_t inputs, size_t n, float *rows, size_t stride);
    void (*join)(const float *rows, size_t stride, size_t inputs, size_t n, float *samples);

    /* Row j of out is the sum over i, ascending, of matrix[j * down + i * right] times row i, beginning with 0. Works on
     * whole vectors: strides are multiples of PANEL floats. */
    void (*mix)(const float *matrix, size_t down, size_t right, size_t inputs, const float *rows, size_t stride,
                size_t n, float *out);

    /* out[i][lane] = sum over j, ascending from 0, of panel[j][lane] * mixed[i * hop + j], for `count` instants i; reads
     * and writes as if count were the next multiple of INSTANTS. */
    void (*correlate)(const float *panel, const float *mixed, size_t hop, size_t count, float *out);

    /* sign(x) * floor(|x| + rounding[lane]), limited to +-127, of x[i][lane]; outside[lane] grows by how many were. */
    void (*quantise)(const float *x, const float *rounding, size_t count, int8_t *out, int32_t *outside);

    /* x[i][lane] = x[i][lane] * factor[lane] */
    void (*scale)(float *x, const float *factor, size_t count);

    /* sums[j] += value * basis[channel * stride + j] for j below n, term by term. */
    void (*add_terms)(float *sums, size_t n, const float *basis, size_t stride, const struct term *terms, size_t count);
};

#define INSTANTS 12 /* sums of this many instants fill the registers of the widest vectors */

extern const struct lapped_ops lapped_portable;
#if defined(__x86_64__)
extern const struct lapped_ops lapped_avx2;
extern const struct lapped_ops lapped_avx512;
#endif

#endif
