/* Encoding whole groups and counting their bits: which passes run over which planes. */
#include "coder/work.h"

#include <stdlib.h>
#include <string.h>

static int clamp_prediction(int p)
{
    return p > 127 ? 127 : p < -127 ? -127 : p;
}

static int8_t clamp_residual(int r)
{
    return (int8_t)(r > 127 ? 127 : r < -128 ? -128 : r);
}

static uint16_t code_of(int table, int r)
{
    const unsigned symbol = (unsigned)(r + LS_RADIUS);
    return (uint16_t)(table << 6 | (int)(symbol > 2 * LS_RADIUS ? LS_ESCAPE : symbol));
}

static void code_plain(const ls_geometry *g, const ls_channel *c, const int8_t *value, const uint8_t *bucket, int contexts,
                       uint16_t *codes)
{
    const uint8_t *active = g->active;
    uint8_t table[LS_BUCKETS];
    for (int b = 0; b < LS_BUCKETS; b++)
        table[b] = contexts ? (uint8_t)b : c->table[0][b];
    for (ptrdiff_t i = 0, n = g->size; i < n; i++) {
        const uint16_t code = code_of(table[bucket[i]], value[i]);
        codes[i] = active[i] ? code : 0xffff;
    }
}

static void code_predicted(const ls_geometry *g, const ls_channel *c, const int8_t *value, const int32_t *prediction,
                           const uint8_t *bucket, int contexts, uint16_t *codes)
{
    for (ptrdiff_t i = 0; i < g->size; i++) {
        const uint8_t b = bucket[i];
        const int sum = prediction[i], p = clamp_prediction((sum + 512) >> 10), fraction = sum - p * 1024;
        const int size = fraction < 0 ? -fraction : fraction, level = size >> 7 > 3 ? 3 : size >> 7;
        const int r = fraction < 0 ? p - value[i] : value[i] - p;
        codes[i] = g->active[i] ? code_of(contexts ? level << 6 | b : c->table[level][b], r) : 0xffff;
    }
}

/* Residuals and the codes (table * 64 + symbol; 0xffff where no symbol stands) of channel k, whose values are known.
 * For fitting, the context (level * 64 + bucket) itself stands in the place of its table. */
static void code_plane(ls_work *w, const ls_path *path, const ls_channel *c, int k, int contexts, uint16_t *codes)
{
    const ls_geometry *g = w->g;
    const int8_t *value = w->value[k];
    uint8_t *bucket = (uint8_t *)codes;
    const ls_channel *lanes[LS_MAX_LANES];
    for (int lane = 0; lane < LS_MAX_LANES; lane++)
        lanes[lane] = c;
    ls_earlier(w, path, lanes, k);
    if (c->predicted) {
        path->own_predictions(g, c, value, w->prediction);
        for (ptrdiff_t i = 0; i < g->size; i++) {
            const int p = clamp_prediction((w->prediction[i] + 512) >> 10);
            w->residual[i] = g->active[i] ? clamp_residual(value[i] - p) : 0;
        }
    } else {
        memcpy(w->residual, value, (size_t)g->size);
    }
    bucket += g->size; /* code i takes bytes 2i and 2i+1, bucket i stands at size + i: read before it is written over */
    path->own_contexts(g, c, w->residual, w->context, w->scratch, bucket);
    if (c->predicted)
        code_predicted(g, c, value, w->prediction, bucket, contexts, codes);
    else
        code_plain(g, c, value, bucket, contexts, codes);
}

/* a residual that its table gives no frequency goes by the escape */
static size_t spell_escapes(const ls_coder *coder, const ls_geometry *g, const int8_t *value, uint16_t *codes,
                            uint8_t *escapes)
{
    size_t n = 0;
    for (ptrdiff_t i = 0; i < g->size; i++) {
        if (codes[i] == 0xffff)
            continue;
        if (!coder->freq[codes[i]])
            codes[i] |= LS_ESCAPE;
        if ((codes[i] & 63) == LS_ESCAPE)
            escapes[n++] = (uint8_t)value[i];
    }
    return n;
}

static int load_values(ls_work *w, const int8_t *latent, int k)
{
    const size_t area = (size_t)w->g->height * (size_t)w->g->width;
    int any = 0;
    ls_to_flat(w->g, 0, latent + (size_t)k * area, w->value[k]);
    for (size_t i = 0; i < area; i++)
        any |= latent[(size_t)k * area + i];
    return any != 0;
}

