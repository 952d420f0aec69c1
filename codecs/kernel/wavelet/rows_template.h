/* The loops of rows.h for vectors of LANES floats; included once per path, which defines LANES and ROWS_NAME.
 *
 * Vectors are the compilers' own vector types (gcc, clang), not intrinsics: one text for every machine.
 * Nothing here may be fused into multiply-add: -ffp-contract=off is a build flag, and the pragmas below say it again.
 */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "wavelet/rows.h"

#include <string.h>

/* The declared alignment is that of one value: loads and stores may start anywhere. */
typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int8_t bvec __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t ivec4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint8_t byte16 __attribute__((vector_size(16), aligned(1), may_alias));

#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLE
#define SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#endif

#if LANES == 4
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#elif LANES == 8
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

static inline vec select(ivec mask, vec yes, vec no)
{
    return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask));
}

/* The order of the sums makes every band equal, up to its sign, for the flipped and the transposed image. */
static void haar(const float *top, const float *bottom, float *quad, size_t stride, size_t n)
{
    for (size_t x = 0; x < n; x += LANES) {
        vec t0 = LOAD(top + 2 * x), t1 = LOAD(top + 2 * x + LANES);
        vec b0 = LOAD(bottom + 2 * x), b1 = LOAD(bottom + 2 * x + LANES);
        vec a = SHUFFLE(ivec, t0, t1, EVEN), b = SHUFFLE(ivec, t0, t1, ODD);
        vec c = SHUFFLE(ivec, b0, b1, EVEN), d = SHUFFLE(ivec, b0, b1, ODD);
        vec sum_ad = a + d, sum_bc = b + c, diff_ad = a - d, diff_bc = b - c;
        STORE(quad + BAND_LL * stride + x, (sum_ad + sum_bc) * 0.5f);
        STORE(quad + BAND_HL * stride + x, (diff_ad - diff_bc) * 0.5f);
        STORE(quad + BAND_LH * stride + x, (diff_ad + diff_bc) * 0.5f);
        STORE(quad + BAND_HH * stride + x, (sum_ad - sum_bc) * 0.5f);
    }
}

static void unhaar(const float *quad, size_t stride, float *top, float *bottom, size_t n)
{
    for (size_t x = 0; x < n; x += LANES) {
        vec ll = LOAD(quad + BAND_LL * stride + x), hl = LOAD(quad + BAND_HL * stride + x);
        vec lh = LOAD(quad + BAND_LH * stride + x), hh = LOAD(quad + BAND_HH * stride + x);
        vec sum_even = ll + hh, diff_even = ll - hh, sum_odd = hl + lh, diff_odd = hl - lh;
        vec a = (sum_even + sum_odd) * 0.5f, d = (sum_even - sum_odd) * 0.5f;
        vec b = (diff_even - diff_odd) * 0.5f, c = (diff_even + diff_odd) * 0.5f;
        STORE(top + 2 * x, SHUFFLE(ivec, a, b, ZIP_LOW));
        STORE(top + 2 * x + LANES, SHUFFLE(ivec, a, b, ZIP_HIGH));
        STORE(bottom + 2 * x, SHUFFLE(ivec, c, d, ZIP_LOW));
        STORE(bottom + 2 * x + LANES, SHUFFLE(ivec, c, d, ZIP_HIGH));
    }
}

/* A vector of a row with its neighbours one to the left and one to the right. */
struct window {
    vec left, middle, right, next;
};

/* Unaligned loads of whole cache lines cost twice; shifting one line into the other is cheaper. */
static inline struct window window(const float *row)
{
    struct window w = {0};
#if LANES == 16
    w.middle = LOAD(row - LANES);
    w.next = LOAD(row);
#else
    (void)row;
#endif
    return w;
}

