#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define ROWS_NAME rows_avx2
#define LANES 8
#include "wavelet/rows_template.h"

#define LAPPED_NAME lapped_avx2
#include "lapped/template.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int rows_avx2_is_for_x86;
#endif
