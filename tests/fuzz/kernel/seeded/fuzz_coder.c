/* The entropy coder: random models and latents through encoder and decoder, and blobs that lie. */
#include "fuzz.h"

#include <string.h>

#include "coder/coder.h"

static int32_t weight(int32_t low, int32_t high)
{
    return one_in(20) ? (one_in(2) ? low : high) : (int32_t)between(low / 16, high / 16);
}

static int32_t *weights(size_t count, int32_t low, int32_t high)
{
    int32_t *w = take(count * sizeof *w);
    for (size_t i = 0; i < count; i++)
        w[i] = weight(low, high);
    return w;
}

static uint8_t *bytes(size_t count, int high)
{
    uint8_t *b = take(count);
    for (size_t i = 0; i < count; i++)
        b[i] = (uint8_t)between(0, high);
    return b;
}

static int32_t *frequencies(int tables, int precision)
{
    int32_t *freq = take((size_t)tables * LS_SYMBOLS * sizeof *freq);
    memset(freq, 0, (size_t)tables * LS_SYMBOLS * sizeof *freq);
    for (int t = 0; t < tables; t++) {
        int32_t *f = freq + t * LS_SYMBOLS, left = 1 << precision;
        left -= f[LS_ESCAPE] = (int32_t)between(1, one_in(4) ? left - 1 : 8);
        for (int i = (int)between(0, 40); i > 0 && left > 1; i--) {
            int32_t part = (int32_t)between(1, left / 2 > 0 ? left / 2 : 1);
            f[between(0, LS_ESCAPE)] += part;
            left -= part;
        }
        f[LS_RADIUS] += left;
    }
    return freq;
}

/* half of the sources are none: those not below their channel, and numbers beyond the group */
static int fill_adaptive(ls_coder *coder)
{
    const size_t n = (size_t)(coder->models * coder->channels), pairs = n * (size_t)coder->channels;
    const int gains = (int)between(1, LS_MAX_GAINS);
    const ls_adaptive_weights w = {weights(5 * n, 0, 32767),
                                   weights(n, 0, 65535),
                                   bytes(2 * pairs, 127),
                                   weights(LS_TAPS * n, -(1 << 20), 1 << 20),
                                   bytes(LS_SOURCES * n, one_in(4) ? 255 : coder->channels),
                                   bytes(n, gains - 1),
                                   weights((size_t)gains * LS_BUCKETS, 0, one_in(4) ? 0 : 65535),
                                   bytes(n * LS_FRACTIONS * LS_BUCKETS, coder->tables - 1),
                                   gains};
    const int status = ls_coder_adaptive(coder, &w);
    const void *given[8] = {w.own, w.bias, w.cross, w.taps, w.source, w.rate, w.gain, w.table};
    for (int i = 0; i < 8; i++)
        free((void *)given[i]);
    return status;
}

static int fill_still(ls_coder *coder)
{
    const size_t n = (size_t)(coder->models * coder->channels), pairs = n * (size_t)coder->channels;
    const ls_weights w = {weights(5 * n, 0, 32767),
                          weights(n, 0, 65535),
                          bytes(2 * pairs, 127),
                          bytes(n, one_in(3) ? 0 : 1),
                          weights(4 * n, -32767, 32767),
                          weights(9 * pairs, -32767, 32767),
                          bytes(n * LS_FRACTIONS * LS_BUCKETS, coder->tables - 1),
                          weights((size_t)coder->models * LS_NEAR, 16, (1 << coder->precision) - 1)};
    const int status = ls_coder_channels(coder, &w);
    const void *given[8] = {w.own, w.bias, w.cross, w.predicted, w.signed_own, w.signed_cross, w.table, w.empty};
    for (int i = 0; i < 8; i++)
        free((void *)given[i]);
    return status;
}

ls_coder *random_coder(int adaptive)
{
    const int channels = (int)(one_in(30) ? at_most(LS_MAX_GROUP, 3) : between(1, at_most(5, 2)));
    const int models = (int)between(1, at_most(3, 2));
    const int tables = (int)between(1, one_in(10) ? at_most(LS_MAX_TABLES, 4) : at_most(6, 2));
    const int precision = (int)between(8, at_most(12, 9));
    int32_t *freq = frequencies(tables, precision);
    ls_coder *coder = ls_coder_new(models, channels, tables, precision);
    EXPECT(coder);
    EXPECT(!(adaptive ? fill_adaptive : fill_still)(coder));
    /* a table of one symbol alone is refused: its frequency does not fit */
    const int refused = ls_coder_tables(coder, freq);
    free(freq);
    if (!refused)
        return coder;
    ls_coder_free(coder);
    return NULL;
}

/* kind: 0 to 4, where groups of kind 2 often have the sparse form */
static int8_t *random_latent(size_t size, int kind)
{
    int8_t *latent = take(size);
    const int high = (int)between(0, 40);
    for (size_t i = 0; i < size; i++)
        latent[i] = (int8_t)(kind == 0   ? 0
                             : kind == 1 ? between(-128, 127)
                             : kind == 2 ? (one_in(50) ? between(-128, 127) : 0)
                             : kind == 3 ? high
                                         : between(-high, high));
    return latent;
}

