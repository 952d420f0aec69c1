/* 16-byte vectors, which every compiler target here has or imitates; on aarch64 these are NEON. */
#include "cpu/cpu.h"

#define ROWS_NAME rows_portable
#define LANES 4
#include "wavelet/rows_template.h"

#define LAPPED_NAME lapped_portable
#include "lapped/template.h"

const struct row_ops *row_ops(void)
{
    switch (kernel_path()) {
#if defined(__x86_64__)
    case PATH_AVX2:
        return &rows_avx2;
    case PATH_AVX512:
        return &rows_avx512;
#endif
    default:
        return &rows_portable;
    }
}
