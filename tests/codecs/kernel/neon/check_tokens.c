/* Tokens: arrays of some lengths and widths, with random intervals, tables and channels, in both directions. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "tokens/tokens.h"

enum { MOST = 30, CHANNELS = 6, TABLES = 4 };

/* outer, inner */
static const size_t sizes[][2] = {{1, 1}, {9, 11}, {30, 16}, {1, 700}, {70, 7}, {3, 333}, {9, 96}, {1000, 1}};

static void code(int bytes, int mixed, size_t outer, size_t inner)
{
    int64_t base[MOST] = {0, (int64_t)1 << (8 * bytes - 1)};
    uint8_t extra[MOST] = {(uint8_t)(8 * bytes - 1), (uint8_t)(8 * bytes - 1)}, table[CHANNELS];
    int tokens = 2, status;
    while (tokens < MOST) { /* halves any of them */
        const int at = between(0, one_in(2) ? 3 : tokens) % tokens;
        if (!extra[at])
            continue;
        memmove(base + at + 1, base + at, (size_t)(tokens - at) * sizeof *base);
        memmove(extra + at + 1, extra + at, (size_t)(tokens - at));
        extra[at]--;
        extra[at + 1]--;
        base[at + 1] = base[at] + ((int64_t)1 << extra[at]);
        tokens++;
    }
    int32_t freq[TABLES * MOST];
    for (int i = 0; i < TABLES; i++) {
        int32_t left = (1 << TOK_PRECISION) - MOST;
        for (int t = 0; t < MOST; t++) {
            const int32_t part = t == MOST - 1 ? left : between(0, left / 3);
            freq[i * MOST + t] = 1 + part;
            left -= part;
        }
    }
    for (int c = 0; c < CHANNELS; c++)
        table[c] = (uint8_t)between(0, TABLES - 1);
    tok_model *m = tok_model_new(bytes, 0, bytes == 4 ? UINT32_MAX : ((uint32_t)1 << 8 * bytes) - 1, MOST, base, extra,
                                 TABLES, freq, mixed ? CHANNELS : 0, table, NULL, NULL, &status);
    expect("a model", m != NULL);
    const tok_shape shape = {outer * inner * CHANNELS, mixed ? inner : 0};
    const size_t size = shape.values * (size_t)bytes;
    uint8_t *array = take(size), *out = take(size);
    for (size_t i = 0; i < size; i++)
        array[i] = (uint8_t)(one_in(2) ? between(0, 255) : 0);
    tok_coded coded;
    tok_scratch scratch = {NULL, 0};
    expect("a payload", tok_encode(m, &shape, array, &coded, &scratch) == TOK_OK);
    uint8_t *payload = take(coded.size);
    tok_write(&coded, payload);
    same("a payload", payload, coded.size);
    expect("an array", tok_decode(m, &shape, payload, coded.size, out, &scratch) == TOK_OK);
    expect("the same array", !memcmp(array, out, size));
    status = tok_decode(m, &shape, payload, coded.size / 2, out, &scratch);
    same("what is said of half a payload", &status, sizeof status);
    tok_scratch_free(&scratch);
    tok_model_free(m);
    free(array);
    free(out);
    free(payload);
}

void check_tokens(void)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int mixed = 0; mixed < 2; mixed++)
            for (int bytes = 1; bytes <= 4; bytes *= 2) {
                doing("tokens of %d bytes, %zu x %zu, %d", bytes, sizes[i][0], sizes[i][1], mixed);
                code(bytes, mixed, sizes[i][0], sizes[i][1]);
            }
}
