/* Between signals and latents: the lapped transform of docs/format-audio.md, section S6, and quantisation.
 *
 * A value does not depend on what is computed with it, so a signal may be processed in any pieces.
 */
#ifndef LATENTSTORE_LAPPED_H
#define LATENTSTORE_LAPPED_H

#include <stddef.h>
#include <stdint.h>

#define MAX_INPUTS 16
#define MAX_HOP 1024
#define PANEL 16 /* channels side by side: as many as the widest vector has lanes */

/* Analysis. A panel holds the basis of up to PANEL channels of one mixed signal, transposed, so that its channels are
 * the lanes of vectors. */
struct lapped_panels {
    size_t inputs, hop, channels, count;
    const float *mix;       /* inputs x inputs */
    const float *basis;     /* count x 2 hop x PANEL */
    const int32_t *lanes;   /* count x PANEL: the channel of each lane, or -1 */
    const int32_t *sources; /* count: mixed signals */
};

/* Coefficients times inverse, float32 (channels, instants), of places float32 ((instants + 1) * hop, inputs). Channels
 * that no panel holds are left as they are. FRONT_... of packet.h. */
int lapped_coefs(const float *places, size_t instants, const struct lapped_panels *panels, const float *inverse,
                 float *coefs);

/* Quantised channels (channels, instants): sign(x) * floor(|x| + rounding), x the coefficient times inverse, limited to
 * +-127; *outside is how many were limited. */
int lapped_latent(const float *places, size_t instants, const struct lapped_panels *panels, const float *inverse,
                  const float *rounding, int8_t *latent, size_t *outside);

struct lapped_tables {
    size_t inputs, hop, channels;
    const float *mix;     /* inputs x inputs */
    const int8_t *source; /* channels */
    const float *basis;   /* channels x 2 hop */
    const float *fold;    /* hop */
    const float *scale;   /* channels */
    const float *delta;   /* channels x 2 */
};

/* Which samples are wanted, and which instants of how many are at hand. */
struct lapped_span {
    size_t start, stop;     /* samples */
    size_t first, instants; /* instants at hand */
    size_t t;               /* instants of the whole signal */
};

/* Samples float32 (stop - start, inputs) from the first `given` channels of a latent int8 (given, instants), the others
 * taken as zero. FRONT_BAD_TABLE too if an instant that the samples need is not at hand. */
int lapped_samples(const int8_t *latent, size_t given, struct lapped_span span, const struct lapped_tables *tables,
                   float *samples);

#endif
