/* The inner loops for AVX2. */
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,f16c")
#endif
#include "tensor/tensor.h"

#include <float.h>
#include <immintrin.h>
#include <string.h>

#include "tensor/simd/block_avx2.h"
#include "tensor/simd/output.h"
#include "tensor/simd/quantise.h"
#include "tensor/simd/quantise_avx2.h"
#include "tensor/simd/read_avx2.h"
#include "tensor/simd/code_avx2.h"
#include "tensor/simd/trellis.h"
#include "tensor/simd/trellis_avx2.h"
#include "tensor/simd/widen.h"
#include "tensor/simd/widen_avx2.h"
#include "tensor/simd/write_avx2.h"

const tensor_path tensor_path_avx2 = {
    predict, contexts,       rebuild,        settle, subtract,  quantise,     quantise_finely,
    choose,  unfold,         read_residuals, code_residuals,    widen,        write_row,       write_across,
};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int tensor_avx2_is_for_x86;
#endif
