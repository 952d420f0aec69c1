/* Work memory of the coder: flat planes with zeros around them, and what one plane tells those after it. */
#ifndef LATENTSTORE_CODER_WORK_H
#define LATENTSTORE_CODER_WORK_H

#include "coder/coder.h"

typedef struct {
    const ls_geometry *g;
    int adaptive;
    uint8_t *memory;
    uint8_t *scratch;                /* two padded byte planes */
    int8_t *residual;                /* interior of a padded plane; of adaptive coders, magnitudes */
    int8_t *value[LS_MAX_GROUP + 1]; /* of channels that others are predicted from, then one that the rest share */
    uint8_t *pairs[LS_MAX_GROUP];
    const uint8_t *used[LS_MAX_GROUP]; /* NULL for planes of zeros */
    uint16_t *context;
    int32_t *prediction;
    uint32_t *sums; /* of a row */
    uint16_t weights[LS_MAX_GROUP][LS_MAX_LANES]; /* what ls_earlier makes of the channels, by lane */
    int32_t signed_weights[LS_MAX_GROUP][9][LS_MAX_LANES];
} ls_work;

int ls_work_make(ls_work *w, const ls_coder *coder, const ls_geometry *g);
void ls_work_free(ls_work *w);

/* what earlier channels say about channel k, which lanes may code by different models: w->context, and w->prediction if
 * any of them is predicted */
void ls_earlier(ls_work *w, const ls_path *path, const ls_channel *const channel[LS_MAX_LANES], int k);
/* keeps of channel k, whose residual stands, what later ones need */
void ls_finish_plane(ls_work *w, const ls_path *path, int k);
/* of an adaptive coder: the values of each lane's sources for channel k, in planes with zeros around them */
void ls_sources(ls_work *w, const ls_channel *const channel[LS_MAX_LANES], int k, const int8_t *source[LS_SOURCES]);

#endif
