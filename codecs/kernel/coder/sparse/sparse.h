/* The sparse form of a group (docs/format.md section 5.6), for groups where most positions are zero in every channel:
 * which positions are not comes first, and the symbols of those alone follow. One state codes it all; the decoder takes
 * several groups side by side (together.c).
 */
#ifndef LATENTSTORE_CODER_SPARSE_H
#define LATENTSTORE_CODER_SPARSE_H

#include "coder/coder.h"

#include <string.h>

#define LS_SPARSE_ASIDE 9 /* rows of context for neighbours that are not taken, one a direction */

/* Planes have three columns more than the latent, and rows above and below, where nothing is taken: neighbours outside
 * the plane need no test. */
typedef struct {
    int height, width, channels, stride; /* stride: channels, rounded up to whole vectors */
    ptrdiff_t row;                       /* from a position to the one below */
    size_t places, taken;
    uint8_t *is_taken;          /* of places: 1 or 0 */
    uint32_t *place, *position; /* of taken positions, in the order of rows: here, and in a plane of the latent */
    uint32_t *index;            /* of places: the row of `context`, or 0 if it is not taken */
    uint8_t *seen;              /* of taken positions: 64 once a channel has held a value there, else 0 */
    uint16_t *context;          /* (row, channel): what is known so far, at most 65535; taken position i has row
                                   LS_SPARSE_ASIDE + i, and what is written to those before is never read */
} ls_sparse;

int ls_sparse_make(ls_sparse *s, int height, int width, int channels);
void ls_sparse_free(ls_sparse *s);
/* forgets all values; which positions are taken stands */
void ls_sparse_begin(ls_sparse *s, const ls_coder *coder, int model);

/* the place of the first position of row y */
static inline size_t ls_sparse_row_start(const ls_sparse *s, int y) { return (size_t)(y + 2) * (size_t)s->row; }

