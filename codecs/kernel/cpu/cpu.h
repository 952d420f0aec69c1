/* Which vector path runs: chosen once from what the processor has, never from what the compiler was told. */
#ifndef LATENTSTORE_CPU_H
#define LATENTSTORE_CPU_H

enum kernel_path { PATH_PORTABLE, PATH_AVX2, PATH_AVX512, PATH_NEON, PATH_COUNT };

/* The path in use. Safe from any thread. */
int kernel_path(void);

/* 1 if this build and this processor can run the path. */
int path_available(int path);

/* Uses `path` from now on in this process, for tests; -1 goes back to the best one. 0, or -1 if not available. */
int force_path(int path);

/* "portable", "avx2", "avx512", "neon"; NULL for anything else. */
const char *path_name(int path);

#endif
