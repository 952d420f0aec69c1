#include "wavelet/blocks.h"

#include <stdlib.h>
#include <string.h>

/* One output's sum: `terms` inputs from index on, with its weights. */
struct sum {
    size_t terms;
    const int32_t *index;
    const float *weights;
};

static int same_inputs(const struct sum *a, const struct sum *b)
{
    return a->terms == b->terms && (a->terms == 0 || memcmp(a->index, b->index, a->terms * sizeof *a->index) == 0);
}

/* Groups outputs with the same inputs, keeping the order of inputs. */
static int group(const struct sum *sums, size_t outputs, struct blocks *blocks, float *weights)
{
    unsigned char *done = calloc(outputs + 1, 1);
    if (done == NULL)
        return FRONT_NO_MEMORY;
    for (size_t first = 0; first < outputs; first++) {
        if (done[first])
            continue;
        struct block *b = &blocks->block[blocks->count++];
        *b = (struct block){.terms = sums[first].terms, .index = sums[first].index, .weights = weights};
        for (size_t k = first; k < outputs && b->outputs < BLOCK; k++) {
            if (done[k] || !same_inputs(&sums[first], &sums[k]))
                continue;
            for (size_t i = 0; i < b->terms; i++)
                weights[i * BLOCK + b->outputs] = sums[k].weights[i];
            b->output[b->outputs++] = (int32_t)k;
            done[k] = 1;
        }
        weights += b->terms * BLOCK;
    }
    free(done);
    return FRONT_OK;
}

/* One allocation for blocks, their weights (each sum may end up alone in its block), and `identity` ascending numbers. */
static int take_memory(struct blocks *blocks, size_t outputs, size_t terms, size_t identity, float **weights,
                       int32_t **numbers)
{
    const size_t block_bytes = (outputs + 1) * sizeof(struct block), weight_bytes = terms * BLOCK * sizeof(float);
    char *memory = calloc(1, block_bytes + weight_bytes + (identity + 1) * sizeof(int32_t));
    if (memory == NULL)
        return FRONT_NO_MEMORY;
    *blocks = (struct blocks){.block = (struct block *)memory, .memory = memory};
    *weights = (float *)(memory + block_bytes);
    *numbers = (int32_t *)(memory + block_bytes + weight_bytes);
    for (size_t i = 0; i < identity; i++)
        (*numbers)[i] = (int32_t)i;
    return FRONT_OK;
}

int analysis_blocks(const struct analysis_tables *tables, struct blocks *blocks)
{
    const int64_t planes = (int64_t)tables->planes, entries = (int64_t)tables->entries;
    size_t used = 0;
    *blocks = (struct blocks){0};
    for (int64_t j = 0; j < entries; j++) {
        const int32_t *entry = tables->basis + 3 * j;
        if (entry[0] < 0 || entry[0] >= planes || entry[1] >= planes)
            return FRONT_BAD_TABLE;
    }
    for (size_t k = 0; k < tables->channels; k++) {
        const int64_t start = tables->runs[2 * k], count = tables->runs[2 * k + 1];
        if (start < 0 || count < 0 || start + count > entries)
            return FRONT_BAD_TABLE;
        used += (size_t)count;
    }
    if (used != tables->weight_count)
        return FRONT_BAD_TABLE;

    float *weights;
    int32_t *numbers;
    struct sum *sums = calloc(tables->channels + 1, sizeof *sums);
    int status = sums ? take_memory(blocks, tables->channels, used, tables->entries, &weights, &numbers) : FRONT_NO_MEMORY;
    if (status == FRONT_OK) {
        const float *next = tables->weights;
        for (size_t k = 0; k < tables->channels; k++) {
            const size_t count = (size_t)tables->runs[2 * k + 1];
            sums[k] = (struct sum){count, numbers + tables->runs[2 * k], next};
            next += count;
        }
        status = group(sums, tables->channels, blocks, weights);
    }
    free(sums);
    return status;
}

int synthesis_blocks(const struct synthesis_tables *tables, size_t given, struct blocks *blocks)
{
    const int64_t entries = (int64_t)tables->entries, total = (int64_t)tables->list_count;
    *blocks = (struct blocks){0};
    for (size_t p = 0; p < tables->planes; p++) {
        const int32_t *parts = tables->assembly + 3 * p;
        if (parts[0] < 0 || parts[0] >= entries || parts[1] >= entries)
            return FRONT_BAD_TABLE;
    }
    if (tables->starts[0] != 0 || tables->starts[entries] != total)
        return FRONT_BAD_TABLE;
    for (int64_t j = 0; j < entries; j++) {
        if (tables->starts[j] > tables->starts[j + 1] || tables->starts[j + 1] > total)
            return FRONT_BAD_TABLE;
        for (int64_t i = tables->starts[j]; i < tables->starts[j + 1]; i++)
            if (tables->list[i] < (i == tables->starts[j] ? 0 : tables->list[i - 1] + 1) ||
                tables->list[i] >= (int64_t)tables->channels)
                return FRONT_BAD_TABLE;
    }

    float *weights;
    int32_t *numbers;
    struct sum *sums = calloc(tables->entries + 1, sizeof *sums);
    int status = sums ? take_memory(blocks, tables->entries, tables->list_count, 0, &weights, &numbers) : FRONT_NO_MEMORY;
    if (status == FRONT_OK) {
        for (int64_t j = 0; j < entries; j++) {
            const int32_t start = tables->starts[j];
            size_t terms = (size_t)(tables->starts[j + 1] - start);
            while (terms > 0 && tables->list[start + (int64_t)terms - 1] >= (int64_t)given)
                terms--;
            sums[j] = (struct sum){terms, tables->list + start, tables->weights + start};
        }
        status = group(sums, tables->entries, blocks, weights);
    }
    free(sums);
    return status;
}

void free_blocks(struct blocks *blocks)
{
    free(blocks->memory);
    *blocks = (struct blocks){0};
}
