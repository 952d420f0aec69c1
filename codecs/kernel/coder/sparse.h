/* The sparse form of a group (docs/format.md section 5.6), for groups where most positions are zero in every channel:
 * which positions are not comes first, and the symbols of those alone follow. One state codes it all; the decoder takes
 * several groups side by side.
 */
#ifndef LATENTSTORE_CODER_SPARSE_H
#define LATENTSTORE_CODER_SPARSE_H

#include "coder/coder.h"

#include <string.h>

/* Planes have three columns more than the latent, and rows above and below, where nothing is taken and what is written
 * is never read: neighbours outside the plane need no test. */
typedef struct {
    int height, width, channels, stride; /* stride: channels, rounded up to whole vectors */
    ptrdiff_t row;                       /* from a position to the one below */
    size_t places, taken;
    uint8_t *is_taken;         /* of places: 1 or 0 */
    uint32_t *place, *position; /* of taken positions, in the order of rows: in `context`, and in a plane of the latent */
    uint8_t *seen;              /* of taken positions: 64 once a channel has held a value there, else 0 */
    uint16_t *context;          /* (place, channel): what is known so far, at most 65535 */
} ls_sparse;

int ls_sparse_make(ls_sparse *s, int height, int width, int channels);
void ls_sparse_free(ls_sparse *s);
/* forgets all values; which positions are taken stands */
void ls_sparse_begin(ls_sparse *s, const ls_coder *coder, int model);

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
    const float context = (float)(int32_t)s->context[s->place[i] + (uint32_t)k];
    uint32_t bits;
    memcpy(&bits, &context, 4);
    return 64 + (bits >> 21) - (129u << 2) + s->seen[i];
}

static inline void ls_add_limited(uint16_t *to, uint32_t x)
{
    x += *to;
    *to = (uint16_t)(x > 65535 ? 65535 : x);
}

/* Tells the neighbours of taken position i, and later channels, what channel k holds there: r, which is not 0. */
static inline void ls_sparse_value(ls_sparse *s, const ls_coder *coder, const ls_channel *c, int k, size_t i, int r)
{
    const uint32_t size = (uint32_t)(r < 0 ? -r : r), m = size > 15 ? 15 : size;
    const ptrdiff_t n = s->stride, down = s->row * n;
    uint16_t *to = s->context + s->place[i], *own = to + k;
    s->seen[i] = 64;
    ls_add_limited(own + n, m * (uint32_t)c->own[0]);
    ls_add_limited(own + down, m * (uint32_t)c->own[1]);
    ls_add_limited(own + down + n, m * (uint32_t)c->own[2]);
    ls_add_limited(own + down - n, m * (uint32_t)c->own[3]);
    ls_add_limited(own + 2 * n, m * (uint32_t)c->own[4]);
    if (k + 1 == s->channels)
        return;
    const uint16_t *here = coder->later + (c - coder->channel) * 2 * n;
    for (ptrdiff_t j = (k + 1) & ~7; j < n; j += 8) {
        uint16_t *at = to + j;
        const ls_eight around = ls_eight_times(ls_eight_load(here + n + j), m); /* at most 15 * 4 * 127 */
        ls_eight_raise(at - down - n, around);
        ls_eight_raise(at - down, around);
        ls_eight_raise(at - down + n, around);
        ls_eight_raise(at - n, around);
        ls_eight_raise(at, ls_eight_times(ls_eight_load(here + j), m));
        ls_eight_raise(at + n, around);
        ls_eight_raise(at + down - n, around);
        ls_eight_raise(at + down, around);
        ls_eight_raise(at + down + n, around);
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
