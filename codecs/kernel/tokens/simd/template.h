/* Reading tokens, written once over the 16-lane vectors of coder/simd/vec_*.h, and compiled for each path. */
#include "tokens/simd/loops.h"

#ifndef GATHER
#define GATHER v_gather
#endif
#ifndef REFILL
#define REFILL(FROM, STATE) reader_refill(FROM, STATE, v_equal(v_srl(STATE, 16), v_set(0)), 1)
#endif

INLINE int read_any(const uint32_t *slots, const uint8_t *tables, uint32_t *states, size_t values, tok_reader *words,
                    uint16_t *tokens, const int vectors, const int mixed)
{
    const vec twelve = v_set(0xfff);
    reader from;
    ls_stream stream;
    memset(&stream, 0, sizeof stream);
    stream.base = stream.words = words->words;
    stream.words_end = words->end;
    reader_open(&from, &stream, 1);
    vec state[2];
    for (int j = 0; j < vectors; j++)
        state[j] = v_load(states + 16 * j);
    for (size_t i = 0; i < values; i += 16 * (size_t)vectors) {
        vec entry[2];
        for (int j = 0; j < vectors; j++) {
            vec slot = v_and(state[j], twelve);
            if (mixed)
                slot = v_or(slot, v_sll(v_load_i8((const int8_t *)tables + i + 16 * j), TOK_PRECISION));
            entry[j] = GATHER(slots, slot);
        }
        for (int j = 0; j < vectors; j++) {
            const vec freq = v_and(v_srl(entry[j], 12), twelve);
            state[j] = v_add(v_mul(freq, v_srl(state[j], TOK_PRECISION)), v_and(entry[j], twelve));
            state[j] = REFILL(&from, state[j]);
            v_store_u16(tokens + i + 16 * j, v_srl(entry[j], 24));
        }
        if (from.word[0] > words->end)
            return -1;
    }
    for (int j = 0; j < vectors; j++)
        v_store(states + 16 * j, state[j]);
    words->words = from.word[0];
    return 0;
}

static int read_loop(const uint32_t *slots, const uint8_t *tables, uint32_t *states, int lanes, size_t values,
                     tok_reader *words, uint16_t *tokens)
{
    if (lanes == 32)
        return tables ? read_any(slots, tables, states, values, words, tokens, 2, 1)
                      : read_any(slots, tables, states, values, words, tokens, 2, 0);
    return tables ? read_any(slots, tables, states, values, words, tokens, 1, 1)
                  : read_any(slots, tables, states, values, words, tokens, 1, 0);
}
