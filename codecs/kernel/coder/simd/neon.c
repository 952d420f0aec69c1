/* The coder's inner loops for NEON, which every aarch64 processor has. */
#if defined(__aarch64__) && defined(__GNUC__)
#include "coder/coder.h"

#include <arm_neon.h>
#include <string.h>

#include "coder/simd/vec_neon.h"

#define VARIANTS_BY_STREAMS 0
#define SIDE_BY_SIDE 1
#include "coder/simd/template.h"
#include "coder/simd/adaptive.h"

static void cross(const ls_geometry *g, int planes, const uint8_t *const *pairs, const uint16_t (*weights)[LS_MAX_LANES],
                  uint16_t *restrict context)
{
    const uint8_t *used[LS_MAX_GROUP];
    uint8x16x2_t weight[LS_MAX_GROUP]; /* of the magnitudes, of the sums around them */
    int count = 0;
    for (int p = 0; p < planes; p++)
        if (pairs[p]) {
            used[count] = pairs[p];
            weight[count++] = vld2q_u8((const uint8_t *)weights[p]);
        }
    for (ptrdiff_t i = 0; i < g->size; i += 16) {
        int16x8_t lo = vdupq_n_s16(0), hi = lo;
        for (int p = 0; p < count; p++) {
            const uint8x16x2_t pair = vld2q_u8(used[p] + 2 * i);
            const uint8x16_t wa = weight[p].val[0], wb = weight[p].val[1];
            const uint16x8_t low = vmull_u8(vget_low_u8(pair.val[0]), vget_low_u8(wa));
            const uint16x8_t high = vmull_u8(vget_high_u8(pair.val[0]), vget_high_u8(wa));
            lo = vqaddq_s16(lo, (int16x8_t)vmlal_u8(low, vget_low_u8(pair.val[1]), vget_low_u8(wb)));
            hi = vqaddq_s16(hi, (int16x8_t)vmlal_u8(high, vget_high_u8(pair.val[1]), vget_high_u8(wb)));
        }
        vst1q_s16((int16_t *)context + i, lo);
        vst1q_s16((int16_t *)context + i + 8, hi);
    }
}

const ls_path ls_path_neon = {
    magnitudes,    cross,               signed_cross,   own_predictions, own_contexts, decode_planes, find_taken,
    decode_values, encode_plane_scalar, row_magnitudes, decode_rows,     code_rows,    choose_rows,   "neon",
};
#else
typedef int ls_no_neon;
#endif
