/* Tables in the form that the loops read, built from an artifact's frequencies. */
#include "coder/coder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void ls_coder_free(ls_coder *coder)
{
    if (!coder)
        return;
    free(coder->channel);
    free(coder->freq);
    free(coder->start);
    free(coder->freq_start);
    free(coder->reciprocal);
    free(coder->symbol);
    free(coder->guess);
    free(coder->cost);
    free(coder->plain);
    free(coder->empty);
    free(coder->later);
    free(coder->zero);
    free(coder);
}

static size_t later_stride(int channels)
{
    return ((size_t)channels + 7) / 8 * 8;
}

ls_coder *ls_coder_new(int models, int channels, int tables, int precision)
{
    ls_coder *coder = calloc(1, sizeof *coder);
    const size_t symbols = (size_t)tables * LS_SYMBOLS;
    if (!coder)
        return NULL;
    coder->models = models;
    coder->channels = channels;
    coder->tables = tables;
    coder->precision = precision;
    coder->channel = calloc((size_t)models * (size_t)channels, sizeof *coder->channel);
    coder->freq = calloc(symbols, sizeof *coder->freq);
    coder->start = calloc(symbols, sizeof *coder->start);
    coder->freq_start = calloc(symbols, sizeof *coder->freq_start);
    coder->reciprocal = calloc(symbols, sizeof *coder->reciprocal);
    coder->symbol = calloc((size_t)tables << precision, 1);
    coder->guess = calloc((size_t)tables * LS_GUESSES, sizeof *coder->guess);
    coder->cost = calloc(symbols + 1, sizeof *coder->cost); /* one more for v_gather16 */
    coder->plain = calloc((size_t)models, 1);
    coder->empty = calloc((size_t)models * LS_NEAR + 1, sizeof *coder->empty); /* one more for v_gather16 */
    coder->later = calloc((size_t)models * (size_t)channels * 2 * later_stride(channels), sizeof *coder->later);
    coder->zero = calloc((size_t)models * (size_t)channels * 2 * LS_BUCKETS, sizeof *coder->zero);
    if (!coder->zero || !coder->plain || !coder->empty || !coder->later || !coder->channel || !coder->freq ||
        !coder->start || !coder->freq_start || !coder->reciprocal || !coder->symbol || !coder->guess || !coder->cost) {
        ls_coder_free(coder);
        return NULL;
    }
    return coder;
}

static int copy_in_range(int32_t *to, const int32_t *from, size_t count, int32_t low, int32_t high)
{
    for (size_t i = 0; i < count; i++) {
        if (from[i] < low || from[i] > high)
            return LS_CORRUPT;
        to[i] = from[i];
    }
    return LS_OK;
}

static int copy_tables(ls_channel *c, const uint8_t *table, int tables)
{
    for (int f = 0; f < LS_FRACTIONS; f++)
        for (int b = 0; b < LS_BUCKETS; b++, table++) {
            if (*table >= tables)
                return LS_CORRUPT;
            c->table[f][b] = *table;
            c->table16[f][b] = *table;
        }
    return LS_OK;
}

static int copy_cross(ls_channel *c, const uint8_t *cross, size_t channels)
{
    memcpy(c->cross, cross, 2 * channels);
    for (size_t p = 0; p < channels; p++)
        if (c->cross[p][0] > 127 || c->cross[p][1] > 127)
            return LS_CORRUPT;
    return LS_OK;
}

/* the cross weights of a model by the earlier channel, in the form that the sparse form adds them up */
static void sort_by_earlier(ls_coder *coder, size_t model)
{
    const size_t n = (size_t)coder->channels, stride = later_stride(coder->channels);
    for (size_t k = 0; k < n; k++)
        for (size_t p = 0; p < k; p++) {
            const uint8_t *weights = coder->channel[model * n + k].cross[p];
            uint16_t *to = coder->later + (model * n + p) * 2 * stride;
            to[k] = (uint16_t)(4 * weights[0]);
            to[stride + k] = weights[1];
        }
}

static int copy_empty(ls_coder *coder, const int32_t *empty)
{
    for (size_t i = 0; i < (size_t)coder->models * LS_NEAR; i++) {
        if (empty[i] < 1 || empty[i] >= 1 << coder->precision)
            return LS_CORRUPT;
        coder->empty[i] = (uint16_t)empty[i];
    }
    return LS_OK;
}

/* The bounds keep every sum within 32 bits: 16 bits of a weight times 8 of a value, 9 * 31 + 4 times. */
int ls_coder_channels(ls_coder *coder, const ls_weights *w)
{
    const size_t n = (size_t)coder->channels, count = (size_t)coder->models * n;
    for (size_t i = 0; i < count; i++) {
        ls_channel *c = coder->channel + i;
        if (copy_in_range(c->own, w->own + 5 * i, 5, 0, 32767) || copy_in_range(&c->bias, w->bias + i, 1, 0, 65535) ||
            copy_in_range(c->signed_own, w->signed_own + 4 * i, 4, -32767, 32767) ||
            copy_in_range(c->signed_cross[0], w->signed_cross + 9 * n * i, 9 * n, -32767, 32767))
            return LS_CORRUPT;
        c->predicted = w->predicted[i] != 0;
        if (c->predicted && (int)(i % n) >= coder->kept)
            coder->kept = (int)(i % n) + 1;
        if (copy_cross(c, w->cross + 2 * n * i, n) ||
            copy_tables(c, w->table + i * LS_FRACTIONS * LS_BUCKETS, coder->tables))
            return LS_CORRUPT;
    }
    for (size_t m = 0; m < (size_t)coder->models; m++) {
        coder->plain[m] = 1;
        for (size_t k = 0; k < n; k++)
            coder->plain[m] &= !coder->channel[m * n + k].predicted;
        sort_by_earlier(coder, m);
    }
    return copy_empty(coder, w->empty);
}

