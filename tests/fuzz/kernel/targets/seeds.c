/* seeds FOLDER ADAPTIVE: writes blobs that the encoder made, as inputs of group_image or group_audio, into a folder.
 *
 * A fuzzer does not find by itself a payload that ends where it should. */
#define SEEDS
#include "targets/groups.h"

#include <stdio.h>

static void put(FILE *file, unsigned byte)
{
    fputc((int)(byte & 255), file);
}

/* Values of -high to high, and a few of any size; of every `apart` positions about one holds any. */
static int8_t *some_latent(const ls_coder *coder, size_t area, int64_t high, int apart)
{
    const size_t channels = (size_t)coder->channels;
    int8_t *latent = take(channels * area);
    memset(latent, 0, channels * area);
    for (size_t i = 0; i < area; i++)
        if (one_in(apart))
            for (size_t k = 0; k < channels; k++)
                latent[k * area + i] = (int8_t)(one_in(30) ? between(-128, 127) : between(-high, high));
    return latent;
}

static void write_blob(FILE *file, const ls_coder *coder, int height, int width, int64_t high, int apart)
{
    ls_group group = {.lanes = coder->adaptive ? 1 : ls_lanes(height, width),
                      .model = (int)between(0, coder->models - 1),
                      .quality = 1,
                      .height = height,
                      .width = width};
    int8_t *latent = some_latent(coder, (size_t)height * (size_t)width, high, apart);
    uint8_t *payload, header[32];
    EXPECT(!ls_encode_group(coder, &group, latent, &payload));
    group.payload = payload;
    const size_t size = ls_group_header(header, &group, any_sha256), all = size + group.payload_size;
    put(file, (unsigned)all);
    put(file, (unsigned)(all >> 8));
    fwrite(header, 1, size, file);
    fwrite(payload, 1, group.payload_size, file);
    free(payload);
    free(latent);
}

int main(int argc, char **argv)
{
    static const int shapes[][2] = {{1, 1}, {2, 3}, {3, 7}, {5, 9}, {36, 36}, {64, 64}, {46, 45}, {1, 33}};
    EXPECT(argc == 3);
    const int adaptive = atoi(argv[2]);
    for (unsigned n = 0; n < 96; n++) {
        char path[4096];
        const ls_coder *coder = coder_of(n % CODERS, adaptive);
        seed_chance(n);
        const int64_t high = between(0, 6);
        const int apart = one_in(2) ? 1 : (int)between(4, 20);
        const int *shape = shapes[n / CODERS % (sizeof shapes / sizeof *shapes)];
        if (shape[0] > 30 && coder->channels > 1)
            shape = shapes[n % 4];
        const int large = shape[0] > 30, count = large ? 1 : (int)between(1, 4);
        snprintf(path, sizeof path, "%s/seed-%02u", argv[1], n);
        FILE *file = fopen(path, "wb");
        EXPECT(file);
        put(file, n % CODERS + CODERS * (n / CODERS % PATH_COUNT));
        put(file, (one_in(4) ? COMPARE : 0) | (adaptive && one_in(2) ? MANY_WIDTHS : 0));
        for (int i = 0; i < count; i++)
            write_blob(file, coder, adaptive ? 1 : shape[0], adaptive && large ? 40 : shape[1], high, apart);
        fclose(file);
    }
    return 0;
}
