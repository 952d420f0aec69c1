#if defined(__x86_64__)
#include "network/layer.h"

#include <immintrin.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define LAYER_NAME layer_avx2
#define TILE 6

struct sums {
    __m256i low, high;
};
struct weights {
    __m256i low, high;
};

static inline void sums_zero(struct sums *s)
{
    s->low = s->high = _mm256_setzero_si256();
}

static inline struct weights weights_load(const int16_t *pairs)
{
    return (struct weights){_mm256_loadu_si256((const __m256i *)pairs), _mm256_loadu_si256((const __m256i *)pairs + 1)};
}

static inline void sums_add(struct sums *s, struct weights w, const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    const __m256i all = _mm256_set1_epi32(both);
    s->low = _mm256_add_epi32(s->low, _mm256_madd_epi16(w.low, all));
    s->high = _mm256_add_epi32(s->high, _mm256_madd_epi16(w.high, all));
}

static inline void sums_store(const struct sums *s, int32_t *out)
{
    _mm256_storeu_si256((__m256i *)out, s->low);
    _mm256_storeu_si256((__m256i *)out + 1, s->high);
}

#include "network/template.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int layer_avx2_is_for_x86;
#endif