/* Every value is kept: of each channel the next instant needs them, and of those that are a source later ones. */
int ls_coder_adaptive(ls_coder *coder, const ls_adaptive_weights *w)
{
    const size_t n = (size_t)coder->channels, count = (size_t)coder->models * n;
    coder->adaptive = 1;
    coder->kept = coder->channels;
    for (size_t i = 0; i < (size_t)w->gains * LS_BUCKETS; i++) {
        if (w->gain[i] < 0 || w->gain[i] > 65535)
            return LS_CORRUPT;
        coder->gain[i] = (uint16_t)w->gain[i];
    }
    for (size_t i = 0; i < count; i++) {
        ls_channel *c = coder->channel + i;
        if (copy_in_range(c->own, w->own + 5 * i, 5, 0, 32767) || copy_in_range(&c->bias, w->bias + i, 1, 0, 65535) ||
            copy_in_range(c->taps, w->taps + LS_TAPS * i, LS_TAPS, -(1 << 20), 1 << 20) || w->rate[i] >= w->gains ||
            copy_cross(c, w->cross + 2 * n * i, n) ||
            copy_tables(c, w->table + i * LS_FRACTIONS * LS_BUCKETS, coder->tables))
            return LS_CORRUPT;
        memcpy(c->source, w->source + LS_SOURCES * i, LS_SOURCES);
        c->gain_at = (uint32_t)w->rate[i] * LS_BUCKETS;
        c->filtered = 0;
        for (int j = 0; j < LS_TAPS; j++)
            c->filtered |= c->taps[j] != 0;
        for (uint32_t b = 0; b < LS_BUCKETS; b++)
            c->filtered |= coder->gain[c->gain_at + b] != 0;
    }
    return LS_OK;
}

/* of an event of this frequency, in 1/256 bit; no frequency comes nearer to a tie than 1e-4, so every log2 gives the same
 * integer */
uint32_t ls_event_cost(int precision, uint32_t freq)
{
    return (uint32_t)(256 * (precision - log2(freq)) + 0.5);
}

static void guess_symbols(ls_coder *coder, uint32_t table)
{
    const uint32_t slots = (1u << coder->precision) / LS_GUESSES;
    const uint8_t *symbol = coder->symbol + ((size_t)table << coder->precision);
    for (uint32_t i = 0; i < LS_GUESSES; i++, symbol += slots) {
        uint32_t most = 0, best = 0;
        for (uint32_t from = 0, to = 1; to <= slots; to++)
            if (to == slots || symbol[to] != symbol[from]) {
                if (to - from > most) {
                    most = to - from;
                    best = symbol[from];
                }
                from = to;
            }
        coder->guess[table * LS_GUESSES + i] = ls_symbol(coder, table, best);
    }
}

/* LS_CORRUPT unless every table's frequencies add up to 2^precision and its escape can be coded */
int ls_coder_tables(ls_coder *coder, const int32_t *freq)
{
    const int32_t total = 1 << coder->precision;
    for (int t = 0; t < coder->tables; t++) {
        int32_t start = 0;
        for (int s = 0; s < LS_SYMBOLS; s++) {
            const size_t i = (size_t)t * LS_SYMBOLS + (size_t)s;
            const int32_t f = freq[i];
            if (f < 0 || f >= total || f > total - start || (s == LS_ESCAPE && !f))
                return LS_CORRUPT;
            memset(coder->symbol + ((size_t)t << coder->precision) + start, s, (size_t)f);
            coder->freq[i] = (uint16_t)f;
            coder->start[i] = (uint16_t)start;
            coder->freq_start[i] = (uint32_t)f | (uint32_t)start << 16;
            coder->reciprocal[i] = f > 1 ? (uint32_t)(((uint64_t)1 << 32) / (uint32_t)f) : 0xffffffffu;
            start += f;
        }
        if (start != total)
            return LS_CORRUPT;
        guess_symbols(coder, (uint32_t)t);
        const size_t first = (size_t)t * LS_SYMBOLS;
        for (int s = 0; s < LS_SYMBOLS; s++) {
            const int32_t f = freq[first + (size_t)s];
            const int plain = f && s != LS_ESCAPE; /* an escape is followed by a byte */
            /* no frequency comes nearer to a tie than 1e-4, so every log2 gives the same integer */
            const double bits = coder->precision - log2(plain ? f : freq[first + LS_ESCAPE]) + (plain ? 0 : 8);
            coder->cost[first + (size_t)s] = (uint16_t)(256 * bits + 0.5);
        }
    }
    for (size_t i = 0; i < (size_t)coder->models * (size_t)coder->channels; i++)
        for (size_t j = 0; j < 2 * LS_BUCKETS; j++)
            coder->zero[2 * LS_BUCKETS * i + j] =
                coder->freq_start[(size_t)coder->channel[i].table[1 + j / LS_BUCKETS][j % LS_BUCKETS] << 6 | LS_RADIUS];
    return LS_OK;
}
