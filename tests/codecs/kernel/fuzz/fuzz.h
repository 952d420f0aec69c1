/* What the fuzzers share: reproducible chance, and memory that ends where it should. */
#ifndef LATENTSTORE_FUZZ_H
#define LATENTSTORE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Numbers of splitmix64; an iteration's seed is all that it takes to repeat it. */
uint64_t chance(void);
void seed_chance(uint64_t seed);

/* low to high, both included */
static inline int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(chance() % (uint64_t)(high - low + 1));
}

static inline int one_in(int n)
{
    return chance() % (uint64_t)n == 0;
}

/* any float: ordinary ones, huge and tiny ones, infinities, not a number */
float any_float(void);

/* memory of exactly this size, so that a sanitizer sees the first byte past it; never fails */
void *take(size_t bytes);

/* numbers from -2 to 2, or any if wild */
float *floats(size_t count, int wild);

/* says what and which seed it was, and stops */
_Noreturn void fail(const char *file, int line, const char *expected);

#define EXPECT(condition) ((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))

void fuzz_coder(void);
void fuzz_front(void);
void fuzz_lapped(void);

#endif
