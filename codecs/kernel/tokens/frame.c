/* Reading frames. */
#include "tokens/frame.h"

#include "coder/coder.h"

static int read_side(const uint8_t *blob, size_t size, size_t *at, int64_t *side)
{
    *side = 0;
    for (int i = 0; i < 4; i++) {
        if (*at >= size)
            return FRAME_TRUNCATED;
        const uint8_t byte = blob[(*at)++];
        *side |= (int64_t)(byte & 127) << 7 * i;
        if (byte < 128)
            return i && !byte ? FRAME_CORRUPT : FRAME_OK;
    }
    return FRAME_CORRUPT;
}

int tok_split_frame(const uint8_t *blob, size_t size, uint8_t first, const uint32_t *seed, tok_frame *frame)
{
    if (size < 6)
        return FRAME_TRUNCATED;
    if (blob[0] != first)
        return blob[0] >> 4 != first >> 4 ? FRAME_BAD_VERSION : FRAME_OTHER_CODING;
    frame->rank = blob[1];
    if (frame->rank > FRAME_MAX_RANK)
        return FRAME_CORRUPT;
    size_t at = 2;
    int empty = 0;
    uint64_t values = 1;
    for (int d = 0; d < frame->rank; d++) {
        const int status = read_side(blob, size, &at, frame->sides + d);
        if (status)
            return status;
        empty |= !frame->sides[d];
        if (frame->sides[d] && values < FRAME_MAX_VALUES) /* so that the product is below 2^56 */
            values *= (uint64_t)frame->sides[d];
    }
    if (size - at < 4)
        return FRAME_TRUNCATED;
    frame->payload = at + 4;
    if (!empty && (values >= FRAME_MAX_VALUES || values > (uint64_t)(size - frame->payload) * FRAME_VALUES_PER_BYTE))
        return FRAME_BAD_SHAPE;
    if (!seed)
        return FRAME_OK;
    const uint32_t found = blob[at] | (uint32_t)blob[at + 1] << 8 | (uint32_t)blob[at + 2] << 16 |
                           (uint32_t)blob[at + 3] << 24;
    const uint32_t crc = ls_crc32c(ls_crc32c(*seed, blob, at), blob + frame->payload, size - frame->payload);
    return crc == found ? FRAME_OK : FRAME_BAD_CRC;
}
