/* Which path of the loops runs. */
#include "tokens/tokens.h"

#include "cpu/cpu.h"

const tok_path *tok_current_path(void)
{
    switch (kernel_path()) {
#if defined(__x86_64__) && defined(__GNUC__)
    case PATH_AVX512:
        return &tok_path_avx512;
    case PATH_AVX2:
        return &tok_path_avx2;
#elif defined(__aarch64__) && defined(__GNUC__)
    case PATH_NEON:
        return &tok_path_neon;
#endif
    default:
        return &tok_path_portable;
    }
}