static void random_shape(int adaptive, int *height, int *width)
{
    static const int sides[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 36, 45, 46, 64, 65, 127};
    const int64_t last = at_most(sizeof sides / sizeof *sides - 1, 2);
    const int64_t most = at_most(70, 4), long_side = at_most(3000, 12);
    *height = one_in(2) ? sides[between(0, last)] : (int)between(1, most);
    *width = one_in(2) ? sides[between(0, last)] : (int)between(1, most);
    if (one_in(40))
        *width = (int)between(1, long_side), *height = (int)between(1, 3);
    if (one_in(40))
        *height = (int)between(1, long_side), *width = (int)between(1, 3);
    if (adaptive)
        *height = 1;
}

typedef struct {
    uint8_t *bytes;
    size_t size;
} blob;

static blob join(const ls_group *group, const uint8_t sha256[32])
{
    uint8_t header[32];
    const size_t size = ls_group_header(header, group, sha256);
    EXPECT(size <= 21);
    blob b = {take(size + group->payload_size), size + group->payload_size};
    memcpy(b.bytes, header, size);
    if (group->payload_size)
        memcpy(b.bytes + size, group->payload, group->payload_size);
    return b;
}

static blob encode(const ls_coder *coder, int height, int width, const int8_t *latent, const uint8_t sha256[32])
{
    ls_group group = {.lanes = ls_lanes(height, width),
                      .model = (int)between(0, coder->models - 1),
                      .quality = (int)between(0, coder->adaptive ? LS_MAX_STEP_CODE : LS_MAX_QUALITY),
                      .height = height,
                      .width = width};
    uint8_t *payload;
    EXPECT(!ls_encode_group(coder, &group, latent, &payload));
    group.payload = payload;
    blob b = join(&group, sha256);
    free(payload);
    return b;
}

/* Changes a few bytes, the length, or fields of the header; in most cases with a checksum that matches. */
static blob mutated(blob b, const uint8_t sha256[32], int adaptive)
{
    ls_group group;
    blob result = {take(b.size + 16), b.size};
    memcpy(result.bytes, b.bytes, b.size);
    if (ls_group_parse(&group, b.bytes, b.size, sha256, adaptive) || one_in(10)) {
        for (int64_t i = between(1, 4); i > 0 && b.size; i--)
            result.bytes[between(0, (int64_t)b.size - 1)] = (uint8_t)chance();
        if (one_in(2))
            result.size = (size_t)between(0, (int64_t)b.size);
    } else {
        uint8_t *payload = take(group.payload_size + 8);
        if (group.payload_size)
            memcpy(payload, group.payload, group.payload_size);
        for (int64_t i = between(0, 3); i > 0 && group.payload_size; i--)
            payload[between(0, (int64_t)(one_in(2) ? group.payload_size : (group.payload_size + 3) / 4) - 1)] =
                (uint8_t)chance();
        if (one_in(4))
            group.payload_size = (size_t)between(0, (int64_t)group.payload_size);
        else if (one_in(6))
            for (int64_t i = between(1, 8); i > 0; i--)
                payload[group.payload_size++] = (uint8_t)chance();
        if (one_in(4))
            group.escapes = (size_t)between(0, (int64_t)group.payload_size + 3);
        if (one_in(10))
            group.model = (int)between(0, 255);
        if (one_in(20))
            group.quality = (int)between(0, 255);
        if (one_in(20))
            group.height = (int)between(0, (1 << between(0, 27)));
        if (one_in(20))
            group.width = (int)between(0, (1 << between(0, 27)));
        group.payload = payload;
        free(result.bytes);
        result = join(&group, sha256);
        free(payload);
    }
    /* the exact size again, for the sanitizer */
    uint8_t *exact = take(result.size);
    memcpy(exact, result.bytes, result.size);
    free(result.bytes);
    result.bytes = exact;
    return result;
}

/* Decodes several blobs in one call; what the encoder made must come back, whatever else is in the call. */
static void decode(const ls_coder *coder, int height, int width, const uint8_t sha256[32])
{
    const size_t size = (size_t)coder->channels * (size_t)height * (size_t)width;
    const int count = (int)between(1, size > 20000 ? 3 : at_most(40, 2)), lies = one_in(2), alike = one_in(3);
    ls_job *jobs = take((size_t)count * sizeof *jobs);
    blob *blobs = take((size_t)count * sizeof *blobs);
    int8_t **latents = take((size_t)count * sizeof *latents), *out = take((size_t)count * size);
    int failed = -1;
    for (int i = 0; i < count; i++) {
        latents[i] = random_latent(size, alike ? 2 : (int)between(0, 4));
        blobs[i] = encode(coder, height, width, latents[i], sha256);
        if (lies && one_in(count)) {
            blob true_one = blobs[i];
            blobs[i] = mutated(true_one, sha256, coder->adaptive);
            free(true_one.bytes);
        }
        jobs[i] = (ls_job){.blob = blobs[i].bytes, .size = blobs[i].size, .index = i};
    }
    const int status = ls_decode_jobs(coder, sha256, jobs, count, height, width, out, &failed);
    EXPECT(status <= 0 && status != LS_NO_MEMORY);
    EXPECT(!status || (failed >= 0 && failed < count));
    EXPECT(lies || !status);
    for (int i = 0; i < count; i++) {
        EXPECT(lies || !memcmp(out + (size_t)i * size, latents[i], size));
        free(latents[i]);
        free(blobs[i].bytes);
    }
    free(jobs);
    free(blobs);
    free(latents);
    free(out);
}

