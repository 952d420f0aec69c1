/* The loops over values in plain C. */
#include "tokens/simd/loops.h"

int tok_read_portable(const uint32_t *slots, const uint8_t *tables, uint32_t *states, int lanes, size_t values,
                      tok_reader *words, uint16_t *tokens)
{
    const uint8_t *from = words->words;
    for (size_t i = 0; i < values; i += (size_t)lanes) {
        for (int k = 0; k < lanes; k++) {
            const uint32_t x = states[k], table = tables ? tables[i + (size_t)k] : 0;
            const uint32_t entry = slots[table << TOK_PRECISION | (x & 0xfff)];
            uint32_t next = (entry >> 12 & 0xfff) * (x >> TOK_PRECISION) + (entry & 0xfff);
            if (next < TOK_STATE_LOW) {
                next = next << 16 | (uint32_t)(from[0] | from[1] << 8);
                from += 2;
            }
            states[k] = next;
            tokens[i + (size_t)k] = (uint16_t)(entry >> 24);
        }
        if (from > words->end)
            return -1;
    }
    words->words = from;
    return 0;
}

const tok_path tok_path_portable = {tok_read_portable, values_loop, tokens_loop, code_loop};
