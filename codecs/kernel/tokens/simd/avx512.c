/* The loops over values for AVX-512 (F, BW, DQ, VL). */
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2,popcnt,prefer-vector-width=512")
#endif
#include "coder/coder.h"
#include "tokens/tokens.h"

#include <immintrin.h>
#include <string.h>

#include "coder/simd/vec_avx512.h"

#define LOW_BITS(X, COUNT) _bzhi_u64(X, COUNT)
#define EIGHT_OF(BASE, AT) _mm256_i32gather_epi32((const int *)(const void *)(BASE), AT, 4)
#include "tokens/simd/tokens_avx2.h"
#include "tokens/simd/template.h"
#include "tokens/simd/code_avx2.h"

const tok_path tok_path_avx512 = {read_loop, values_loop, tokens_loop, code_avx2};

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int tok_no_avx512;
#endif
