/* A projection as blocks of up to BLOCK outputs that sum over the same inputs, so that an input is loaded once for all. */
#ifndef LATENTSTORE_BLOCKS_H
#define LATENTSTORE_BLOCKS_H

#include "wavelet/projection.h"
#include "wavelet/rows.h"

struct block {
    size_t terms, outputs;
    int32_t output[BLOCK];
    const int32_t *index;
    const float *weights; /* terms x BLOCK, zero where there are fewer outputs */
};

struct blocks {
    size_t count;
    struct block *block;
    void *memory;
};

/* Blocks over channels with equal runs; every index is checked. FRONT_OK, or what is wrong. */
int analysis_blocks(const struct analysis_tables *tables, struct blocks *blocks);

/* Blocks over neighbouring entries with equal channel lists, lists cut at `given`; every index is checked. */
int synthesis_blocks(const struct synthesis_tables *tables, size_t given, struct blocks *blocks);

void free_blocks(struct blocks *blocks);

#endif
