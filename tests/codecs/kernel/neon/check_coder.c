/* The entropy coder: random models and latents of many shapes through encoder, decoder and optimiser. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "coder/coder.h"

/* share_predicted, or filtered, in percent; strength 1 is as fitted, 100 gives weights at the edge of what is allowed */
typedef struct { int models, channels, tables, precision, share_predicted, strength; } family;

static const family families[] = {
    {2, 3, 7, 11, 50, 1},  {1, 2, 3, 12, 100, 100}, {2, 2, 128, 8, 0, 1},
    {1, 1, 1, 10, 100, 1}, {1, 12, 20, 11, 25, 1},
};
/* every number of lanes, sides of one, planes narrower than two columns a lane */
static const int shapes[][2] = {{1, 1},   {1, 9},   {9, 1},   {1, 300}, {300, 1}, {2, 2},   {17, 31}, {32, 32}, {36, 36},
                                {33, 70}, {45, 46}, {48, 48}, {512, 3}, {150, 9}, {64, 64}, {70, 64}, {3, 700}};

/* of audio */
static const family adaptive_families[] = {
    {2, 3, 7, 11, 70, 1}, {1, 2, 3, 12, 100, 100},        {3, 12, 128, 8, 80, 8},
    {1, 4, 5, 10, 0, 1},  {1, LS_MAX_GROUP, 9, 11, 90, 1},
};
static const int widths[] = {1, 2, 3, 9, 40, 300, 1024};

enum { ZEROS, CONSTANT, NOISE, EXTREME, SPARSE, PLAIN, KINDS };
static const char *const kinds[KINDS] = {"zeros", "constant", "noise", "extreme", "sparse", "plain"};

static int32_t *weights(size_t count, int32_t low, int32_t high, int32_t limit, int strength)
{
    int32_t *w = take(count * sizeof *w);
    for (size_t i = 0; i < count; i++) {
        const int32_t x = between(low, high) * strength;
        w[i] = x > limit ? limit : x < -limit ? -limit : x;
    }
    return w;
}

static uint8_t *bytes(size_t count, int high)
{
    uint8_t *b = take(count);
    for (size_t i = 0; i < count; i++)
        b[i] = (uint8_t)between(0, high);
    return b;
}

/* peaks at zero, from flat to near certainty, with gaps: symbols without a frequency go by the escape */
static int32_t *frequencies(int tables, int precision)
{
    int32_t *freq = take((size_t)tables * LS_SYMBOLS * sizeof *freq);
    for (int t = 0; t < tables; t++) {
        int32_t *f = freq + t * LS_SYMBOLS, left = 1 << precision;
        const int share = between(1, 8);
        left -= f[LS_ESCAPE] = one_in(4) ? left / 3 : 1;
        for (int d = 0; d < 2 * LS_RADIUS; d++) {
            const int symbol = d % 2 ? LS_RADIUS - (d + 1) / 2 : LS_RADIUS + d / 2;
            left -= f[symbol] = one_in(6) ? 0 : left * share / 8;
        }
        f[LS_RADIUS + between(0, 1)] += left;
    }
    return freq;
}

static ls_coder *new_coder(const family *f)
{
    const size_t n = (size_t)(f->models * f->channels), pairs = n * (size_t)f->channels;
    ls_weights w = {weights(5 * n, 0, 5000, 32767, f->strength),     weights(n, 0, 3000, 65535, f->strength),
                    bytes(2 * pairs, f->strength > 1 ? 127 : 60),    bytes(n, 99),
                    weights(4 * n, -600, 700, 32767, f->strength),   weights(9 * pairs, -200, 200, 32767, f->strength),
                    bytes(n * LS_FRACTIONS * LS_BUCKETS, f->tables - 1),
                    weights((size_t)f->models * LS_NEAR, 1, (1 << f->precision) - 1, (1 << f->precision) - 1, 1)};
    int32_t *freq = frequencies(f->tables, f->precision);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)w.predicted)[i] = w.predicted[i] < f->share_predicted;
    ls_coder *coder = ls_coder_new(f->models, f->channels, f->tables, f->precision);
    expect("a coder", coder && !ls_coder_channels(coder, &w) && !ls_coder_tables(coder, freq));
    const void *given[9] = {w.own, w.bias, w.cross, w.predicted, w.signed_own, w.signed_cross, w.table, w.empty, freq};
    for (int i = 0; i < 9; i++)
        free((void *)given[i]);
    same("costs", coder->cost, (size_t)f->tables * LS_SYMBOLS * sizeof *coder->cost);
    return coder;
}

