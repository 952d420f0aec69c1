/* fuzz SECONDS SEED: random calls of the kernel for so long, from that seed on. fuzz 0 SEED: the iteration of that seed
 * alone, to look at a failure, whose seed stands in the last line before the sanitizer's report. */
#include "fuzz.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../codecs/kernel/cpu.h"

static uint64_t state, current_seed;

uint64_t chance(void)
{
    uint64_t x = state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void seed_chance(uint64_t seed)
{
    state = seed;
}

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

/* Called by the sanitizers as they find something. */
void __asan_on_error(void);
void __asan_on_error(void)
{
    fprintf(stderr, "\nfuzz: seed %llu\n", (unsigned long long)current_seed);
}

static void iterate(uint64_t seed)
{
    current_seed = seed;
    seed_chance(seed);
    int path = (int)between(0, PATH_COUNT - 1);
    force_path(path_available(path) ? path : -1);
    if (one_in(4))
        fuzz_front();
    else
        fuzz_coder();
}

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? atof(argv[1]) : 10;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const time_t end = time(NULL) + (time_t)seconds;
    uint64_t count = 0;
    do
        iterate(seed + count++);
    while (seconds > 0 && time(NULL) < end);
    printf("fuzz: %llu iterations from seed %llu, nothing found\n", (unsigned long long)count, (unsigned long long)seed);
    return 0;
}
