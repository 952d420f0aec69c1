/* The header of a group blob: docs/format.md section 4. */
#include "coder/coder.h"

#include <string.h>

#define VERSION 1
#define HAS_ESCAPES 1
#define SPARSE 2
#define RESERVED 12
#define CRC_BYTES 4

static int read_varint(const uint8_t **at, const uint8_t *end, uint32_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 28; shift += 7) {
        if (*at == end)
            return LS_TRUNCATED;
        uint8_t byte = *(*at)++;
        *value |= (uint32_t)(byte & 127) << shift;
        if (!(byte & 128))
            return shift && !byte ? LS_CORRUPT : LS_OK; /* one spelling for each number */
    }
    return LS_CORRUPT;
}

static uint8_t *write_varint(uint8_t *at, uint32_t value)
{
    for (; value > 127; value >>= 7)
        *at++ = (uint8_t)(value | 128);
    *at++ = (uint8_t)value;
    return at;
}

static uint32_t blob_crc(const uint8_t sha256[32], const uint8_t *blob, size_t before, const uint8_t *after,
                         size_t after_size)
{
    return ls_crc32c(ls_crc32c(ls_crc32c(0, sha256, 32), blob, before), after, after_size);
}

int ls_group_parse(ls_group *group, const uint8_t *blob, size_t size, const uint8_t sha256[32], int adaptive)
{
    const uint8_t *at, *end = blob + size;
    uint32_t height, width, escapes = 0;
    int status;
    if (size < 1)
        return LS_TRUNCATED;
    if (blob[0] >> 4 != VERSION)
        return LS_BAD_VERSION;
    if (size < 5 + CRC_BYTES)
        return LS_TRUNCATED;
    at = blob + 3;
    if ((status = read_varint(&at, end, &height)) || (status = read_varint(&at, end, &width)))
        return status;
    if (blob[0] & HAS_ESCAPES && (status = read_varint(&at, end, &escapes)))
        return status;
    if (end - at < CRC_BYTES)
        return LS_TRUNCATED;
    group->model = blob[1];
    group->quality = blob[2];
    group->height = (int)height;
    if (adaptive && height >= 1 && height <= LS_MAX_LEVEL) { /* there is one row; this is the level code */
        group->quality |= (int)(height - 1) << 8;
        group->height = 1;
    }
    group->width = (int)width;
    group->escapes = escapes;
    group->payload = at + CRC_BYTES;
    group->payload_size = (size_t)(end - group->payload);
    group->header = (size_t)(group->payload - blob);
    uint32_t crc = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    if (crc != blob_crc(sha256, blob, (size_t)(at - blob), group->payload, group->payload_size))
        return LS_BAD_CRC;
    if (blob[0] & RESERVED || (blob[0] & HAS_ESCAPES && !escapes) || !ls_plane_fits(group->height, group->width))
        return LS_CORRUPT;
    group->sparse = (blob[0] & SPARSE) != 0;
    if (group->sparse && (adaptive || group->payload == end))
        return LS_CORRUPT;
    if (adaptive ? group->height != 1 : group->quality > LS_MAX_QUALITY)
        return LS_CORRUPT;
    group->lanes = adaptive || group->sparse ? 1 : ls_lanes(group->height, group->width);
    if (group->payload_size) {
        size_t states = 4 * (size_t)group->lanes;
        if (group->payload_size < states + escapes || (group->payload_size - states - escapes) % 2)
            return LS_CORRUPT;
    } else if (escapes) {
        return LS_CORRUPT;
    }
    return LS_OK;
}

/* Writes the header, whose CRC covers the payload already named in `group`; returns its size, at most 19 bytes. */
size_t ls_group_header(uint8_t *to, const ls_group *group, const uint8_t sha256[32])
{
    uint8_t *at = to;
    *at++ = VERSION << 4 | (group->sparse ? SPARSE : 0) | (group->escapes ? HAS_ESCAPES : 0);
    *at++ = (uint8_t)group->model;
    *at++ = (uint8_t)group->quality;
    at = write_varint(at, (uint32_t)(group->height + (group->quality >> 8))); /* the level code, of an adaptive coder */
    at = write_varint(at, (uint32_t)group->width);
    if (group->escapes)
        at = write_varint(at, (uint32_t)group->escapes);
    uint32_t crc = blob_crc(sha256, to, (size_t)(at - to), group->payload, group->payload_size);
    for (int b = 0; b < CRC_BYTES; b++)
        *at++ = (uint8_t)(crc >> (8 * b));
    return (size_t)(at - to);
}