static ls_coder *new_adaptive_coder(const family *f)
{
    const size_t n = (size_t)(f->models * f->channels), pairs = n * (size_t)f->channels;
    const int gains = 4;
    ls_adaptive_weights w = {weights(5 * n, 0, 5000, 32767, f->strength),
                             weights(n, 0, 3000, 65535, f->strength),
                             bytes(2 * pairs, f->strength > 1 ? 127 : 60),
                             weights(LS_TAPS * n, -20000, 20000, 1 << 20, f->strength),
                             bytes(LS_SOURCES * n, f->channels),
                             bytes(n, gains - 1),
                             weights((size_t)gains * LS_BUCKETS, 0, 3000, 65535, f->strength),
                             bytes(n * LS_FRACTIONS * LS_BUCKETS, f->tables - 1),
                             gains};
    int32_t *freq = frequencies(f->tables, f->precision);
    memset((int32_t *)w.gain, 0, LS_BUCKETS * sizeof *w.gain);
    for (size_t i = 0; i < n; i++)
        if (!(between(0, 99) < f->share_predicted)) {
            memset((int32_t *)w.taps + LS_TAPS * i, 0, LS_TAPS * sizeof *w.taps);
            ((uint8_t *)w.rate)[i] = 0;
        }
    ls_coder *coder = ls_coder_new(f->models, f->channels, f->tables, f->precision);
    expect("an adaptive coder", coder && !ls_coder_adaptive(coder, &w) && !ls_coder_tables(coder, freq));
    const void *given[9] = {w.own, w.bias, w.cross, w.taps, w.source, w.rate, w.gain, w.table, freq};
    for (int i = 0; i < 9; i++)
        free((void *)given[i]);
    return coder;
}

static void fill(int8_t *latent, size_t size, int kind)
{
    static const int8_t extremes[] = {-128, -127, -1, 0, 1, 126, 127};
    const int value = between(-128, 127), spread = between(1, 40);
    for (size_t i = 0; i < size; i++)
        latent[i] = (int8_t)(kind == ZEROS      ? 0
                             : kind == CONSTANT ? value
                             : kind == NOISE    ? between(-128, 127)
                             : kind == EXTREME  ? extremes[between(0, 6)]
                             : kind == SPARSE   ? (one_in(20) ? between(-128, 127) : 0)
                                                : (between(-spread, spread) + between(-spread, spread)) / 2);
}

typedef struct {
    int8_t *latent;
    ls_group group;
    uint8_t *blob, *payload;
    size_t size;
} sample;

static const uint8_t sha256[32] = "thirty-two bytes of an artifact";

static void join(sample *s)
{
    uint8_t header[32];
    const size_t before = ls_group_header(header, &s->group, sha256);
    s->size = before + s->group.payload_size;
    s->blob = take(s->size);
    memcpy(s->blob, header, before);
    if (s->group.payload_size)
        memcpy(s->blob + before, s->group.payload, s->group.payload_size);
}

static sample encode(const ls_coder *coder, int height, int width, int kind)
{
    const size_t size = (size_t)coder->channels * (size_t)height * (size_t)width;
    const int lanes = coder->adaptive ? 1 : ls_lanes(height, width), model = between(0, coder->models - 1);
    uint16_t *codes = take(size * 2 + 64);
    double bits;
    sample s = {take(size), {.lanes = lanes, .model = model, .quality = 7, .height = height, .width = width}, 0, 0, 0};
    fill(s.latent, size, kind);
    expect("encoding", !ls_encode_group(coder, &s.group, s.latent, &s.payload));
    s.group.payload = s.payload;
    join(&s);
    same("a blob", s.blob, s.size);
    expect("counting", !ls_cost_group(coder, model, height, width, s.latent, &bits));
    same("a cost", &bits, sizeof bits);
    for (int contexts = 0; contexts < 2; contexts++) {
        expect("coding", !ls_group_codes(coder, model, height, width, s.latent, contexts, codes));
        same("codes", codes, size * 2);
    }
    free(codes);
    return s;
}

/* all samples in one call; a status below zero where one is damaged */
static int decode(const ls_coder *coder, const sample *samples, int count, int height, int width, int8_t *out)
{
    ls_job *jobs = take((size_t)count * sizeof *jobs);
    int failed = -1;
    for (int i = 0; i < count; i++)
        jobs[i] = (ls_job){.blob = samples[i].blob, .size = samples[i].size, .index = i};
    const int status = ls_decode_jobs(coder, sha256, jobs, count, height, width, out, &failed);
    free(jobs);
    same("a status", &status, sizeof status);
    if (status)
        same("the place of what failed", &failed, sizeof failed);
    return status;
}

/* Cuts a payload or changes a byte of it, under a checksum that matches. */
static void damage(sample *s)
{
    ls_group *g = &s->group;
    const size_t words = g->payload_size - g->escapes, states = 4 * (size_t)g->lanes;
    free(s->blob);
    if (one_in(3) && words > states) {
        /* two bytes of words less: the escapes move down */
        memmove(s->payload + words - 2, s->payload + words, g->escapes);
        g->payload_size -= 2;
    } else if (one_in(2) && g->escapes > 1) {
        g->payload_size -= 2;
        g->escapes -= 2;
    } else {
        s->payload[between(0, (int32_t)g->payload_size - 1)] ^= (uint8_t)(1 << between(0, 7));
    }
    join(s);
}

