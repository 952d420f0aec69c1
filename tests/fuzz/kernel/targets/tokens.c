/* Tokens: payloads of any bytes, what an encoder makes of any values, and frames.
 *
 * An input: path and kind, width of values and flags, channels, inner, outer, splits, a byte each; then where intervals
 * are split, frequencies, tables of channels, codebooks; then values, or a payload. */
#include "targets/input.h"

#include <string.h>

#include "tokens/frame.h"
#include "tokens/tokens.h"

enum { HOSTILE = 1, RANKED = 2, SINGLE = 4, SHIFTED = 8, LONG = 16, FRAME = 32 };
enum { MOST_SPLITS = 40, MOST_CHANNELS = 4 };

static int take_intervals(input *in, int bits, int splits, int64_t *base, uint8_t *extra)
{
    int count = 2;
    base[0] = 0, base[1] = (int64_t)1 << (bits - 1);
    extra[0] = extra[1] = (uint8_t)(bits - 1);
    for (; splits > 0; splits--) {
        const int at = next_byte(in) % count;
        if (!extra[at])
            continue;
        memmove(base + at + 1, base + at, (size_t)(count - at) * sizeof *base);
        memmove(extra + at + 1, extra + at, (size_t)(count - at));
        extra[at]--;
        extra[at + 1]--;
        base[at + 1] = base[at] + ((int64_t)1 << extra[at]);
        count++;
    }
    return count;
}

static void take_frequencies(input *in, int tokens, int tables, int32_t *freq)
{
    for (int i = 0; i < tables; i++, freq += tokens) {
        int32_t left = (1 << TOK_PRECISION) - tokens;
        for (int t = 0; t < tokens; t++) {
            const int32_t part = left * (int32_t)(next_byte(in) % 128) / 128;
            freq[t] = 1 + part;
            left -= part;
        }
        freq[next_byte(in) % tokens] += left;
    }
}

/* All codes of each book, in an order that a byte gives. */
static void take_books(input *in, int channels, uint32_t last, int32_t *sizes, int32_t *codes)
{
    for (int b = 0; b <= channels; b++) {
        sizes[b] = 1 + (int32_t)(next_byte(in) % (last + 1));
        const int32_t turn = next_byte(in) % sizes[b];
        for (int32_t r = 0; r < sizes[b]; r++)
            codes[(size_t)b * ((size_t)last + 1) + (size_t)r] = (r + turn) % sizes[b];
    }
}

static void refuse_or_agree(const tok_model *m, const tok_shape *shape, const uint8_t *payload, size_t size)
{
    const size_t bytes = shape->values * (size_t)m->bytes;
    uint8_t *first = take(bytes), *second = take(bytes);
    memset(first, 0, bytes);
    memset(second, 0, bytes);
    tok_scratch scratch = {NULL, 0};
    const int status = tok_decode(m, shape, payload, size, first, &scratch);
    const int path = kernel_path();
    force_path(PATH_PORTABLE);
    EXPECT(tok_decode(m, shape, payload, size, second, &scratch) == status);
    force_path(path);
    EXPECT(status == TOK_OK || status == TOK_TRUNCATED || status == TOK_CORRUPT);
    EXPECT(status || !memcmp(first, second, bytes));
    if (!status) { /* one array has one payload */
        tok_coded coded;
        EXPECT(!tok_encode(m, shape, first, &coded, &scratch) && coded.size == size);
        uint8_t *again = take(size);
        tok_write(&coded, again);
        EXPECT(!size || !memcmp(again, payload, size));
        free(again);
    }
    tok_scratch_free(&scratch);
    free(first);
    free(second);
}

static void encode_and_decode(const tok_model *m, const tok_shape *shape, input *in)
{
    const size_t bytes = shape->values * (size_t)m->bytes;
    uint8_t *array = take(bytes);
    for (size_t i = 0; i < bytes; i++)
        array[i] = in->at < in->end ? next_byte(in) : i > 9 ? (uint8_t)(array[i - 7] ^ array[i - 9]) : 0;
    tok_coded coded;
    tok_scratch scratch = {NULL, 0};
    const int status = tok_encode(m, shape, array, &coded, &scratch);
    EXPECT(status == TOK_OK || (status == TOK_OUTSIDE && coded.outside < shape->values));
    if (!status) {
        uint8_t *payload = take(coded.size); /* of exactly this size */
        tok_write(&coded, payload);
        refuse_or_agree(m, shape, payload, coded.size);
        free(payload);
    }
    tok_scratch_free(&scratch);
    free(array);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    const unsigned flags = next_byte(&in), second = next_byte(&in);
    choose_path(second / 4);
    if (flags & FRAME) {
        const uint32_t seed = second;
        tok_frame frame;
        EXPECT(tok_split_frame(in.at, (size_t)(in.end - in.at), 0x10, second & 1 ? &seed : NULL, &frame) <= 0);
        return 0;
    }
    const int bytes = flags & RANKED ? 2 : 1 << second % 3, channels = flags & SINGLE ? 0 : 1 + next_byte(&in) % MOST_CHANNELS;
    const int shift = flags & SHIFTED && !(flags & RANKED) ? next_byte(&in) % (8 * bytes) : 0;
    const int ranked_bits = 1 + next_byte(&in) % 9, bits = flags & RANKED ? ranked_bits : 8 * bytes - shift;
    const uint32_t last = bits == 32 ? UINT32_MAX : ((uint32_t)1 << bits) - 1;
    const size_t outer = 1 + next_byte(&in) % (flags & LONG ? 64 : 4), inner = 1 + next_byte(&in) % (flags & LONG ? 64 : 9);
    int64_t base[MOST_SPLITS + 2];
    uint8_t extra[MOST_SPLITS + 2], table[MOST_CHANNELS];
    const int tokens = take_intervals(&in, bits, next_byte(&in) % MOST_SPLITS, base, extra), tables = 1 + channels / 2;
    int32_t freq[(1 + MOST_CHANNELS / 2) * (MOST_SPLITS + 2)], sizes[1 + MOST_CHANNELS];
    take_frequencies(&in, tokens, tables, freq);
    for (int c = 0; c < channels; c++)
        table[c] = (uint8_t)(next_byte(&in) % tables);
    int32_t *codes = take(flags & RANKED ? (1 + (size_t)channels) * ((size_t)last + 1) * sizeof *codes : 1);
    if (flags & RANKED) {
        memset(codes, 0, (1 + (size_t)channels) * ((size_t)last + 1) * sizeof *codes);
        take_books(&in, channels, last, sizes, codes);
    }
    int status;
    tok_model *m = tok_model_new(bytes, shift, last, tokens, base, extra, tables, freq, channels, table,
                                 flags & RANKED ? sizes : NULL, flags & RANKED ? codes : NULL, &status);
    EXPECT(m && !status);
    const tok_shape shape = {outer * inner * (size_t)(channels ? channels : 1), next_byte(&in) % 4 ? inner : 0};
    if (flags & HOSTILE) {
        const size_t left = (size_t)(in.end - in.at);
        uint8_t *payload = take(left);
        if (left)
            memcpy(payload, in.at, left);
        refuse_or_agree(m, &shape, payload, left);
        free(payload);
    } else {
        encode_and_decode(m, &shape, &in);
    }
    tok_model_free(m);
    free(codes);
    return 0;
}
