/* Group blobs of images. */
#include "targets/groups.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_groups(data, size, 0);
    return 0;
}
