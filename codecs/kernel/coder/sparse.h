/* The sparse form of a group (docs/format.md section 5.6), for groups where most positions are zero in every channel:
 * which positions are not comes first, and the symbols of those alone follow. One state codes it all; the decoder takes
 * several groups side by side.
 */
#ifndef LATENTSTORE_CODER_SPARSE_H
#define LATENTSTORE_CODER_SPARSE_H

#include "coder/coder.h"

/* Planes have three columns more than the latent, and rows above and below, where nothing is taken and what is written
 * is never read: neighbours outside the plane need no test. A place is where a position stands in such a plane. */
typedef struct {
    int height, width, channels, stride; /* stride: channels, rounded up to whole vectors */
    ptrdiff_t row;                       /* from a place to the one below */
    size_t places;
    size_t taken;
    uint8_t *is_taken;         /* of places: 1 or 0 */
    uint32_t *place, *position; /* of taken positions, in the order of rows; position: in a plane of the latent */
    uint8_t *seen;             /* of taken positions: whether a channel has held a value there */
    uint16_t *cross;           /* (place, channel): what earlier channels add to a context, at most 65535 */
    uint32_t *own;             /* of places: what the channel at work adds to contexts that are still to come */
} ls_sparse;

int ls_sparse_make(ls_sparse *s, int height, int width, int channels);
void ls_sparse_free(ls_sparse *s);
/* forgets all values; which positions are taken stands */
void ls_sparse_begin(ls_sparse *s);

/* to[i] = min(65535, to[i] + from[i]) for 8 i at a time */
static inline void ls_add_saturated(uint16_t *to, const uint16_t *from, int from_i, int count);

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
static inline void ls_add_saturated(uint16_t *to, const uint16_t *from, int from_i, int count)
{
    for (int i = from_i; i < count; i += 8) {
        __m128i *at = (__m128i *)(void *)(to + i);
        _mm_storeu_si128(at, _mm_adds_epu16(_mm_loadu_si128(at), _mm_loadu_si128((const __m128i *)(const void *)(from + i))));
    }
}
#elif defined(__aarch64__)
#include <arm_neon.h>
static inline void ls_add_saturated(uint16_t *to, const uint16_t *from, int from_i, int count)
{
    for (int i = from_i; i < count; i += 8)
        vst1q_u16(to + i, vqaddq_u16(vld1q_u16(to + i), vld1q_u16(from + i)));
}
#else
static inline void ls_add_saturated(uint16_t *to, const uint16_t *from, int from_i, int count)
{
    for (int i = from_i; i < count; i++) {
        const uint32_t sum = (uint32_t)to[i] + from[i];
        to[i] = (uint16_t)(sum > 65535 ? 65535 : sum);
    }
}
#endif

/* level << 6 | bucket of taken position i in channel k; once a channel, for it forgets what the channel has added */
static inline uint32_t ls_sparse_context(const ls_sparse *s, const ls_channel *c, int k, size_t i)
{
    const size_t at = s->place[i];
    const uint32_t cross = s->cross[at * (size_t)s->stride + (size_t)k];
    uint32_t v = (uint32_t)c->bias + (cross > 32767 ? 32767 : cross) + s->own[at];
    s->own[at] = 0;
    v = v < 4 ? 4 : v;
    const uint32_t octave = 31 - (uint32_t)__builtin_clz(v);
    const uint32_t bucket = 4 * (octave - 2) + (v >> (octave - 2) & 3);
    return (s->seen[i] ? 64u : 128u) | (bucket > 63 ? 63 : bucket);
}

static inline uint32_t ls_sparse_table(const ls_channel *c, uint32_t context)
{
    return c->table[context >> 6][context & 63];
}

/* Tells the neighbours of taken position i, and later channels, what channel k holds there: r, which is not 0. */
static inline void ls_sparse_value(ls_sparse *s, const ls_coder *coder, const ls_channel *c, int k, size_t i, int r)
{
    const uint32_t size = (uint32_t)(r < 0 ? -r : r), m = size > 15 ? 15 : size;
    const int first = (k + 1) & ~7, n = s->stride;
    uint32_t *own = s->own + s->place[i];
    s->seen[i] = 1;
    own[1] += m * (uint32_t)c->own[0];
    own[s->row] += m * (uint32_t)c->own[1];
    own[s->row + 1] += m * (uint32_t)c->own[2];
    own[s->row - 1] += m * (uint32_t)c->own[3];
    own[2] += m * (uint32_t)c->own[4];
    if (k + 1 == s->channels)
        return;
    const uint16_t *here = coder->later + (size_t)(c - coder->channel) * 2 * (size_t)n, *around = here + n;
    uint16_t scaled[2 * LS_MAX_GROUP];
    if (m > 1) {
        for (int j = 0; j < 2 * n; j++)
            scaled[j] = (uint16_t)(m * here[j]); /* at most 15 * 4 * 127 */
        here = scaled, around = scaled + n;
    }
    uint16_t *to = s->cross + (ptrdiff_t)s->place[i] * n;
    for (ptrdiff_t y = -1; y <= 1; y++) {
        ls_add_saturated(to + (y * s->row - 1) * n, around, first, n);
        ls_add_saturated(to + y * s->row * n, y ? around : here, first, n);
        ls_add_saturated(to + (y * s->row + 1) * n, around, first, n);
    }
}

/* Which of ten positions before it are taken is the context of whether a position is: the two to its left, five above
 * and three above those, from bits 0, 2 and 7 on, the rightmost lowest. */
#define LS_NEAR_KEPT 0x37a

/* of a row's first position, before ls_sparse_near */
static inline uint32_t ls_sparse_row(const ls_sparse *s, const uint8_t *at)
{
    return (uint32_t)(at[-s->row] << 3 | at[1 - s->row] << 2 | at[-2 * s->row] << 7);
}

/* the context at a place, from that of the place before it, and from whether that is taken */
static inline uint32_t ls_sparse_near(uint32_t before, uint32_t taken, const ls_sparse *s, const uint8_t *at)
{
    return (before << 1 & LS_NEAR_KEPT) | taken | (uint32_t)(at[2 - s->row] << 2 | at[1 - 2 * s->row] << 7);
}

#endif
