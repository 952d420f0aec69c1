/* The loops of a layer, for one width of vectors. The file that includes this defines
 *   LAYER_NAME   the function;
 *   TILE         how many positions are computed at a time;
 *   struct sums, and on it, each of LAYER_PANEL outputs: sums_zero(s), sums_store(s, int32_t out[LAYER_PANEL]);
 *   struct weights, weights_load(const int16_t *pairs), which takes LAYER_PANEL pairs;
 *   sums_add(s, weights, const int16_t *pair): adds to each sum both products of its pair of weights and of `pair`.
 */
#include "network/layer.h"

/* A position's row of inputs is read again for every panel: so many rows stay in the cache meanwhile. */
#define LAYER_ROWS 96

/* Half the error function of x / sqrt(2), as an odd polynomial on +-4.25, where it is 0.49999: within 2e-5. */
static inline float layer_half_erf(float x)
{
    const float z = x < -4.25f ? -4.25f : x > 4.25f ? 4.25f : x;
    const float v = z * z;
    float p = 4.5472431375870315e-11f;
    p = p * v + -4.5154373573552675e-09f;
    p = p * v + 1.9862019939864695e-07f;
    p = p * v + -5.147587216924876e-06f;
    p = p * v + 8.848984725773335e-05f;
    p = p * v + -0.001079081790521741f;
    p = p * v + 0.009718789719045162f;
    p = p * v + -0.06619029492139816f;
    p = p * v + 0.398819237947464f;
    return z * p;
}

/* To the nearest integer, halves to even ones: adding this leaves no fraction. */
static inline int16_t layer_code(float x)
{
    const float most = (float)LAYER_CODE, whole = 12582912.0f;
    const float limited = x < -most ? -most : x > most ? most : x;
    return (int16_t)((limited + whole) - whole);
}

static inline void layer_finish(const struct network_layer *layer, size_t panel, size_t outputs,
                                const int32_t sums[LAYER_PANEL], float *stream, int16_t *codes_out)
{
    const float *scale = layer->scale + panel * LAYER_PANEL, *bias = layer->bias + panel * LAYER_PANEL;
    float result[LAYER_PANEL];
    for (size_t i = 0; i < LAYER_PANEL; i++)
        result[i] = (float)sums[i] * scale[i] + bias[i];
    if (stream != NULL) {
        if (layer->added)
            for (size_t i = 0; i < outputs; i++)
                result[i] = stream[i] + result[i];
        for (size_t i = 0; i < outputs; i++)
            stream[i] = result[i];
    }
    if (codes_out == NULL)
        return;
    if (layer->bent)
        for (size_t i = 0; i < LAYER_PANEL; i++)
            result[i] = result[i] * (0.5f + layer_half_erf(result[i]));
    int16_t codes[LAYER_PANEL];
    for (size_t i = 0; i < LAYER_PANEL; i++)
        codes[i] = layer_code(result[i] * layer->unit);
    for (size_t i = 0; i < outputs; i++)
        codes_out[i] = codes[i];
}

/* `count` positions, at most TILE: a constant wherever this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void layer_tile(const struct network_layer *layer, size_t panel,
                                                             const int16_t *codes_in, size_t count, float *stream,
                                                             int16_t *codes_out)
{
    const size_t inputs = 2 * layer->pairs, start = panel * LAYER_PANEL;
    const size_t outputs = layer->outputs - start < LAYER_PANEL ? layer->outputs - start : LAYER_PANEL;
    const int16_t *weight = layer->weight + panel * layer->taps * layer->pairs * LAYER_PANEL * 2;
    struct sums sums[TILE];
#pragma GCC unroll 16
    for (size_t n = 0; n < count; n++)
        sums_zero(&sums[n]);
    for (size_t tap = 0; tap < layer->taps; tap++) {
        const int16_t *row = codes_in + (ptrdiff_t)layer->offsets[tap] * (ptrdiff_t)inputs;
        for (size_t pair = 0; pair < layer->pairs; pair++, weight += LAYER_PANEL * 2) {
            const struct weights some = weights_load(weight);
#pragma GCC unroll 16
            for (size_t n = 0; n < count; n++)
                sums_add(&sums[n], some, row + n * inputs + 2 * pair);
        }
    }
#pragma GCC unroll 16
    for (size_t n = 0; n < count; n++) {
        int32_t whole[LAYER_PANEL];
        sums_store(&sums[n], whole);
        layer_finish(layer, panel, outputs, whole, stream == NULL ? NULL : stream + n * layer->outputs + start,
                     codes_out == NULL ? NULL : codes_out + n * layer->outputs + start);
    }
}

void LAYER_NAME(const struct network_layer *layer, const int16_t *codes_in, size_t first, size_t count, float *stream,
                int16_t *codes_out)
{
    const size_t panels = (layer->outputs + LAYER_PANEL - 1) / LAYER_PANEL;
    for (size_t begin = first; begin < first + count; begin += LAYER_ROWS) {
        const size_t end = begin + LAYER_ROWS < first + count ? begin + LAYER_ROWS : first + count;
        for (size_t panel = 0; panel < panels; panel++) {
            size_t row = begin;
            for (; row + TILE <= end; row += TILE)
                layer_tile(layer, panel, codes_in + row * 2 * layer->pairs, TILE,
                           stream == NULL ? NULL : stream + row * layer->outputs,
                           codes_out == NULL ? NULL : codes_out + row * layer->outputs);
            for (; row < end; row++)
                layer_tile(layer, panel, codes_in + row * 2 * layer->pairs, 1,
                           stream == NULL ? NULL : stream + row * layer->outputs,
                           codes_out == NULL ? NULL : codes_out + row * layer->outputs);
        }
    }
}
