#include "cpu/cpu.h"

#include <stdatomic.h>
#include <stddef.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* The only state of the kernel. Every path gives the same bytes, so a change while others run is harmless. */
static _Atomic int chosen_path = -1;

#if defined(__x86_64__)
static int has_f16c(void) /* older compilers do not know the name */
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}
#endif

int path_available(int path)
{
    switch (path) {
    case PATH_PORTABLE:
        return 1;
#if defined(__x86_64__)
    case PATH_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
               has_f16c();
    case PATH_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    case PATH_NEON:
        return 1;
#endif
    default:
        return 0;
    }
}

static int best_path(void)
{
    if (path_available(PATH_AVX512))
        return PATH_AVX512;
    if (path_available(PATH_AVX2))
        return PATH_AVX2;
    return path_available(PATH_NEON) ? PATH_NEON : PATH_PORTABLE;
}

int kernel_path(void)
{
    int path = atomic_load_explicit(&chosen_path, memory_order_relaxed);
    if (path < 0) {
        path = best_path();
        atomic_store_explicit(&chosen_path, path, memory_order_relaxed);
    }
    return path;
}

int force_path(int path)
{
    if (path >= 0 && !path_available(path))
        return -1;
    atomic_store_explicit(&chosen_path, path < 0 ? best_path() : path, memory_order_relaxed);
    return 0;
}

const char *path_name(int path)
{
    static const char *const names[PATH_COUNT] = {"portable", "avx2", "avx512", "neon"};
    return path >= 0 && path < PATH_COUNT ? names[path] : NULL;
}
