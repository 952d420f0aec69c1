/* Group blobs of audio, of one length or of many. */
#include "targets/groups.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_groups(data, size, 1);
    return 0;
}
