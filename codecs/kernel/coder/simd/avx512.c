/* The coder's inner loops for AVX-512 (F, BW, DQ, VL). */
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2,popcnt,prefer-vector-width=512")
#endif
#include "coder/coder.h"

#include <immintrin.h>
#include <string.h>

#include "coder/simd/vec_avx512.h"

#define VARIANTS_BY_STREAMS 1
#define SIDE_BY_SIDE 1
#include "coder/simd/template.h"
#include "coder/simd/adaptive.h"

static void cross(const ls_geometry *g, int planes, const uint8_t *const *pairs, const uint16_t (*weights)[LS_MAX_LANES],
                  uint16_t *restrict context)
{
    const uint8_t *used[LS_MAX_GROUP];
    __m512i weight[LS_MAX_GROUP];
    int count = 0;
    for (int p = 0; p < planes; p++)
        if (pairs[p]) {
            used[count] = pairs[p];
            weight[count++] = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)weights[p]));
        }
    /* flat planes are padded, so the last block may run over */
    for (ptrdiff_t i = 0; i < g->size; i += 32) {
        __m512i sum = _mm512_setzero_si512();
        for (int p = 0; p < count; p++)
            sum = _mm512_adds_epi16(sum, _mm512_maddubs_epi16(_mm512_loadu_si512(used[p] + 2 * i), weight[p]));
        _mm512_storeu_si512(context + i, sum);
    }
}

/* floor(x / freq) by a 32-bit reciprocal is at most one too small */
static void encode_plane(const ls_coder *coder, const ls_geometry *g, const uint16_t *restrict codes, uint32_t *states,
                         uint8_t **end)
{
    if (g->wide != 16) {
        encode_plane_scalar(coder, g, codes, states, end);
        return;
    }
    __m512i x = _mm512_loadu_si512(states);
    const int precision = coder->precision;
    const __m512i low16 = _mm512_set1_epi32(0xffff);
    uint8_t *to = *end;
    for (ptrdiff_t at = g->size - 16; at >= 0; at -= 16) {
        const __m512i code = v_load_u16(codes + at);
        const __mmask16 active = _mm512_cmpneq_epi32_mask(code, low16);
        const __m512i pair = _mm512_mask_i32gather_epi32(low16, active, code, coder->freq_start, 4);
        const __m512i reciprocal = _mm512_mask_i32gather_epi32(low16, active, code, coder->reciprocal, 4);
        const __m512i freq = _mm512_and_si512(pair, low16), start = _mm512_srli_epi32(pair, 16);
        const __mmask16 full = _mm512_mask_cmpge_epu32_mask(active, v_srl(x, 32 - precision), freq);
        const int count = __builtin_popcount(full);
        to -= 2 * count;
        _mm256_mask_storeu_epi16(to, (__mmask16)((1u << count) - 1),
                                 _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, x)));
        x = _mm512_mask_srli_epi32(x, full, x, 16);
        const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, reciprocal), 32);
        const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(reciprocal, 32));
        __m512i quotient = _mm512_mask_blend_epi32(0xaaaa, even, odd);
        __m512i rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(quotient, freq));
        const __mmask16 more = _mm512_cmpge_epu32_mask(rest, freq);
        quotient = _mm512_mask_add_epi32(quotient, more, quotient, _mm512_set1_epi32(1));
        rest = _mm512_mask_sub_epi32(rest, more, rest, freq);
        x = _mm512_mask_add_epi32(x, active, v_sll(quotient, precision), _mm512_add_epi32(rest, start));
    }
    _mm512_storeu_si512(states, x);
    *end = to;
}

const ls_path ls_path_avx512 = {
    magnitudes,    cross,        signed_cross,   own_predictions, own_contexts, decode_planes, find_taken,
    decode_values, encode_plane, row_magnitudes, decode_rows,     code_rows,    choose_rows,   "avx512",
};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ls_no_avx512;
#endif
