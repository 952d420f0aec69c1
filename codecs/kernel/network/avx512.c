#if defined(__x86_64__)
#include "network/layer.h"

#include <immintrin.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif

#define LAYER_NAME layer_avx512
#define TILE 12

struct sums {
    __m512i all;
};
struct weights {
    __m512i all;
};

static inline void sums_zero(struct sums *s)
{
    s->all = _mm512_setzero_si512();
}

static inline struct weights weights_load(const int16_t *pairs)
{
    return (struct weights){_mm512_loadu_si512(pairs)};
}

static inline void sums_add(struct sums *s, struct weights w, const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    s->all = _mm512_add_epi32(s->all, _mm512_madd_epi16(w.all, _mm512_set1_epi32(both)));
}

static inline void sums_store(const struct sums *s, int32_t *out)
{
    _mm512_storeu_si512(out, s->all);
}

#include "network/template.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int layer_avx512_is_for_x86;
#endif
