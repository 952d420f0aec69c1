/* The coder's inner loops for AVX2. */
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi2,popcnt")
#endif
#include "coder/coder.h"

#include <immintrin.h>
#include <string.h>

#include "coder/simd/vec_avx2.h"

#define VARIANTS_BY_STREAMS 0
#define SIDE_BY_SIDE 1
#include "coder/simd/template.h"
#include "coder/simd/adaptive.h"

static void cross(const ls_geometry *g, int planes, const uint8_t *const *pairs, const uint16_t (*weights)[LS_MAX_LANES],
                  uint16_t *restrict context)
{
    const uint8_t *used[LS_MAX_GROUP];
    __m256i weight[LS_MAX_GROUP];
    int count = 0;
    for (int p = 0; p < planes; p++)
        if (pairs[p]) {
            used[count] = pairs[p];
            weight[count++] = _mm256_loadu_si256((const __m256i *)weights[p]);
        }
    for (ptrdiff_t i = 0; i < g->size; i += 16) {
        __m256i sum = _mm256_setzero_si256();
        for (int p = 0; p < count; p++) {
            const __m256i pair = _mm256_loadu_si256((const __m256i *)(used[p] + 2 * i));
            sum = _mm256_adds_epi16(sum, _mm256_maddubs_epi16(pair, weight[p]));
        }
        _mm256_storeu_si256((__m256i *)(context + i), sum);
    }
}

const ls_path ls_path_avx2 = {
    magnitudes,    cross,               signed_cross,   own_predictions, own_contexts, decode_planes, find_taken,
    decode_values, encode_plane_scalar, row_magnitudes, decode_rows,     code_rows,    choose_rows,   "avx2",
};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ls_no_avx2;
#endif
