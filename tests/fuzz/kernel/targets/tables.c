/* The entropy tables of an artifact, of any numbers: refused, or a coder that encodes and decodes.
 *
 * An input: channels, models, tables, precision, gains and flags, a byte each; a latent; then the tables. Numbers of 32
 * bits stand there as such, or in one byte, from which a number near a bound is made. */
#include "targets/input.h"

#include <string.h>

enum { ADAPTIVE = 1, WIDE = 2, GIVEN_FREQUENCIES = 4, WILD = 8 };
enum { HEIGHT = 3, WIDTH = 5 };

static int32_t number(input *in, unsigned flags, int32_t low, int32_t high)
{
    if (flags & WIDE)
        return (int32_t)next_word(in);
    const int32_t byte = next_byte(in);
    if (byte > 250)
        return byte == 251 ? low : byte == 252 ? high : flags & WILD ? (byte == 253 ? low - 1 : high + 1) : 0;
    return (int32_t)(low + (int64_t)(high - (int64_t)low) * byte / 500);
}

static int32_t *numbers(input *in, unsigned flags, size_t count, int32_t low, int32_t high)
{
    int32_t *n = take(count * sizeof *n);
    for (size_t i = 0; i < count; i++)
        n[i] = number(in, flags, low, high);
    return n;
}

/* below `limit` unless wild; a short input is repeated */
static uint8_t *small(input *in, unsigned flags, size_t count, int limit)
{
    uint8_t *b = take(count);
    for (size_t i = 0; i < count; i++) {
        b[i] = in->at < in->end ? next_byte(in) : i > 3 ? b[i - 3] : 0;
        if (!(flags & WILD) && b[i] >= limit)
            b[i] = (uint8_t)(b[i] % limit);
    }
    return b;
}

static int32_t *frequencies(input *in, unsigned flags, int tables, int precision)
{
    int32_t *freq = take((size_t)tables * LS_SYMBOLS * sizeof *freq);
    memset(freq, 0, (size_t)tables * LS_SYMBOLS * sizeof *freq);
    for (int t = 0; t < tables; t++) {
        int32_t *f = freq + t * LS_SYMBOLS, left = 1 << precision;
        for (int s = 0; flags & GIVEN_FREQUENCIES && s < LS_SYMBOLS; s++)
            f[s] = (int32_t)next_word(in);
        if (flags & GIVEN_FREQUENCIES)
            continue;
        left -= f[LS_ESCAPE] = 1 + next_byte(in) % 200;
        for (int i = next_byte(in) % 16; i > 0 && left > 1; i--) {
            const int symbol = next_byte(in) % LS_SYMBOLS, part = 1 + next_byte(in) % (left / 2);
            f[symbol] += part;
            left -= part;
        }
        f[LS_RADIUS] += left;
    }
    return freq;
}

static int fill(ls_coder *coder, input *in, unsigned flags, int gains)
{
    const size_t n = (size_t)coder->models * (size_t)coder->channels, pairs = n * (size_t)coder->channels;
    int32_t *own = numbers(in, flags, 5 * n, 0, 32767), *bias = numbers(in, flags, n, 0, 65535);
    uint8_t *cross = small(in, flags, 2 * pairs, 128), *table;
    int status;
    if (flags & ADAPTIVE) {
        int32_t *taps = numbers(in, flags, LS_TAPS * n, -(1 << 20), 1 << 20);
        uint8_t *source = small(in, flags | WILD, LS_SOURCES * n, 256), *rate = small(in, flags, n, gains);
        int32_t *gain = numbers(in, flags, (size_t)gains * LS_BUCKETS, 0, 65535);
        table = small(in, flags, n * LS_FRACTIONS * LS_BUCKETS, coder->tables);
        const ls_adaptive_weights w = {own, bias, cross, taps, source, rate, gain, table, gains};
        status = ls_coder_adaptive(coder, &w);
        free(taps);
        free(source);
        free(rate);
        free(gain);
    } else {
        uint8_t *predicted = small(in, flags, n, 2);
        int32_t *signed_own = numbers(in, flags, 4 * n, -32767, 32767);
        int32_t *signed_cross = numbers(in, flags, 9 * pairs, -32767, 32767);
        table = small(in, flags, n * LS_FRACTIONS * LS_BUCKETS, coder->tables);
        int32_t *empty = numbers(in, flags, (size_t)coder->models * LS_NEAR, 1, (1 << coder->precision) - 1);
        const ls_weights w = {own, bias, cross, predicted, signed_own, signed_cross, table, empty};
        status = ls_coder_channels(coder, &w);
        free(empty);
        free(predicted);
        free(signed_own);
        free(signed_cross);
    }
    free(own);
    free(bias);
    free(cross);
    free(table);
    return status;
}

static void code(const ls_coder *coder, int height, const int8_t *latent, size_t symbols)
{
    static const uint8_t sha256[32];
    ls_group group = {.lanes = 1, .model = coder->models - 1, .height = height, .width = WIDTH};
    uint8_t *payload, header[32];
    double bits;
    EXPECT(!ls_encode_group(coder, &group, latent, &payload));
    group.payload = payload;
    const size_t size = ls_group_header(header, &group, sha256);
    uint8_t *blob = take(size + group.payload_size);
    memcpy(blob, header, size);
    if (group.payload_size)
        memcpy(blob + size, payload, group.payload_size);
    int8_t *out = take(symbols);
    int failed = -1;
    ls_job job = {.blob = blob, .size = size + group.payload_size};
    EXPECT(!ls_decode_jobs(coder, sha256, &job, 1, height, WIDTH, out, &failed));
    EXPECT(!memcmp(out, latent, symbols));
    EXPECT(!ls_cost_group(coder, group.model, height, WIDTH, latent, &bits));
    free(payload);
    free(blob);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    const int first = next_byte(&in), channels = 1 + first % 3, models = 1 + next_byte(&in) % 2;
    const int tables = 1 + next_byte(&in) % 2, precision = 8 + next_byte(&in) % 3, gains = 1 + next_byte(&in) % 4;
    const unsigned flags = next_byte(&in);
    const int height = flags & ADAPTIVE ? 1 : HEIGHT;
    const size_t symbols = (size_t)channels * (size_t)height * WIDTH;
    choose_path((unsigned)first / 3);
    int8_t *latent = take(symbols);
    for (size_t i = 0; i < symbols; i++)
        latent[i] = (int8_t)next_byte(&in);
    ls_coder *coder = ls_coder_new(models, channels, tables, precision);
    EXPECT(coder);
    int32_t *freq = frequencies(&in, flags, tables, precision);
    int status = fill(coder, &in, flags, gains);
    if (!status)
        status = ls_coder_tables(coder, freq);
    EXPECT(!status || status == LS_CORRUPT);
    if (!status)
        code(coder, height, latent, symbols);
    free(freq);
    free(latent);
    ls_coder_free(coder);
    return 0;
}
