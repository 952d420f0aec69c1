/* Values and memory that the seeded fuzzer and the targets take, and how they fail. */
#include "fuzz.h"

#include <math.h>
#include <stdio.h>

float any_float(void)
{
    const float sign = one_in(2) ? -1.0f : 1.0f;
    switch (between(0, 9)) {
    case 0:
        return sign * INFINITY;
    case 1:
        return NAN;
    case 2:
        return sign * ldexpf(1.0f, (int)between(-149, 127));
    case 3:
        return sign * (float)between(0, 300);
    default:
        return sign * ldexpf((float)between(0, 1 << 20), (int)between(-30, -14));
    }
}

void *take(size_t bytes)
{
    void *memory = malloc(bytes);
    EXPECT(memory != NULL || bytes == 0);
    return memory;
}

float *floats(size_t count, int wild)
{
    float *f = take(count * sizeof *f);
    for (size_t i = 0; i < count; i++)
        f[i] = wild ? any_float() : (float)between(-1000, 1000) / 500;
    return f;
}

void fail(const char *file, int line, const char *expected)
{
    fprintf(stderr, "%s:%d: expected %s\n", file, line, expected);
    abort();
}
