/* The transforms of images and of audio, with tables of any numbers: what the seeded fuzzer does with them, by an input
 * in the place of random numbers. */
#include "targets/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    const unsigned choice = next_byte(&in);
    choose_path(choice / 2);
    chance_of(&in);
    if (choice % 2)
        fuzz_lapped();
    else
        fuzz_front();
    return 0;
}
