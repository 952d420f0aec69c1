/* The frame of a tensor's blob (docs/format.md section 11.1). */
#ifndef LATENTSTORE_TOKENS_FRAME_H
#define LATENTSTORE_TOKENS_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX_RANK 8
#define FRAME_MAX_VALUES ((uint64_t)1 << 28) /* a tensor has fewer */
#define FRAME_VALUES_PER_BYTE 32768          /* of a payload, at most */

enum {
    FRAME_OK = 0, FRAME_TRUNCATED = -2, FRAME_CORRUPT = -3, FRAME_BAD_VERSION = -5, FRAME_BAD_SHAPE = -7,
    FRAME_BAD_CRC = -8, FRAME_OTHER_CODING = -9
};

typedef struct {
    int rank;
    int64_t sides[FRAME_MAX_RANK];
    size_t payload; /* where it begins */
} tok_frame;

/* first: the first byte that is expected. seed: the CRC-32C of the coder's SHA-256; NULL if checksums are not looked at. */
int tok_split_frame(const uint8_t *blob, size_t size, uint8_t first, const uint32_t *seed, tok_frame *frame);

#endif
