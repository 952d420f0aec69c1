/* One layer of a refinement network, over rows of positions: a convolution of 16-bit integers, whose sums are exact,
 * and a few float32 operations on every sum, in a fixed order. So every path gives the same bits.
 */
#ifndef LATENTSTORE_NETWORK_LAYER_H
#define LATENTSTORE_NETWORK_LAYER_H

#include <stddef.h>
#include <stdint.h>

#define LAYER_PANEL 16   /* outputs that are computed at a time */
#define LAYER_CODE 8191  /* the largest magnitude of a code */
#define LAYER_MAX_TAPS 9

/* taps, offsets: where the positions lie that one position is made of, in rows before or after its own.
 * pairs: half the inputs of a position; weight: int16 (panels, taps, pairs, LAYER_PANEL, 2). scale, bias: one for each
 * output, in whole panels. outputs: those that are written.
 * added: the result is added to the stream, else it takes its place. bent: codes are made of the GELU of the result.
 * unit: codes in one unit of the result. */
struct network_layer {
    size_t taps, pairs, outputs;
    const int32_t *offsets;
    const int16_t *weight;
    const float *scale, *bias;
    int added, bent;
    float unit;
};

/* The rows first to first + count - 1. codes_in: int16 (rows, 2 * pairs). stream: float32 (rows, outputs), or NULL if
 * the result is not kept and nothing is added. codes_out: int16 (rows, outputs), or NULL. */
void network_layer(const struct network_layer *layer, const int16_t *codes_in, size_t first, size_t count,
                   float *stream, int16_t *codes_out);

typedef void layer_loop(const struct network_layer *layer, const int16_t *codes_in, size_t first, size_t count,
                        float *stream, int16_t *codes_out);
layer_loop layer_portable;
#if defined(__x86_64__)
layer_loop layer_avx2, layer_avx512;
#elif defined(__aarch64__)
layer_loop layer_neon;
#endif

#endif