/* states, words, escapes */
int ls_encode_group(const ls_coder *coder, ls_group *group, const int8_t *latent, uint8_t **payload)
{
    const ls_path *path = ls_current_path();
    const int model = group->model, height = group->height, width = group->width, lanes = ls_lanes(height, width);
    const ls_channel *channels = coder->channel + (size_t)model * coder->channels;
    const size_t symbols = (size_t)height * (size_t)width * (size_t)coder->channels;
    uint16_t *codes = NULL;
    uint8_t *escapes = NULL, *words = NULL, *end;
    uint32_t states[LS_MAX_LANES];
    size_t n = 0;
    int any = 0;
    ls_geometry g;
    ls_work w = {0};
    if (ls_sparse_better(coder, model, height, width, latent))
        return ls_encode_sparse(coder, group, latent, payload);
    *payload = NULL;
    group->payload_size = group->escapes = 0;
    group->sparse = 0;
    if (coder->adaptive) {
        const int32_t only = model;
        ls_payload p;
        const int failed = ls_encode_rows(coder, &only, 1, width, latent, &p);
        *payload = p.bytes, group->payload_size = p.size, group->escapes = p.escapes;
        return failed;
    }
    int status = ls_geometry_make(&g, height, width, lanes, lanes);
    if (status || (status = ls_work_make(&w, coder, &g)))
        goto done;
    codes = malloc((size_t)g.size * (size_t)coder->channels * 2 + 64);
    escapes = malloc(symbols);
    /* a symbol of frequency 1 costs precision bits: never more than one word */
    words = malloc(symbols * 2 + 4 * LS_MAX_LANES);
    status = LS_NO_MEMORY;
    if (!codes || !escapes || !words)
        goto done;
    for (int k = 0; k < coder->channels; k++) {
        uint16_t *here = codes + (size_t)k * (size_t)g.size;
        any |= load_values(&w, latent, k);
        code_plane(&w, path, channels + k, k, 0, here);
        n += spell_escapes(coder, &g, w.value[k], here, escapes + n);
        if (k + 1 < coder->channels)
            ls_finish_plane(&w, path, k);
    }
    status = LS_OK;
    if (!any)
        goto done;
    end = words + symbols * 2 + 4 * LS_MAX_LANES;
    for (int i = 0; i < lanes; i++)
        states[i] = LS_STATE_LOW;
    for (int k = coder->channels - 1; k >= 0; k--)
        path->encode_plane(coder, &g, codes + (size_t)k * (size_t)g.size, states, &end);
    for (int i = lanes - 1; i >= 0; i--) {
        end -= 4;
        for (int b = 0; b < 4; b++)
            end[b] = (uint8_t)(states[i] >> (8 * b));
    }
    size_t head = (size_t)(words + symbols * 2 + 4 * LS_MAX_LANES - end);
    status = LS_NO_MEMORY;
    if (!(*payload = malloc(head + n)))
        goto done;
    memcpy(*payload, end, head);
    memcpy(*payload + head, escapes, n);
    group->payload_size = head + n;
    group->escapes = n;
    status = LS_OK;
done:
    free(codes);
    free(escapes);
    free(words);
    ls_work_free(&w);
    ls_geometry_free(&g);
    return status;
}

/* Codes in row order (for fitting), and the ideal length of a group under a model (for choosing one). */
int ls_group_codes(const ls_coder *coder, int model, int height, int width, const int8_t *latent, int contexts,
                   uint16_t *codes)
{
    const ls_path *path = ls_current_path();
    const ls_channel *channels = coder->channel + (size_t)model * coder->channels;
    ls_geometry g;
    ls_work w = {0};
    if (coder->adaptive)
        return ls_row_codes(coder, model, width, latent, contexts, codes);
    int status = ls_geometry_make(&g, height, width, 1, 1);
    if (!status)
        status = ls_work_make(&w, coder, &g);
    for (int k = 0; !status && k < coder->channels; k++) {
        load_values(&w, latent, k);
        code_plane(&w, path, channels + k, k, contexts, codes + (size_t)k * (size_t)g.size);
        ls_finish_plane(&w, path, k);
    }
    ls_work_free(&w);
    ls_geometry_free(&g);
    return status;
}

int ls_cost_group(const ls_coder *coder, int model, int height, int width, const int8_t *latent, double *bits)
{
    const size_t symbols = (size_t)height * (size_t)width * (size_t)coder->channels;
    if (ls_sparse_better(coder, model, height, width, latent))
        return ls_sparse_cost(coder, model, height, width, latent, bits);
    uint16_t *codes = malloc(symbols * 2 + 64);
    uint64_t total = 0;
    int status = codes ? ls_group_codes(coder, model, height, width, latent, 0, codes) : LS_NO_MEMORY;
    for (size_t i = 0; !status && i < symbols; i++)
        total += coder->cost[codes[i]];
    *bits = (double)total / 256;
    free(codes);
    return status;
}
