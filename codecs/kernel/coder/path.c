/* Which path of the inner loops runs. */
#include "coder/coder.h"
#include "cpu/cpu.h"

const ls_path *ls_current_path(void)
{
    switch (kernel_path()) {
#if defined(__x86_64__) && defined(__GNUC__)
    case PATH_AVX512:
        return &ls_path_avx512;
    case PATH_AVX2:
        return &ls_path_avx2;
#elif defined(__aarch64__) && defined(__GNUC__)
    case PATH_NEON:
        return &ls_path_neon;
#endif
    default:
        return &ls_path_portable;
    }
}
