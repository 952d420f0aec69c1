/* Every other call of the kernel: what the seeded fuzzer does, by an input in the place of random numbers. */
#include "targets/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    const unsigned choice = next_byte(&in);
    choose_path(choice / 4);
    chance_of(&in);
    switch (choice % 4) {
    case 0:
        fuzz_front();
        break;
    case 1:
        fuzz_lapped();
        break;
    default:
        fuzz_coder();
    }
    return 0;
}
