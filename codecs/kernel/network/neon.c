#if defined(__aarch64__)
#include "network/layer.h"

#include <arm_neon.h>

#define LAYER_NAME layer_neon
#define TILE 4

struct sums {
    int32x4_t of[4];
};
struct weights {
    int16x8x2_t low, high; /* the first and the second of each pair, of eight outputs */
};

static inline void sums_zero(struct sums *s)
{
    for (int i = 0; i < 4; i++)
        s->of[i] = vdupq_n_s32(0);
}

static inline struct weights weights_load(const int16_t *pairs)
{
    return (struct weights){vld2q_s16(pairs), vld2q_s16(pairs + 16)};
}

static inline void sums_add(struct sums *s, struct weights w, const int16_t *pair)
{
    for (int i = 0; i < 2; i++) {
        s->of[0] = vmlal_n_s16(s->of[0], vget_low_s16(w.low.val[i]), pair[i]);
        s->of[1] = vmlal_n_s16(s->of[1], vget_high_s16(w.low.val[i]), pair[i]);
        s->of[2] = vmlal_n_s16(s->of[2], vget_low_s16(w.high.val[i]), pair[i]);
        s->of[3] = vmlal_n_s16(s->of[3], vget_high_s16(w.high.val[i]), pair[i]);
    }
}

static inline void sums_store(const struct sums *s, int32_t *out)
{
    for (int i = 0; i < 4; i++)
        vst1q_s32(out + 4 * i, s->of[i]);
}

#include "network/template.h"
#else
typedef int layer_neon_is_for_arm;
#endif
