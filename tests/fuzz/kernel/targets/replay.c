/* In libFuzzer's place where it is not: calls a target once for each of the files named. */
#include "targets/input.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file || fseek(file, 0, SEEK_END)) {
            perror(argv[i]);
            return 1;
        }
        const long size = ftell(file);
        uint8_t *data = take((size_t)size); /* of exactly this size, so that a sanitizer sees the first byte past it */
        rewind(file);
        EXPECT(fread(data, 1, (size_t)size, file) == (size_t)size);
        fclose(file);
        LLVMFuzzerTestOneInput(data, (size_t)size);
        free(data);
    }
    printf("%d inputs replayed, nothing found\n", argc - 1);
    return 0;
}
