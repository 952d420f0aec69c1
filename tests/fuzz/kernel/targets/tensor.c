/* The coder of tensors: codings, tensors and changed payloads of an input in the place of random numbers. */
#include "targets/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    choose_path(next_byte(&in));
    chance_of(&in);
    fuzz_tensor();
    return 0;
}
