#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif

#define ROWS_NAME rows_avx512
#define LANES 16
#include "wavelet/rows_template.h"

#define LAPPED_NAME lapped_avx512
#include "lapped/template.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int rows_avx512_is_for_x86;
#endif
