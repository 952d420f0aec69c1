/* What the fuzzers share: reproducible chance, and memory that ends where it should. */
#ifndef LATENTSTORE_FUZZ_H
#define LATENTSTORE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* The seeded fuzzer's are numbers of splitmix64: an iteration's seed is all that it takes to repeat it. Those of a
 * target of libFuzzer are its input. */
uint64_t chance(void);
void seed_chance(uint64_t seed);

/* A bound on sizes: `high`, or in targets of libFuzzer, which run thousands of times a second, `few`. */
int64_t at_most(int64_t high, int64_t few);

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

#include "coder/coder.h"

/* a coder of random weights and tables; NULL where chance gave a table that is refused */
ls_coder *random_coder(int adaptive);

#define EXPECT(condition) ((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))

void fuzz_coder(void);
void fuzz_front(void);
void fuzz_lapped(void);
void fuzz_network(void);
void fuzz_tensor(void);

#endif