static void code(const ls_coder *coder, int height, int width)
{
    const size_t size = (size_t)coder->channels * (size_t)height * (size_t)width;
    /* more than the lanes of two vectors hold, where that is no great work */
    const int count = size > 1500 ? KINDS : 6 * KINDS;
    sample *samples = take((size_t)count * sizeof *samples);
    int8_t *out = take((size_t)count * size);
    for (int i = 0; i < count; i++) {
        doing("%s %dx%d, %d channels", kinds[i % KINDS], height, width, coder->channels);
        samples[i] = encode(coder, height, width, i % KINDS);
    }
    doing("decoding %d of %dx%d", count, height, width);
    expect("decoding", !decode(coder, samples, count, height, width, out));
    for (int i = 0; i < count; i++)
        expect("what was encoded", !memcmp(out + (size_t)i * size, samples[i].latent, size));
    same("latents", out, (size_t)count * size);
    for (int few = 1; few < 5; few++) { /* one vector, half empty; groups of several models in it */
        doing("decoding %d of %dx%d", few, height, width);
        expect("decoding a few", !decode(coder, samples + 2, few, height, width, out));
        same("a few latents", out, (size_t)few * size);
    }
    const int bad = between(0, count - 1);
    if (samples[bad].group.payload_size) {
        doing("decoding damaged %d of %dx%d", count, height, width);
        damage(samples + bad);
        if (!decode(coder, samples, count, height, width, out))
            same("damaged latents", out, (size_t)count * size);
    }
    for (int i = 0; i < count; i++) {
        free(samples[i].latent);
        free(samples[i].blob);
        free(samples[i].payload);
    }
    free(samples);
    free(out);
}

static void optimise(const ls_coder *coder, int height, int width)
{
    const size_t n = (size_t)coder->channels, size = n * (size_t)height * (size_t)width;
    float *coefficients = take(size * sizeof(float)), *weight = take(n * sizeof(float));
    float *delta = take(2 * n * sizeof(float));
    int8_t *latent = take(size);
    double bits;
    const int strong = one_in(3);
    for (size_t i = 0; i < size; i++)
        coefficients[i] = (float)(between(-4000, 4000) * (strong ? 40 : 1)) / 1000;
    for (size_t i = 0; i < n; i++)
        weight[i] = (float)between(1, 3000) / 1000;
    for (size_t i = 0; i < 2 * n; i++)
        delta[i] = (float)between(0, 49) / 100;
    doing("optimising %dx%d", height, width);
    expect("optimising", !ls_optimise_group(coder, coder->models - 1, height, width, coefficients, weight,
                                            (float)between(0, 400) / 1000, delta, latent, &bits));
    same("an optimised latent", latent, size);
    same("its bits", &bits, sizeof bits);
    free(coefficients);
    free(weight);
    free(delta);
    free(latent);
}

/* Groups of several models in lock-step. */
static void together(const ls_coder *coder, int count, int width)
{
    const size_t n = (size_t)coder->channels, size = n * (size_t)width;
    float *coefficients = take((size_t)count * size * sizeof(float)), *weight = take((size_t)count * n * sizeof(float));
    float *delta = take(2 * (size_t)count * n * sizeof(float));
    int8_t *latents = take((size_t)count * size);
    int32_t *models = take((size_t)count * sizeof *models);
    ls_payload *payloads = take((size_t)count * sizeof *payloads);
    const int strong = one_in(3);
    for (size_t i = 0; i < (size_t)count * size; i++)
        coefficients[i] = (float)between(-4000, 4000) * (float)(strong ? 40 : 1) / 1000;
    for (size_t i = 0; i < (size_t)count * n; i++)
        weight[i] = (float)between(1, 3000) / 1000;
    for (size_t i = 0; i < 2 * (size_t)count * n; i++)
        delta[i] = (float)between(0, 49) / 100;
    for (int i = 0; i < count; i++)
        models[i] = between(0, coder->models - 1);
    doing("optimising %d rows of %d", count, width);
    expect("optimising", !ls_optimise_rows(coder, models, count, width, coefficients, weight,
                                           (float)between(0, 400) / 1000, delta, latents));
    same("optimised latents", latents, (size_t)count * size);
    expect("encoding", !ls_encode_rows(coder, models, count, width, latents, payloads));
    for (int i = 0; i < count; i++) {
        same("a payload", payloads[i].bytes, payloads[i].size);
        free(payloads[i].bytes);
    }
    free(coefficients);
    free(weight);
    free(delta);
    free(latents);
    free(models);
    free(payloads);
}

static void check_adaptive(void)
{
    for (size_t f = 0; f < sizeof adaptive_families / sizeof *adaptive_families; f++) {
        doing("adaptive family %zu", f);
        ls_coder *coder = new_adaptive_coder(adaptive_families + f);
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            code(coder, 1, widths[i]);
            together(coder, between(1, 18), widths[i]);
        }
        ls_coder_free(coder);
    }
}

void check_coder(void)
{
    check_adaptive();
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        doing("family %zu", f);
        ls_coder *coder = new_coder(families + f);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            code(coder, shapes[i][0], shapes[i][1]);
            optimise(coder, shapes[i][0], shapes[i][1]);
        }
        ls_coder_free(coder);
    }
}
