/* Groups of an adaptive coder, encoded and optimised: contexts in lock-step, a stream a lane, then words backwards. */
#include "coder/work.h"

#include <stdlib.h>
#include <string.h>

/* Groups that are coded together; lanes beyond `count` are coded for nothing. */
typedef struct {
    int count, index[LS_MAX_LANES], model[LS_MAX_LANES];
} row_bundle;

static void plane_of(const ls_coder *coder, ls_work *w, const row_bundle *b, int k, ls_plane *plane)
{
    memset(plane, 0, sizeof *plane);
    for (int lane = 0; lane < LS_MAX_LANES; lane++) {
        const int model = b->model[lane < b->count ? lane : b->count - 1];
        plane->channel[lane] = coder->channel + (size_t)model * (size_t)coder->channels + k;
        plane->predicted |= plane->channel[lane]->filtered;
        plane->mixed |= plane->channel[lane] != plane->channel[0];
    }
    plane->cross = w->context;
    plane->residual = w->residual;
    plane->value = w->value[k];
    ls_sources(w, plane->channel, k, plane->source);
}

/* codes: all channels' flat planes, one after another */
static void code_bundle(const ls_coder *coder, ls_work *w, const row_bundle *b, const int8_t *latents, int contexts,
                        uint16_t *codes)
{
    const ls_path *path = ls_current_path();
    const size_t width = (size_t)w->g->width, group = (size_t)coder->channels * width;
    for (int k = 0; k < coder->channels; k++) {
        ls_plane plane;
        for (int s = 0; s < b->count; s++)
            ls_to_flat(w->g, s, latents + (size_t)b->index[s] * group + (size_t)k * width, w->value[k]);
        plane_of(coder, w, b, k, &plane);
        ls_earlier(w, path, plane.channel, k);
        path->code_rows(coder, w->g, &plane, contexts, codes + (size_t)k * (size_t)w->g->size);
        if (k + 1 < coder->channels)
            ls_finish_plane(w, path, k);
    }
}

/* Streams on their way from the last symbol to the first. */
typedef struct {
    uint32_t state;
    uint8_t *words, *escapes; /* both grow downwards */
} backwards;

/* floor(x / freq) by a 32-bit reciprocal is at most one too small */
static inline void put_symbol(const ls_coder *coder, backwards *s, uint32_t code, int8_t value)
{
    const int precision = coder->precision;
    if (!coder->freq[code])
        code |= LS_ESCAPE;
    *(s->escapes - 1) = (uint8_t)value;
    s->escapes -= (code & LS_ESCAPE) == LS_ESCAPE;
    const uint32_t freq = coder->freq[code];
    const int full = s->state >> (32 - precision) >= freq;
    s->words[-2] = (uint8_t)s->state;
    s->words[-1] = (uint8_t)(s->state >> 8);
    s->words -= 2 * full;
    const uint32_t x = s->state >> 16 * full;
    const uint32_t quotient = (uint32_t)((uint64_t)x * coder->reciprocal[code] >> 32), rest = x - quotient * freq;
    const uint32_t more = rest >= freq;
    s->state = ((quotient + more) << precision) + rest - (freq & (0 - more)) + coder->start[code];
}

/* States, words and escapes of the streams of a bundle. A symbol has one word and one escape at most, and a place
 * before each is written to before it is known whether it is needed. */
static int write_payloads(const ls_coder *coder, const ls_work *w, const row_bundle *b, const uint16_t *codes,
                          ls_payload *payloads)
{
    const size_t symbols = (size_t)coder->channels * (size_t)w->g->width, room = 3 * (symbols + 4);
    uint8_t *memory = malloc((size_t)b->count * room);
    backwards streams[LS_MAX_LANES];
    int status = memory ? LS_OK : LS_NO_MEMORY;
    for (int s = 0; s < b->count && !status; s++) {
        streams[s].state = LS_STATE_LOW;
        streams[s].words = memory + (size_t)s * room + 2 * (symbols + 4);
        streams[s].escapes = memory + (size_t)(s + 1) * room;
    }
    for (int k = coder->channels - 1; k >= 0 && !status; k--) {
        const uint16_t *plane = codes + (size_t)k * (size_t)w->g->size;
        for (ptrdiff_t at = w->g->size - LS_MAX_LANES; at >= 0; at -= LS_MAX_LANES)
            for (int s = 0; s < b->count; s++)
                put_symbol(coder, streams + s, plane[at + s], w->value[k][at + s]);
    }
    for (int s = 0; s < b->count && !status; s++) {
        ls_payload *p = payloads + b->index[s];
        const size_t words = (size_t)(memory + (size_t)s * room + 2 * (symbols + 4) - streams[s].words);
        p->escapes = (size_t)(memory + (size_t)(s + 1) * room - streams[s].escapes);
        p->size = 4 + words + p->escapes;
        p->bytes = malloc(p->size);
        if (!p->bytes) {
            status = LS_NO_MEMORY;
            break;
        }
        for (int i = 0; i < 4; i++)
            p->bytes[i] = (uint8_t)(streams[s].state >> (8 * i));
        memcpy(p->bytes + 4, streams[s].words, words);
        memcpy(p->bytes + 4 + words, streams[s].escapes, p->escapes);
    }
    free(memory);
    return status;
}

