/* Layers of trained decoders: what the seeded fuzzer does with them, by an input in the place of random numbers. */
#include "targets/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    choose_path(next_byte(&in));
    chance_of(&in);
    fuzz_network();
    return 0;
}
