/* The order in which a plane's symbols are coded, and moves between it and rows. */
#include "coder/coder.h"

#include <stdlib.h>
#include <string.h>

int ls_plane_fits(int64_t height, int64_t width)
{
    return height >= 1 && width >= 1 && height <= LS_MAX_SIDE && width <= LS_MAX_SIDE && height * width <= LS_MAX_AREA;
}

/* Few lanes for small planes: every lane costs four bytes of state. A row must be twice as wide as there are lanes, so
 * that a stream's first lane never catches up with the last lane's upper-right. */
int ls_lanes(int height, int width)
{
    const int64_t area = (int64_t)height * width;
    int lanes = area >= 4096 ? 16 : area >= 2048 ? 8 : area >= 1296 ? 4 : 1;
    while (lanes > 1 && width < 2 * lanes)
        lanes /= 2;
    return lanes;
}

int ls_geometry_make(ls_geometry *g, int height, int width, int lanes, int wide)
{
    int bands = (height + lanes - 1) / lanes;
    memset(g, 0, sizeof *g);
    g->height = height;
    g->width = width;
    g->lanes = lanes;
    g->wide = wide;
    /* The decoder needs a row to last two steps a lane or more. Where streams have one lane, rows follow each other at
     * once and the flat order is the order of rows; symbols come in the same order either way. */
    g->period = lanes == 1 || width >= 2 * lanes ? width : 2 * lanes;
    g->steps = bands * g->period + 2 * (lanes - 1);
    g->wrap = g->period - 2 * (lanes - 1);
    g->size = (ptrdiff_t)g->steps * wide;
    g->pad = ((ptrdiff_t)(g->wrap + 4) * wide + 64 + 63) / 64 * 64;
    ptrdiff_t stride = (g->size + 127) / 64 * 64;
    uint8_t *m = calloc(8, (size_t)stride);
    if (!m)
        return LS_NO_MEMORY;
    g->memory = m;
    uint8_t **masks[8] = {&g->first_column, &g->second_column, &g->last_column, &g->first_row,
                          &g->last_row,     &g->active,        &g->first_lane,  &g->last_lane};
    for (int i = 0; i < 8; i++)
        *masks[i] = m + i * stride;
    for (int lane = 0; lane < wide; lane++) {
        int k = lane % lanes;
        for (int band = 0; band < bands; band++) {
            int row = band * lanes + k;
            ptrdiff_t at = ((ptrdiff_t)band * g->period + 2 * k) * wide + lane;
            if (row >= height)
                break;
            for (int x = 0; x < width; x++, at += wide) {
                g->active[at] = 255;
                if (x == 0)
                    g->first_column[at] = 255;
                if (x == 1)
                    g->second_column[at] = 255;
                if (x == width - 1)
                    g->last_column[at] = 255;
                if (row == 0)
                    g->first_row[at] = 255;
                if (row == height - 1)
                    g->last_row[at] = 255;
            }
        }
        for (ptrdiff_t at = lane; at < g->size; at += wide) {
            if (k == 0)
                g->first_lane[at] = 255;
            if (k == lanes - 1)
                g->last_lane[at] = 255;
        }
    }
    return LS_OK;
}

/* Filters look back LS_OWN_TAPS + 1 steps, and a step ahead. */
void ls_geometry_row(ls_geometry *g, int width, int wide)
{
    memset(g, 0, sizeof *g);
    g->height = g->lanes = 1;
    g->width = g->period = g->steps = g->wrap = width;
    g->wide = wide;
    g->size = (ptrdiff_t)width * wide;
    g->pad = (LS_OWN_TAPS + 4) * LS_MAX_LANES;
    for (int lane = 0; lane < LS_MAX_LANES; lane++)
        g->widths[lane] = width;
}

void ls_geometry_free(ls_geometry *g)
{
    free(g->memory);
    g->memory = NULL;
}

static ptrdiff_t row_start(const ls_geometry *g, int stream, int row)
{
    int k = row % g->lanes;
    return ((ptrdiff_t)(row / g->lanes) * g->period + 2 * k) * g->wide + stream * g->lanes + k;
}

void ls_to_flat(const ls_geometry *g, int stream, const int8_t *plane, int8_t *flat)
{
    for (int row = 0; row < g->height; row++) {
        int8_t *to = flat + row_start(g, stream, row);
        const int8_t *from = plane + (ptrdiff_t)row * g->width;
        for (int x = 0; x < g->width; x++)
            to[(ptrdiff_t)x * g->wide] = from[x];
    }
}

void ls_from_flat(const ls_geometry *g, int stream, const int8_t *flat, int8_t *plane)
{
    for (int row = 0; row < g->height; row++) {
        const int8_t *from = flat + row_start(g, stream, row);
        int8_t *to = plane + (ptrdiff_t)row * g->width;
        for (int x = 0; x < g->width; x++)
            to[x] = from[(ptrdiff_t)x * g->wide];
    }
}

/* 16 positions of 16 lanes, to 16 lanes of 16 positions */
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
static void turn_block(const int8_t *from, int8_t to[16][16])
{
    __m128i a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = _mm_loadu_si128((const __m128i *)(const void *)(from + 16 * i));
    /* four times, row i and row i + 8 become rows 2 i and 2 i + 1 */
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < 16; i++)
        _mm_storeu_si128((__m128i *)(void *)to[i], a[i]);
}
#elif defined(__aarch64__)
#include <arm_neon.h>
static void turn_block(const int8_t *from, int8_t to[16][16])
{
    int8x16_t a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = vld1q_s8(from + 16 * i);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            b[2 * i] = vzip1q_s8(a[i], a[i + 8]);
            b[2 * i + 1] = vzip2q_s8(a[i], a[i + 8]);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < 16; i++)
        vst1q_s8(to[i], a[i]);
}
#else
static void turn_block(const int8_t *from, int8_t to[16][16])
{
    for (int i = 0; i < 16; i++)
        for (int lane = 0; lane < 16; lane++)
            to[lane][i] = from[16 * i + lane];
}
#endif

void ls_from_flat_narrow(const ls_geometry *g, int count, const int8_t *flat, int8_t *const *planes, size_t offset)
{
    int8_t block[16][16];
    for (ptrdiff_t at = 0; at < g->steps; at += 16) {
        const size_t n = g->steps - at < 16 ? (size_t)(g->steps - at) : 16;
        turn_block(flat + 16 * at, block); /* planes are padded, so the last block may run over */
        for (int s = 0; s < count; s++) {
            int8_t *to = planes[s] + offset + at;
            if (n == 16)
                memcpy(to, block[s], 16);
            else
                memcpy(to, block[s], n);
        }
    }
}
