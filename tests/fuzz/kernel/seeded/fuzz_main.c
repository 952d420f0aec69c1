/* fuzz SECONDS SEED: random calls of the kernel for so long, from that seed on. fuzz 0 SEED: the iteration of that seed
 * alone, to look at a failure: whatever fails tells its seed. */
#include "fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "cpu/cpu.h"

static uint64_t state, current_seed;

int64_t at_most(int64_t high, int64_t few)
{
    (void)few;
    return high;
}

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

/* run.sh has the sanitizers abort, too */
static void tell_seed(int signal_number)
{
    fprintf(stderr, "fuzz: seed %llu\n", (unsigned long long)current_seed);
    signal(signal_number, SIG_DFL);
}

static void iterate(uint64_t seed)
{
    current_seed = seed;
    seed_chance(seed);
    int path = (int)between(0, PATH_COUNT - 1);
    force_path(path_available(path) ? path : -1);
    if (one_in(4))
        fuzz_front();
    else if (one_in(4))
        fuzz_lapped();
    else if (one_in(6))
        fuzz_network();
    else if (one_in(4))
        fuzz_tensor();
    else
        fuzz_coder();
}

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? atof(argv[1]) : 10;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const time_t end = time(NULL) + (time_t)seconds;
    uint64_t count = 0;
    signal(SIGABRT, tell_seed);
    do
        iterate(seed + count++);
    while (seconds > 0 && time(NULL) < end);
    printf("fuzz: %llu iterations from seed %llu, nothing found\n", (unsigned long long)count, (unsigned long long)seed);
    return 0;
}