/* eight numbers of 16 bits; sums are at most 65535 */
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
typedef __m128i ls_eight;
static inline ls_eight ls_eight_load(const uint16_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static inline void ls_eight_store(uint16_t *p, ls_eight a) { _mm_storeu_si128((__m128i *)(void *)p, a); }
static inline ls_eight ls_eight_add(ls_eight a, ls_eight b) { return _mm_adds_epu16(a, b); }
static inline ls_eight ls_eight_times(ls_eight a, uint32_t m) { return _mm_mullo_epi16(a, _mm_set1_epi16((short)m)); }
#elif defined(__aarch64__)
#include <arm_neon.h>
typedef uint16x8_t ls_eight;
static inline ls_eight ls_eight_load(const uint16_t *p) { return vld1q_u16(p); }
static inline void ls_eight_store(uint16_t *p, ls_eight a) { vst1q_u16(p, a); }
static inline ls_eight ls_eight_add(ls_eight a, ls_eight b) { return vqaddq_u16(a, b); }
static inline ls_eight ls_eight_times(ls_eight a, uint32_t m) { return vmulq_n_u16(a, (uint16_t)m); }
#else
typedef struct {
    uint16_t x[8];
} ls_eight;
static inline ls_eight ls_eight_load(const uint16_t *p)
{
    ls_eight a;
    memcpy(a.x, p, sizeof a.x);
    return a;
}
static inline void ls_eight_store(uint16_t *p, ls_eight a) { memcpy(p, a.x, sizeof a.x); }
static inline ls_eight ls_eight_add(ls_eight a, ls_eight b)
{
    for (int i = 0; i < 8; i++) {
        const uint32_t sum = (uint32_t)a.x[i] + b.x[i];
        a.x[i] = (uint16_t)(sum > 65535 ? 65535 : sum);
    }
    return a;
}
static inline ls_eight ls_eight_times(ls_eight a, uint32_t m)
{
    for (int i = 0; i < 8; i++)
        a.x[i] = (uint16_t)(a.x[i] * m);
    return a;
}
#endif

static inline void ls_eight_raise(uint16_t *to, ls_eight by) { ls_eight_store(to, ls_eight_add(ls_eight_load(to), by)); }

/* level << 6 | bucket of taken position i in channel k: the level is 1, or 2 once a channel has held a value there. The
 * bucket is the top of the context as a float, as everywhere (bucket_of in simd/template.h); no context is below 4. */
static inline uint32_t ls_sparse_context(const ls_sparse *s, int k, size_t i)
{
    const float context = (float)(int32_t)s->context[(LS_SPARSE_ASIDE + i) * (size_t)s->stride + (size_t)k];
    uint32_t bits;
    memcpy(&bits, &context, 4);
    return 64 + (bits >> 21) - (129u << 2) + s->seen[i];
}

/* the row of context of a place; `aside` is below LS_SPARSE_ASIDE, and no other neighbour's */
static inline uint16_t *ls_sparse_at(const ls_sparse *s, const uint32_t *index, uint32_t aside)
{
    const uint32_t row = *index ? *index : aside;
    return s->context + (size_t)row * (size_t)s->stride;
}

static inline void ls_add_limited(uint16_t *to, uint32_t x)
{
    x += *to;
    *to = (uint16_t)(x > 65535 ? 65535 : x);
}

/* at most 15 */
static inline uint32_t ls_sparse_magnitude(int r)
{
    const uint32_t size = (uint32_t)(r < 0 ? -r : r);
    return size > 15 ? 15 : size;
}

/* Tells the neighbours of taken position i that channel k, which they code too, has the magnitude m there. */
static inline void ls_sparse_tell_own(ls_sparse *s, const ls_channel *c, int k, size_t i, uint32_t m)
{
    const uint32_t *at = s->index + s->place[i], *below = at + s->row;
    s->seen[i] = 64;
    ls_add_limited(ls_sparse_at(s, at + 1, 0) + k, m * (uint32_t)c->own[0]);
    ls_add_limited(ls_sparse_at(s, below, 1) + k, m * (uint32_t)c->own[1]);
    ls_add_limited(ls_sparse_at(s, below + 1, 2) + k, m * (uint32_t)c->own[2]);
    ls_add_limited(ls_sparse_at(s, below - 1, 3) + k, m * (uint32_t)c->own[3]);
    ls_add_limited(ls_sparse_at(s, at + 2, 4) + k, m * (uint32_t)c->own[4]);
}

/* Tells later channels the same, at the position and around it. */
static inline void ls_sparse_tell_later(const ls_sparse *s, const ls_coder *coder, const ls_channel *c, int k,
                                        uint32_t place, uint32_t m)
{
    const ptrdiff_t n = s->stride;
    const uint32_t *at = s->index + place, *above = at - s->row, *below = at + s->row;
    const uint16_t *here = coder->later + (c - coder->channel) * 2 * n;
    uint16_t *to[LS_SPARSE_ASIDE] = {ls_sparse_at(s, above - 1, 0), ls_sparse_at(s, above, 1),
                                     ls_sparse_at(s, above + 1, 2), ls_sparse_at(s, at - 1, 3),
                                     ls_sparse_at(s, at + 1, 4),    ls_sparse_at(s, below - 1, 5),
                                     ls_sparse_at(s, below, 6),     ls_sparse_at(s, below + 1, 7)};
    to[8] = ls_sparse_at(s, at, 8);
    for (ptrdiff_t j = (k + 1) & ~7; j < n; j += 8) {
        const ls_eight around = ls_eight_times(ls_eight_load(here + n + j), m); /* at most 15 * 4 * 127 */
        for (int d = 0; d < 8; d++)
            ls_eight_raise(to[d] + j, around);
        ls_eight_raise(to[8] + j, ls_eight_times(ls_eight_load(here + j), m));
    }
}

/* Which of ten positions before it are taken is the context of whether a position is: the two to its left, five above
 * and three above those, from bits 0, 2 and 7 on, the rightmost lowest. */

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

/* Where a group is read. */
typedef struct {
    const ls_job *job;
    int8_t *out;
    uint32_t state;
    const uint8_t *words, *words_end, *escapes, *escapes_end;
} ls_sparse_reader;

void ls_sparse_open(ls_sparse_reader *reader, const ls_job *job, int8_t *out);
/* decodes which positions are taken */
void ls_sparse_find(ls_sparse *s, ls_sparse_reader *reader, const ls_coder *coder);
/* decodes the values there, into planes of zeros; the reader stands behind the positions */
int ls_sparse_values(ls_sparse *s, ls_sparse_reader *reader, const ls_coder *coder);

/* Decodes groups side by side. */
int ls_decode_together(const ls_coder *coder, const ls_job *jobs, int count, int height, int width, int8_t *out,
                       int *failed);

#endif
