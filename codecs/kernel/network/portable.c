#include "cpu/cpu.h"
#include "network/layer.h"

#include <string.h>

#define LAYER_NAME layer_portable
#define TILE 2

struct sums {
    int32_t of[16];
};
struct weights {
    const int16_t *pairs;
};

static inline void sums_zero(struct sums *s)
{
    memset(s, 0, sizeof *s);
}

static inline struct weights weights_load(const int16_t *pairs)
{
    return (struct weights){pairs};
}

/* Two products of 16 bits fit 32; their sums are kept within 32 by whoever makes the weights. */
static inline void sums_add(struct sums *s, struct weights w, const int16_t *pair)
{
    for (int i = 0; i < 16; i++) {
        const uint32_t first = (uint32_t)(w.pairs[2 * i] * pair[0]), second = (uint32_t)(w.pairs[2 * i + 1] * pair[1]);
        s->of[i] = (int32_t)((uint32_t)s->of[i] + first + second);
    }
}

static inline void sums_store(const struct sums *s, int32_t *out)
{
    memcpy(out, s->of, sizeof s->of);
}

#include "network/template.h"

void network_layer(const struct network_layer *layer, const int16_t *codes_in, size_t first, size_t count,
                   float *stream, int16_t *codes_out)
{
    switch (kernel_path()) {
#if defined(__x86_64__)
    case PATH_AVX2:
        layer_avx2(layer, codes_in, first, count, stream, codes_out);
        return;
    case PATH_AVX512:
        layer_avx512(layer, codes_in, first, count, stream, codes_out);
        return;
#elif defined(__aarch64__)
    case PATH_NEON:
        layer_neon(layer, codes_in, first, count, stream, codes_out);
        return;
#endif
    default:
        layer_portable(layer, codes_in, first, count, stream, codes_out);
    }
}
