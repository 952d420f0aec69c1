/* From a payload to an array. */
#include "tokens/lanes.h"

/* The table of every value. */
static void fill_tables(const tok_model *m, const tok_shape *shape, uint8_t *tables)
{
    if (shape->inner == 1) {
        for (size_t at = 0; at < shape->values; at += (size_t)m->channels) {
            const size_t left = shape->values - at;
            memcpy(tables + at, m->table, left < (size_t)m->channels ? left : (size_t)m->channels);
        }
        return;
    }
    tok_channel_run run = tok_first_run(m, shape);
    for (; run.at < shape->values; tok_next_run(m, shape, &run))
        memset(tables + run.at, m->table[run.channel], run.end - run.at);
}

/* All tokens; 0, or -1 where the words end before. */
static int read_tokens(const tok_model *m, const tok_shape *shape, uint32_t *states, tok_reader *words,
                       uint16_t *tokens, uint8_t *tables)
{
    const int lanes = tok_lanes(shape->values);
    const tok_path *path = lanes < 16 ? &tok_path_portable : tok_current_path();
    const int single = !shape->inner || !m->channels || m->tables == 1;
    const size_t whole = shape->values - shape->values % (size_t)lanes;
    const uint32_t *slots = m->slots;
    int status = 0;
    if (!single && shape->inner % (size_t)lanes) {
        fill_tables(m, shape, tables);
        status = path->read(slots, tables, states, lanes, whole, words, tokens);
    } else {
        tables = NULL;
        tok_channel_run run = tok_first_run(m, shape);
        while (!status && run.at < whole) {
            const size_t at = run.at;
            const int table = single ? 0 : m->table[run.channel];
            do /* runs of one table are one */
                tok_next_run(m, shape, &run);
            while (run.at < whole && (single || m->table[run.channel] == table));
            slots = m->slots + ((size_t)table << TOK_PRECISION);
            status = path->read(slots, NULL, states, lanes, (run.at < whole ? run.at : whole) - at, words, tokens + at);
        }
    }
    /* a last step of fewer lanes; there is none where channels have different tables and are whole steps */
    if (!status && whole < shape->values) {
        const int left = (int)(shape->values - whole);
        status = tok_read_portable(slots, tables ? tables + whole : NULL, states, left, (size_t)left, words,
                                   tokens + whole);
    }
    return status;
}

/* Ranks to codes, in place. */
static inline __attribute__((always_inline)) int take_codes(const tok_model *m, const tok_shape *shape, void *array,
                                                            const int bytes)
{
    tok_channel_run run = tok_first_run(m, shape);
    for (; run.at < shape->values; tok_next_run(m, shape, &run)) {
        const uint32_t size = m->sizes[run.channel + 1];
        const uint16_t *code = m->code + (size_t)(run.channel + 1) * ((size_t)m->last + 1);
        for (size_t i = run.at; i < run.end; i++) {
            const uint32_t rank = bytes == 1   ? ((uint8_t *)array)[i]
                                  : bytes == 2 ? ((uint16_t *)array)[i]
                                               : ((uint32_t *)array)[i];
            if (rank >= size)
                return TOK_CORRUPT;
            if (bytes == 1)
                ((uint8_t *)array)[i] = (uint8_t)code[rank];
            else if (bytes == 2)
                ((uint16_t *)array)[i] = code[rank];
            else
                ((uint32_t *)array)[i] = code[rank];
        }
    }
    return TOK_OK;
}

int tok_decode(const tok_model *m, const tok_shape *shape, const uint8_t *payload, size_t size, void *array,
               tok_scratch *scratch)
{
    const int lanes = tok_lanes(shape->values);
    if (shape->values == 0)
        return size ? TOK_CORRUPT : TOK_OK;
    const size_t first = 4 * (size_t)lanes, held = 2 * (size_t)lanes;
    if (size < first)
        return TOK_TRUNCATED;
    if (shape->values > (SIZE_MAX - size - TOK_PAD) / 4)
        return TOK_NO_MEMORY;
    const size_t tables_at = 2 * shape->values + 64, payload_at = tables_at + shape->values + 64;
    uint8_t *memory = tok_scratch_take(scratch, payload_at + size + TOK_PAD);
    if (!memory)
        return TOK_NO_MEMORY;
    uint16_t *tokens = (uint16_t *)(void *)memory;
    uint8_t *copy = memory + payload_at, *end = copy + size;
    memcpy(copy, payload, size);
    memset(end, 0, TOK_PAD);
    uint32_t states[TOK_MAX_LANES] = {0};
    for (int k = 0; k < lanes; k++) {
        for (int b = 0; b < 4; b++)
            states[k] |= (uint32_t)copy[4 * k + b] << 8 * b;
        if (states[k] < TOK_STATE_LOW)
            return TOK_CORRUPT;
    }
    tok_reader words = {copy + first, end};
    if (read_tokens(m, shape, states, &words, tokens, memory + tables_at))
        return TOK_TRUNCATED;
    /* the first extra bits are in the last states; they go before the others, over words that have been read */
    uint8_t *extras = copy + (words.words - copy) - held;
    for (int k = 0; k < lanes; k++) {
        if (states[k] >> 16 != 1)
            return TOK_CORRUPT;
        extras[2 * k] = (uint8_t)states[k];
        extras[2 * k + 1] = (uint8_t)(states[k] >> 8);
    }
    size_t bit = 0;
    const size_t most = 8 * (size_t)(end - extras);
    if (tok_current_path()->values(m, tokens, shape->values, extras, &bit, most, array))
        return TOK_TRUNCATED;
    /* what is left is the end of a byte, or of the states, and is 0 */
    if ((bit + 7) / 8 < (size_t)(end - extras) && (size_t)(end - extras) > held)
        return TOK_CORRUPT;
    for (; bit < most; bit++)
        if (extras[bit >> 3] >> (bit & 7) & 1)
            return TOK_CORRUPT;
    if (!m->ranked)
        return TOK_OK;
    return m->bytes == 1   ? take_codes(m, shape, array, 1)
           : m->bytes == 2 ? take_codes(m, shape, array, 2)
                           : take_codes(m, shape, array, 4);
}
