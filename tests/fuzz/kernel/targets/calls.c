/* Every other call of the kernel: what the seeded fuzzer does, by an input in the place of random numbers. */
#include "targets/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    const unsigned choice = next_byte(&in);
    choose_path(choice / 8);
    chance_of(&in);
    /* the coder's calls take longest, and other targets have them too */
    if (choice % 8 < 4)
        fuzz_front();
    else if (choice % 8 < 7)
        fuzz_lapped();
    else
        fuzz_coder();
    return 0;
}
