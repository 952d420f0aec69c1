#include "targets/input.h"

static input source;
static uint64_t state;

uint8_t next_byte(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

uint32_t next_word(input *in)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        word |= (uint32_t)next_byte(in) << (8 * i);
    return word;
}

void chance_of(input *in)
{
    source = *in;
    seed_chance((uint64_t)(in->end - in->at));
}

uint64_t chance(void)
{
    if (source.at < source.end) {
        const uint64_t low = next_byte(&source);
        return (low | (uint64_t)next_byte(&source) << 8) * 0x0001000100010001u;
    }
    uint64_t x = state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void seed_chance(uint64_t seed)
{
    state = seed;
}

int64_t at_most(int64_t high, int64_t few)
{
    return few < high ? few : high;
}

void choose_path(unsigned choice)
{
    /* the portable one is slow under sanitizers */
    const int path = choice % 32 == 0 ? PATH_PORTABLE : choice % 2 ? PATH_AVX2 : -1;
    force_path(path < 0 || path_available(path) ? path : -1);
}
