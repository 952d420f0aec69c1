/* What the checks share: reproducible numbers, and a record of every byte that the first path gave. */
#ifndef LATENTSTORE_CHECK_H
#define LATENTSTORE_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* low to high, both included; the same sequence on every path and every machine */
int32_t between(int32_t low, int32_t high);
static inline int one_in(int n) { return between(1, n) == 1; }

/* memory; never fails */
void *take(size_t bytes);

/* numbers from -1.4 to 1.4 */
float *floats(size_t count);

/* Names what is being done, for messages. */
void doing(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The first path's bytes are recorded; those of every other path must be equal to them. */
void same(const char *what, const void *bytes, size_t size);

/* Ends the process with a message unless `good`. */
void expect(const char *what, int good);

void check_coder(void);
void check_front(void);
void check_lapped(void);
void check_tokens(void);

#endif
