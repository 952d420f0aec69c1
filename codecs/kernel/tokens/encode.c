/* From an array to a payload. */
#include "tokens/lanes.h"

#include <stdlib.h>

void tok_scratch_free(tok_scratch *scratch)
{
    free(scratch->bytes);
    *scratch = (tok_scratch){NULL, 0};
}

uint8_t *tok_scratch_take(tok_scratch *scratch, size_t size)
{
    if (scratch->size < size) {
        free(scratch->bytes);
        scratch->bytes = malloc(size);
        scratch->size = scratch->bytes ? size : 0;
    }
    return scratch->bytes;
}

int tok_lanes(size_t values)
{
    return values < 512 ? 1 : values < 2048 ? 4 : values < 4096 ? 16 : 32;
}

int tok_encode(const tok_model *m, const tok_shape *shape, const void *array, tok_coded *coded, tok_scratch *scratch)
{
    const size_t n = shape->values;
    memset(coded, 0, sizeof *coded);
    if (n == 0)
        return TOK_OK;
    const int lanes = tok_lanes(n);
    /* one block: symbols, words that grow downwards, extra bits */
    const size_t words = 2 * n + 16, extras = n * (size_t)m->bytes + 2 * TOK_MAX_LANES + 16, held = 2 * (size_t)lanes;
    uint16_t *index = (uint16_t *)(void *)tok_scratch_take(scratch, 2 * n + words + extras);
    if (!index)
        return TOK_NO_MEMORY;
    uint8_t *end = (uint8_t *)(index + n) + words;
    const tok_path *path = tok_current_path();
    tok_writer w = {end, 0, 0};
    coded->outside = path->tokens(m, shape, array, index, &w);
    if (coded->outside < n)
        return TOK_OUTSIDE;
    w.to += w.count > 0;
    memset(w.to, 0, 2 * TOK_MAX_LANES);
    for (int k = 0; k < lanes; k++)
        coded->states[k] = TOK_STATE_LOW | (uint32_t)(end[2 * k] | end[2 * k + 1] << 8);
    coded->lanes = lanes;
    coded->words = path->code(m, index, n, coded->states, end, lanes);
    coded->words_size = (size_t)(end - coded->words);
    coded->extras = end + held;
    coded->extras_size = (size_t)(w.to - end) > held ? (size_t)(w.to - end) - held : 0;
    coded->size = 4 * (size_t)lanes + coded->words_size + coded->extras_size;
    return TOK_OK;
}

void tok_write(const tok_coded *coded, uint8_t *to)
{
    for (int k = 0; k < coded->lanes; k++)
        for (int b = 0; b < 4; b++)
            *to++ = (uint8_t)(coded->states[k] >> 8 * b);
    if (coded->words_size)
        memcpy(to, coded->words, coded->words_size);
    if (coded->extras_size)
        memcpy(to + coded->words_size, coded->extras, coded->extras_size);
}