static inline void slide(struct window *w, const float *row, size_t x)
{
#if LANES == 16
    vec before = w->middle;
    w->middle = w->next;
    w->next = LOAD(row + x + LANES);
    w->left = SHUFFLE(ivec, before, w->middle, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30);
    w->right = SHUFFLE(ivec, w->middle, w->next, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
#else
    w->left = LOAD(row + x - 1);
    w->middle = LOAD(row + x);
    w->right = LOAD(row + x + 1);
#endif
}

/* (1 + c Dh)(1 + c Dv) with D f = f[-1] - f[+1], written out: the target takes both first differences of its
 * neighbours `across` and `along` and c^2 times the mixed difference of `source`, all from before the step. */
static void lift(const float *above, const float *row, const float *below, size_t stride, float *const out[4], size_t n,
                 float c, int target)
{
    const size_t source = (size_t)(BAND_HH - target) * stride;
    const int across_band = target == BAND_LL ? BAND_HL : BAND_LH; /* differs from the target horizontally */
    const int along_band = target == BAND_LL ? BAND_LH : BAND_HL;  /* differs from it vertically */
    const float *source_above = above + source, *source_row = row + source, *source_below = below + source;
    const float *across = row + (size_t)across_band * stride, *along = row + (size_t)along_band * stride;
    const float *along_above = above + (size_t)along_band * stride, *along_below = below + (size_t)along_band * stride;
    const float *old = row + (size_t)target * stride;
    float *out_target = out[target], *out_across = out[across_band], *out_along = out[along_band];
    float *out_source = out[BAND_HH - target];
    const float c2 = c * c;
    struct window w_above = window(source_above), w_row = window(source_row), w_below = window(source_below);
    struct window w_across = window(across);
    for (size_t x = 0; x < n; x += LANES) {
        slide(&w_above, source_above, x), slide(&w_row, source_row, x), slide(&w_below, source_below, x);
        slide(&w_across, across, x);
        vec horizontal = w_across.left - w_across.right;
        vec vertical = LOAD(along_above + x) - LOAD(along_below + x);
        vec mixed = (w_above.left + w_below.right) - (w_above.right + w_below.left);
        vec new_target = (LOAD(old + x) + c * (horizontal + vertical)) + c2 * mixed;
        vec new_across = w_across.middle + c * (w_above.middle - w_below.middle);
        vec new_along = LOAD(along + x) + c * (w_row.left - w_row.right);
        STORE(out_target + x, new_target);
        STORE(out_across + x, new_across);
        STORE(out_along + x, new_along);
        STORE(out_source + x, w_row.middle);
    }
}

/* Byte shuffles of 16 bytes are one instruction wherever vectors are wider than SSE2's. */
#if LANES > 4 || defined(__aarch64__) || defined(__SSSE3__)
#define BYTE_SHUFFLES 1
#else
#define BYTE_SHUFFLES 0
#endif

#define SPREAD(k) k, 16, 16, 16, k + 3, 16, 16, 16, k + 6, 16, 16, 16, k + 9, 16, 16, 16

static void load_pixels(const uint8_t *pixels, size_t n, int colours, float *rows, size_t stride)
{
    size_t x = 0;
#if BYTE_SHUFFLES
    if (colours == 3) {
        const byte16 zero = {0};
        for (; 3 * x + 16 <= 3 * n; x += 4) {
            byte16 p = *(const byte16 *)(pixels + 3 * x);
            ivec4 r = (ivec4)SHUFFLE(byte16, p, zero, SPREAD(0));
            ivec4 g = (ivec4)SHUFFLE(byte16, p, zero, SPREAD(1));
            ivec4 b = (ivec4)SHUFFLE(byte16, p, zero, SPREAD(2));
            *(vec4 *)(rows + x) = __builtin_convertvector(r, vec4) - 128.0f;
            *(vec4 *)(rows + stride + x) = __builtin_convertvector(g, vec4) - 128.0f;
            *(vec4 *)(rows + 2 * stride + x) = __builtin_convertvector(b, vec4) - 128.0f;
        }
    }
#endif
    for (int k = 0; k < colours; k++)
        for (size_t i = x; i < n; i++)
            rows[(size_t)k * stride + i] = (float)pixels[i * (size_t)colours + (size_t)k] - 128.0f;
}

static inline ivec to_pixels(vec x)
{
    const vec top = (vec){0} + 255.0f;
    vec y = x + 128.5f;
    y = (vec)((ivec)y & (y > 0.0f)); /* what is no number becomes 0 too */
    return __builtin_convertvector(select(y < top, y, top), ivec);
}

#if BYTE_SHUFFLES
typedef uint8_t bytes __attribute__((vector_size(LANES * 4), aligned(1), may_alias));

/* Four pixels of a 16-byte lane, close together; the last four bytes do not matter. */
#define PACK(k) k, k + 1, k + 2, k + 4, k + 5, k + 6, k + 8, k + 9, k + 10, k + 12, k + 13, k + 14, k, k, k, k
#if LANES == 4
#define PACK_LANES PACK(0)
#elif LANES == 8
#define PACK_LANES PACK(0), PACK(16)
#else
#define PACK_LANES PACK(0), PACK(16), PACK(32), PACK(48)
#endif
#endif

static void store_pixels(const float *rows, size_t stride, size_t n, int colours, uint8_t *pixels)
{
#if BYTE_SHUFFLES
    if (colours == 3) {
        for (size_t x = 0; x < n; x += LANES) {
            ivec r = to_pixels(LOAD(rows + x)), g = to_pixels(LOAD(rows + stride + x));
            ivec b = to_pixels(LOAD(rows + 2 * stride + x));
            bytes rgb0 = (bytes)(r | (g << 8) | (b << 16));
            bytes packed = SHUFFLE(bytes, rgb0, rgb0, PACK_LANES);
            for (int i = 0; i < LANES / 4; i++)
                memcpy(pixels + 3 * x + 12 * i, (const char *)&packed + 16 * i, 16);
        }
        return;
    }
#endif
    for (int k = 0; k < colours; k++)
        for (size_t x = 0; x < n; x += LANES) {
            ivec values = to_pixels(LOAD(rows + (size_t)k * stride + x));
            for (int i = 0; i < LANES; i++)
                pixels[(x + (size_t)i) * (size_t)colours + (size_t)k] = (uint8_t)values[i];
        }
}

static void combine(const float *a, const float *b, int sign, float *out)
{
    if (b == NULL) {
        memcpy(out, a, CHUNK * sizeof(float));
    } else if (sign > 0) {
        for (size_t x = 0; x < CHUNK; x += LANES)
            STORE(out + x, LOAD(a + x) + LOAD(b + x));
    } else {
        for (size_t x = 0; x < CHUNK; x += LANES)
            STORE(out + x, LOAD(a + x) - LOAD(b + x));
    }
}

static void project(const float *in, const int32_t *index, size_t terms, const float *weights, float *const out[BLOCK])
{
    for (size_t x = 0; x < CHUNK; x += 2 * LANES) {
        vec a0 = {0}, a1 = {0}, b0 = {0}, b1 = {0}, c0 = {0}, c1 = {0}, d0 = {0}, d1 = {0};
        for (size_t i = 0; i < terms; i++) {
            const float *row = in + (size_t)index[i] * CHUNK + x, *w = weights + i * BLOCK;
            vec u0 = LOAD(row), u1 = LOAD(row + LANES);
            a0 += w[0] * u0, a1 += w[0] * u1;
            b0 += w[1] * u0, b1 += w[1] * u1;
            c0 += w[2] * u0, c1 += w[2] * u1;
            d0 += w[3] * u0, d1 += w[3] * u1;
        }
        STORE(out[0] + x, a0), STORE(out[0] + x + LANES, a1);
        STORE(out[1] + x, b0), STORE(out[1] + x + LANES, b1);
        STORE(out[2] + x, c0), STORE(out[2] + x + LANES, c1);
        STORE(out[3] + x, d0), STORE(out[3] + x + LANES, d1);
    }
}

static void scale(const float *x, float factor, float *out)
{
    for (size_t i = 0; i < CHUNK; i += LANES)
        STORE(out + i, LOAD(x + i) * factor);
}

static size_t quantise(const float *x, float inv_step, float rounding, size_t count, int8_t *out)
{
    const ivec magnitude_bits = (ivec){0} + 0x7fffffff;
    const vec largest = (vec){0} + 127.0f;
    ivec any = {0};
    for (size_t i = 0; i < CHUNK; i += LANES) {
        ivec bits = (ivec)LOAD(x + i);
        ivec negative = bits >> 31;
        vec t = (vec)(bits & magnitude_bits) * inv_step + rounding;
        any |= ~(t < 128.0f);
        ivec q = __builtin_convertvector(select(t < 128.0f, t, largest), ivec);
        *(bvec *)(out + i) = __builtin_convertvector((q ^ negative) - negative, bvec);
    }
    int32_t lanes[LANES], found = 0;
    memcpy(lanes, &any, sizeof lanes);
    for (int i = 0; i < LANES; i++)
        found |= lanes[i];
    if (!found)
        return 0;
    size_t outside = 0;
    for (size_t i = 0; i < count; i++) {
        float t = (x[i] < 0.0f ? -x[i] : x[i]) * inv_step;
        outside += !(t + rounding < 128.0f);
    }
    return outside;
}

static void dequantise(const int8_t *q, float step, float delta1, float delta2, float *out)
{
    const vec first = (vec){0} + delta1, later = (vec){0} + delta2;
    for (size_t i = 0; i < CHUNK; i += LANES) {
        ivec value = __builtin_convertvector(*(const bvec *)(q + i), ivec);
        ivec negative = value >> 31;
        ivec size = (value ^ negative) - negative;
        vec v = (__builtin_convertvector(size, vec) - select(size == 1, first, later)) * step;
        ivec sign = negative << 31;
        STORE(out + i, (vec)(((ivec)v ^ sign) & (size != 0)));
    }
}

const struct row_ops ROWS_NAME = {haar,    unhaar,  lift,  load_pixels, store_pixels,
                                  combine, project, scale, quantise,    dequantise};
