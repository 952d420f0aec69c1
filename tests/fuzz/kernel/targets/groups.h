/* Group blobs of images, or of audio, as they come from outside.
 *
 * An input: a byte that chooses the coder and the vector path; a byte of flags; then blobs, each behind its length in
 * two bytes. A blob whose checksum is wrong is refused at once, so in most inputs it is made right. Whatever is decoded
 * must come out the same on the portable path, or survive encoding and decoding. */
#ifndef LATENTSTORE_FUZZ_GROUPS_H
#define LATENTSTORE_FUZZ_GROUPS_H

#include "targets/input.h"

#include <string.h>

enum { AS_THEY_ARE = 1, MANY_WIDTHS = 2, COMPARE = 4 }; /* flags */
enum { CODERS = 8, MOST_BLOBS = 20, MOST_SYMBOLS = 1024, MOST_STEPS = 330 };

static const uint8_t any_sha256[32] = {1, 2, 3};

/* The coders are made at the first call, alike in every run; the seeds are ones whose tables are not refused. */
static const ls_coder *coder_of(unsigned choice, int adaptive)
{
    static ls_coder *made[CODERS];
    if (!made[choice]) {
        input none = {0};
        chance_of(&none);
        for (uint64_t seed = 100 * choice; !made[choice]; seed++) {
            seed_chance(seed);
            made[choice] = random_coder(adaptive);
        }
    }
    return made[choice];
}

#ifndef SEEDS

static int read_number(const uint8_t **at, const uint8_t *end, uint32_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 28 && *at < end; shift += 7) {
        const uint8_t byte = *(*at)++;
        *value |= (uint32_t)(byte & 127) << shift;
        if (!(byte & 128))
            return 1;
    }
    return 0;
}

/* Height and width that a blob claims, and where its checksum stands; NULL where it has none. */
static uint8_t *checksum_of(uint8_t *blob, size_t size, uint32_t *height, uint32_t *width)
{
    const uint8_t *at = blob + 3, *end = blob + size;
    uint32_t escapes;
    if (size < 9 || !read_number(&at, end, height) || !read_number(&at, end, width) ||
        (blob[0] & 1 && !read_number(&at, end, &escapes)) || end - at < 4)
        return NULL;
    return blob + (at - blob);
}

static void seal(uint8_t *blob, size_t size)
{
    uint32_t height, width;
    uint8_t *at = checksum_of(blob, size, &height, &width);
    if (!at)
        return;
    uint32_t crc = ls_crc32c(ls_crc32c(0, any_sha256, 32), blob, (size_t)(at - blob));
    crc = ls_crc32c(crc, at + 4, (size_t)(blob + size - at - 4));
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(crc >> (8 * i));
}

/* The shape to ask for: what the blob claims, if that is quickly decoded. */
static void shape_of(uint8_t *blob, size_t size, const ls_coder *coder, int *height, int *width)
{
    const int channels = coder->channels;
    uint32_t h, w;
    *height = 1, *width = 9;
    if (!checksum_of(blob, size, &h, &w) || !ls_plane_fits(h, w) || (coder->adaptive && h != 1))
        return;
    const int lanes = ls_lanes((int)h, (int)w);
    const uint64_t steps = (uint64_t)w * (h / (unsigned)lanes + 1) * (unsigned)channels;
    if (steps <= MOST_STEPS && (uint64_t)h * w * (unsigned)channels <= 4 * MOST_SYMBOLS)
        *height = (int)h, *width = (int)w;
}

typedef struct {
    int count, height, width[MOST_BLOBS], many;
    uint8_t *blob[MOST_BLOBS];
    size_t size[MOST_BLOBS], symbols;
} blobs;