static int is_zero(const int8_t *values, size_t count)
{
    int8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= values[i];
    return !any;
}

/* the next groups that are not all zeros, from *next on */
static void fill_bundle(row_bundle *b, const int32_t *models, int count, size_t group, const int8_t *latents, int *next)
{
    for (b->count = 0; *next < count && b->count < LS_MAX_LANES; ++*next) {
        if (is_zero(latents + (size_t)*next * group, group))
            continue;
        b->index[b->count] = *next;
        b->model[b->count++] = models[*next];
    }
}

int ls_encode_rows(const ls_coder *coder, const int32_t *models, int count, int width, const int8_t *latents,
                   ls_payload *payloads)
{
    const size_t group = (size_t)coder->channels * (size_t)width;
    uint16_t *codes = NULL;
    ls_geometry g;
    ls_work w = {0};
    row_bundle b;
    int next = 0, status = LS_OK;
    memset(payloads, 0, (size_t)count * sizeof *payloads);
    ls_geometry_row(&g, width, LS_MAX_LANES);
    while (!status) {
        fill_bundle(&b, models, count, group, latents, &next);
        if (!b.count)
            break;
        if (!codes) {
            codes = malloc(group * LS_MAX_LANES * sizeof *codes);
            status = codes ? ls_work_make(&w, coder, &g) : LS_NO_MEMORY;
        }
        if (status)
            break;
        code_bundle(coder, &w, &b, latents, 0, codes);
        status = write_payloads(coder, &w, &b, codes, payloads);
    }
    free(codes);
    ls_work_free(&w);
    return status;
}

/* In the order of rows; for fitting, and to choose a model. */
int ls_row_codes(const ls_coder *coder, int model, int width, const int8_t *latent, int contexts, uint16_t *codes)
{
    const row_bundle b = {.count = 1, .model = {model}};
    const size_t symbols = (size_t)coder->channels * (size_t)width;
    uint16_t *wide = malloc(symbols * LS_MAX_LANES * sizeof *wide);
    ls_geometry g;
    ls_work w = {0};
    ls_geometry_row(&g, width, LS_MAX_LANES);
    int status = wide ? ls_work_make(&w, coder, &g) : LS_NO_MEMORY;
    if (!status) {
        code_bundle(coder, &w, &b, latent, contexts, wide);
        for (size_t i = 0; i < symbols; i++)
            codes[i] = wide[i * LS_MAX_LANES];
    }
    free(wide);
    ls_work_free(&w);
    return status;
}

/* flat: for the bundle's coefficients of one channel; weight (streams, channels) and delta (streams, channels, 2) are
 * otherwise as in ls_optimise_group */
static void choose_bundle(const ls_coder *coder, ls_work *w, const row_bundle *b, const float *coefficients,
                          const float *weight, float lambda, const float *delta, float *flat, int8_t *latents)
{
    const ls_path *path = ls_current_path();
    const size_t width = (size_t)w->g->width, group = (size_t)coder->channels * width;
    for (int k = 0; k < coder->channels; k++) {
        ls_choices choices = {.coefficients = flat, .lambda = lambda / 256};
        ls_plane plane;
        for (int s = 0; s < b->count; s++) {
            const size_t at = (size_t)b->index[s] * (size_t)coder->channels + (size_t)k;
            choices.weight[s] = weight[at];
            choices.delta[0][s] = delta[2 * at];
            choices.delta[1][s] = delta[2 * at + 1];
        }
        for (size_t i = 0; i < width; i++)
            for (int s = 0; s < b->count; s++)
                flat[i * LS_MAX_LANES + (size_t)s] = coefficients[(size_t)b->index[s] * group + (size_t)k * width + i];
        plane_of(coder, w, b, k, &plane);
        ls_earlier(w, path, plane.channel, k);
        path->choose_rows(coder, w->g, &plane, &choices);
        for (int s = 0; s < b->count; s++)
            ls_from_flat(w->g, s, w->value[k], latents + (size_t)b->index[s] * group + (size_t)k * width);
        if (k + 1 < coder->channels)
            ls_finish_plane(w, path, k);
    }
}

int ls_optimise_rows(const ls_coder *coder, const int32_t *models, int count, int width, const float *coefficients,
                     const float *weight, float lambda, const float *delta, int8_t *latents)
{
    ls_geometry g;
    ls_work w = {0};
    ls_geometry_row(&g, width, LS_MAX_LANES);
    float *flat = calloc((size_t)g.size, sizeof *flat);
    const int status = flat ? ls_work_make(&w, coder, &g) : LS_NO_MEMORY;
    for (int next = 0; !status && next < count;) {
        row_bundle b = {0};
        for (; next < count && b.count < LS_MAX_LANES; next++) {
            b.index[b.count] = next;
            b.model[b.count++] = models[next];
        }
        choose_bundle(coder, &w, &b, coefficients, weight, lambda, delta, flat, latents);
    }
    free(flat);
    ls_work_free(&w);
    return status;
}
