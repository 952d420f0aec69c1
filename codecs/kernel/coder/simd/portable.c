/* The coder's inner loops in plain C: any processor, and the oracle of the vector paths. */
#include "coder/coder.h"

#include <string.h>

#include "coder/simd/vec_portable.h"

#define VARIANTS_BY_STREAMS 0
#define SIDE_BY_SIDE 0
#include "coder/simd/template.h"
#include "coder/simd/adaptive.h"

static void cross(const ls_geometry *g, int planes, const uint8_t *const *pairs, const uint16_t (*weights)[LS_MAX_LANES],
                  uint16_t *restrict context)
{
    memset(context, 0, (size_t)g->size * 2);
    for (int p = 0; p < planes; p++) {
        if (!pairs[p])
            continue;
        for (ptrdiff_t i = 0; i < g->size; i++) {
            const uint16_t w = weights[p][i % LS_MAX_LANES];
            uint16_t sum = (uint16_t)(context[i] + pairs[p][2 * i] * (w & 255) + pairs[p][2 * i + 1] * (w >> 8));
            context[i] = sum > 32767 ? 32767 : sum;
        }
    }
}

const ls_path ls_path_portable = {
    magnitudes, cross,               signed_cross,   own_predictions, own_contexts, decode_planes, find_taken,
    NULL,       encode_plane_scalar, row_magnitudes, decode_rows,     code_rows,    choose_rows,   "portable",
};