static void read_blobs(blobs *b, input *in, unsigned flags, const ls_coder *coder)
{
    memset(b, 0, sizeof *b);
    b->many = (flags & MANY_WIDTHS) != 0;
    while (in->at < in->end && b->count < MOST_BLOBS) {
        size_t size = next_byte(in);
        size |= (size_t)next_byte(in) << 8;
        if (size > (size_t)(in->end - in->at))
            size = (size_t)(in->end - in->at);
        uint8_t *blob = take(size);
        if (size)
            memcpy(blob, in->at, size);
        in->at += size;
        if (!(flags & AS_THEY_ARE))
            seal(blob, size);
        int height, width;
        shape_of(blob, size, coder, &height, &width);
        if (b->count && !b->many)
            height = b->height, width = b->width[0];
        const size_t symbols = (size_t)coder->channels * (size_t)height * (size_t)width;
        if (b->count && b->symbols + symbols > MOST_SYMBOLS) {
            free(blob);
            break;
        }
        b->height = height;
        b->width[b->count] = width;
        b->symbols += symbols;
        b->blob[b->count] = blob;
        b->size[b->count++] = size;
    }
}

/* out: b->symbols values */
static int decode(const ls_coder *coder, const blobs *b, int8_t *out)
{
    ls_job jobs[MOST_BLOBS];
    int failed = -1, status;
    size_t at = 0;
    for (int i = 0; i < b->count; i++) {
        jobs[i] = (ls_job){.blob = b->blob[i], .size = b->size[i], .index = i, .width = b->width[i], .out_at = at};
        at += (size_t)coder->channels * (size_t)b->height * (size_t)b->width[i];
    }
    if (b->many)
        status = ls_decode_rows(coder, any_sha256, jobs, b->count, out, &failed);
    else
        status = ls_decode_jobs(coder, any_sha256, jobs, b->count, b->height, b->width[0], out, &failed);
    EXPECT(status <= 0 && status != LS_NO_MEMORY && status != LS_BAD_ARGUMENT);
    EXPECT(!status || (failed >= 0 && failed < b->count));
    return status;
}

/* The values of the first blob, encoded by its model, come back. */
static void again(const ls_coder *coder, const blobs *b, const int8_t *values)
{
    const int height = b->height, width = b->width[0];
    const size_t symbols = (size_t)coder->channels * (size_t)height * (size_t)width;
    ls_group group = {.lanes = coder->adaptive ? 1 : ls_lanes(height, width),
                      .model = b->blob[0][1],
                      .quality = 1,
                      .height = height,
                      .width = width};
    uint8_t *payload, header[32];
    EXPECT(!ls_encode_group(coder, &group, values, &payload));
    group.payload = payload;
    const size_t size = ls_group_header(header, &group, any_sha256);
    uint8_t *blob = take(size + group.payload_size);
    memcpy(blob, header, size);
    if (group.payload_size)
        memcpy(blob + size, payload, group.payload_size);
    blobs one = {.count = 1, .height = height, .width = {width}, .blob = {blob}, .size = {size + group.payload_size}};
    int8_t *out = take(symbols);
    EXPECT(!decode(coder, &one, out));
    EXPECT(!memcmp(out, values, symbols));
    free(payload);
    free(blob);
    free(out);
}

static void fuzz_groups(const uint8_t *data, size_t size, int adaptive)
{
    input in = {data, data + size};
    const unsigned choice = next_byte(&in), flags = next_byte(&in) & (adaptive ? 7 : 7 & ~MANY_WIDTHS);
    const ls_coder *coder = coder_of(choice % CODERS, adaptive);
    blobs b;
    read_blobs(&b, &in, flags, coder);
    if (!b.count)
        return;
    int8_t *out = take(b.symbols);
    choose_path(choice / CODERS);
    const int status = decode(coder, &b, out);
    if (flags & COMPARE) {
        int8_t *portable = take(b.symbols);
        force_path(PATH_PORTABLE);
        EXPECT(!decode(coder, &b, portable) == !status);
        EXPECT(status || !memcmp(portable, out, b.symbols));
        free(portable);
    }
    else if (!status)
        again(coder, &b, out);
    free(out);
    for (int i = 0; i < b.count; i++)
        free(b.blob[i]);
}

#endif
#endif