static void optimise(const ls_coder *coder, int height, int width)
{
    const size_t n = (size_t)coder->channels, size = n * (size_t)height * (size_t)width;
    float *coefficients = take(size * sizeof(float)), *weight_of = take(n * sizeof(float));
    float *delta = take(2 * n * sizeof(float));
    int8_t *latent = take(size);
    uint16_t *codes = take(size * 2 + 64);
    const int model = (int)between(0, coder->models - 1), wild = one_in(3);
    double bits, again;
    for (size_t i = 0; i < size; i++)
        coefficients[i] = wild ? any_float() : (float)between(-4000, 4000) / 1000;
    for (size_t i = 0; i < n; i++)
        weight_of[i] = wild ? any_float() : 1.0f;
    for (size_t i = 0; i < 2 * n; i++)
        delta[i] = wild ? any_float() : (float)between(0, 49) / 100;
    EXPECT(!ls_optimise_group(coder, model, height, width, coefficients, weight_of, wild ? any_float() : 0.1f, delta,
                              latent, &bits));
    EXPECT(!ls_cost_group(coder, model, height, width, latent, &again));
    /* the choice counts the bits of the dense form */
    EXPECT(wild || bits == again || ls_sparse_better(coder, model, height, width, latent));
    EXPECT(!ls_group_codes(coder, model, height, width, latent, 1, codes));
    free(coefficients);
    free(weight_of);
    free(delta);
    free(latent);
    free(codes);
}

/* Groups in lock-step are coded and optimised as each alone. */
static void together(const ls_coder *coder, int width)
{
    const size_t n = (size_t)coder->channels, size = n * (size_t)width;
    const int count = (int)between(0, size > 10000 ? 3 : at_most(20, 1)), wild = one_in(3);
    int32_t *models = take((size_t)count * sizeof *models);
    int8_t *latents = take((size_t)count * size), *alone = take(size);
    float *coefficients = take((size_t)count * size * sizeof(float)), *weight_of = take((size_t)count * n * sizeof(float));
    float *delta = take(2 * (size_t)count * n * sizeof(float)), lambda = wild ? any_float() : 0.1f;
    ls_payload *payloads = take((size_t)count * sizeof *payloads), one;
    uint16_t *codes = take(size * 2 + 64);
    double bits;
    for (int i = 0; i < count; i++)
        models[i] = (int32_t)between(0, coder->models - 1);
    for (size_t i = 0; i < (size_t)count * size; i++)
        coefficients[i] = wild ? any_float() : (float)between(-4000, 4000) / 1000;
    for (size_t i = 0; i < (size_t)count * n; i++)
        weight_of[i] = wild ? any_float() : 1.0f;
    for (size_t i = 0; i < 2 * (size_t)count * n; i++)
        delta[i] = wild ? any_float() : (float)between(0, 49) / 100;
    EXPECT(!ls_optimise_rows(coder, models, count, width, coefficients, weight_of, lambda, delta, latents));
    EXPECT(!ls_encode_rows(coder, models, count, width, latents, payloads));
    for (int i = 0; i < count; i++) {
        const int8_t *latent = latents + (size_t)i * size;
        EXPECT(!ls_optimise_rows(coder, models + i, 1, width, coefficients + (size_t)i * size,
                                 weight_of + (size_t)i * n, lambda, delta + 2 * (size_t)i * n, alone));
        EXPECT(!memcmp(alone, latent, size));
        EXPECT(!ls_encode_rows(coder, models + i, 1, width, latent, &one));
        EXPECT(one.size == payloads[i].size && one.escapes == payloads[i].escapes);
        EXPECT(!one.size || !memcmp(one.bytes, payloads[i].bytes, one.size));
        EXPECT(!ls_cost_group(coder, models[i], 1, width, latent, &bits));
        EXPECT(!ls_group_codes(coder, models[i], 1, width, latent, 1, codes));
        free(one.bytes);
        free(payloads[i].bytes);
    }
    free(models);
    free(latents);
    free(alone);
    free(coefficients);
    free(weight_of);
    free(delta);
    free(payloads);
    free(codes);
}

void fuzz_coder(void)
{
    uint8_t sha256[32];
    int height, width;
    const int adaptive = one_in(2);
    ls_coder *coder = random_coder(adaptive);
    for (int i = 0; i < 32; i++)
        sha256[i] = (uint8_t)chance();
    random_shape(adaptive, &height, &width);
    if (coder && adaptive && one_in(4))
        together(coder, width);
    else if (coder && !adaptive && one_in(5))
        optimise(coder, height, width);
    else if (coder)
        decode(coder, height, width, sha256);
    ls_coder_free(coder);
}
