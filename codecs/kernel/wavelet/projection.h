/* Between images and latents: the packet transform, the projection of its bands to channels, and quantisation. */
#ifndef LATENTSTORE_PROJECTION_H
#define LATENTSTORE_PROJECTION_H

#include "wavelet/packet.h"

/* Analysis. Basis entry j is a combination of planes: x[a] if b < 0, else x[a] + sign * x[b]. Channel k is the sum of
 * `count` entries from `start` on, each times its weight; the channels' weights stand one after another. */
struct analysis_tables {
    size_t planes, entries, channels, weight_count;
    const int32_t *basis; /* entries x (a, b, sign) */
    const int32_t *runs;  /* channels x (start, count) */
    const float *weights;
};

/* Synthesis. Basis entry j is the sum over the channels list[starts[j]:starts[j + 1]], ascending, each times its weight;
 * plane x is entry p, plus sign times entry q unless q < 0. */
struct synthesis_tables {
    size_t planes, entries, channels, list_count;
    const int32_t *starts; /* entries + 1 */
    const int32_t *list;
    const float *weights;    /* list_count */
    const int32_t *assembly; /* planes x (p, q, sign) */
};

/* All 4^levels * colours planes (planes, h, w), plane = band * colours + colour. */
int image_analysis(const uint8_t *pixels, struct image_size size, float *planes);

/* The image of all planes, to the nearest pixel value. */
int image_synthesis(const float *planes, uint8_t *pixels, struct image_size size);

/* Channels times inv_step: float32 (channels, h, w). */
int image_to_coefs(const uint8_t *pixels, struct image_size size, const struct analysis_tables *tables,
                     const float *inv_step, float *coefs);

/* Quantised channels (channels, h, w): sign(c) * floor(|c| * inv_step + rounding), limited to +-127; *outside is how many
 * were limited. */
int image_to_latent(const uint8_t *pixels, struct image_size size, const struct analysis_tables *tables,
                      const float *inv_step, const float *rounding, int8_t *latent, size_t *outside);

/* An image from the first `given` channels of a latent (given, h, w), the others taken as zero. added: float32
 * (planes, h, w), what is added to the planes, or NULL. */
int latent_to_image(const int8_t *latent, size_t given, const struct synthesis_tables *tables, const float *step,
                      const float *delta1, const float *delta2, const float *added, uint8_t *pixels,
                      struct image_size size);

#endif
