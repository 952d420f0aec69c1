#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is known of a channel's own phase when it is predicted: whether a neighbour's phase came before. */
static int is_known(int phase, int dy, int dx)
{
    static const int place[2][2] = {{0, 3}, {2, 1}}; /* by parity of row and column */
    static const int row[TENSOR_PHASES] = {0, 1, 1, 0}, column[TENSOR_PHASES] = {0, 1, 0, 1};
    return place[(row[phase] + dy) & 1][(column[phase] + dx) & 1] < phase;
}

static int take_taps(tensor_coder *c, const tensor_parts *p)
{
    ptrdiff_t at = 0;
    for (int i = 0; i < p->channels * TENSOR_PHASES; i++) {
        const int channel = i / TENSOR_PHASES, phase = i % TENSOR_PHASES;
        int64_t sum = 0;
        c->first[i] = (uint32_t)at;
        if (p->count[i] > TENSOR_MAX_TAPS || p->count[i] > p->taps - at)
            return LS_CORRUPT;
        for (const ptrdiff_t end = at + p->count[i]; at < end; at++) {
            const int dy = p->shift[2 * at], dx = p->shift[2 * at + 1];
            if (p->back[at] > channel || dy < -1 || dy > 1 || dx < -1 || dx > 1 ||
                (p->back[at] == 0 && !is_known(phase, dy, dx)))
                return LS_CORRUPT;
            c->taps[at] = (tensor_tap){p->back[at], (int8_t)dy, (int8_t)dx, p->weight[at]};
            sum += abs(p->weight[at]);
        }
        if (sum > 65535) /* with values of 16 bits the sums of predictions then fit 32 */
            return LS_CORRUPT;
    }
    c->first[p->channels * TENSOR_PHASES] = (uint32_t)at;
    return at == p->taps ? LS_OK : LS_CORRUPT;
}

static int take_activity(tensor_coder *c, const tensor_parts *p)
{
    for (int i = 0; i < p->channels * TENSOR_PHASES; i++) {
        int64_t sum = 0;
        for (int j = 0; j < TENSOR_SUMS; j++)
            sum += c->activity[i * TENSOR_SUMS + j] = p->activity[i * TENSOR_SUMS + j];
        if (sum > 32767 || p->bias[i] < 0 || p->bias[i] > 1 << 29)
            return LS_CORRUPT;
        c->bias[i] = p->bias[i];
    }
    for (int i = 0; i < p->channels; i++) {
        if (!isfinite(p->steps[i]) || !(p->steps[i] > 0))
            return LS_CORRUPT;
        c->steps[i] = p->steps[i];
        c->means[i] = p->means[i];
        if (p->spiked[i] > 1 || (p->spiked[i] && p->means[i]))
            return LS_CORRUPT;
        c->spiked[i] = p->spiked[i];
        if (p->fine[i] > 1)
            return LS_CORRUPT;
        c->fine[i] = p->fine[i];
    }
    return LS_OK;
}

static int take_tables(const uint16_t *freq, tensor_symbol *symbols, uint32_t *slots)
{
    for (int b = 0; b < TENSOR_BUCKETS; b++) {
        uint32_t start = 0;
        if (!freq[b * TENSOR_SYMBOLS + TENSOR_ESCAPE])
            return LS_CORRUPT;
        for (int s = 0; s < TENSOR_SYMBOLS; s++) {
            const int i = b * TENSOR_SYMBOLS + s;
            if (freq[i] > (1u << TENSOR_PRECISION) - start)
                return LS_CORRUPT;
            symbols[i].freq = freq[i];
            symbols[i].start = (uint16_t)start;
            symbols[i].reciprocal = freq[i] ? (uint32_t)((1ull << 32) / freq[i] - (freq[i] == 1)) : 0;
            for (uint32_t k = 0; k < freq[i]; k++)
                slots[(b << TENSOR_PRECISION) + (int)(start + k)] =
                    (uint32_t)(s - TENSOR_CENTRE) << 24 | (uint32_t)freq[i] << 12 | k;
            start += freq[i];
        }
        if (start != 1u << TENSOR_PRECISION)
            return LS_CORRUPT;
    }
    return LS_OK;
}

int tensor_coder_new(tensor_coder **coder, const tensor_parts *parts)
{
    const size_t models = (size_t)parts->channels * TENSOR_PHASES;
    tensor_coder *c = calloc(1, sizeof *c);
    *coder = NULL;
    if (!c)
        return LS_NO_MEMORY;
    c->channels = parts->channels;
    c->first = calloc(models + 1, sizeof *c->first);
    c->taps = calloc((size_t)parts->taps + 1, sizeof *c->taps);
    c->activity = calloc(models * TENSOR_SUMS, sizeof *c->activity);
    c->bias = calloc(models, sizeof *c->bias);
    c->means = calloc((size_t)parts->channels, sizeof *c->means);
    c->spiked = calloc((size_t)parts->channels, 1);
    c->fine = calloc((size_t)parts->channels, 1);
    c->steps = calloc((size_t)parts->channels, sizeof *c->steps);
    int status = LS_NO_MEMORY;
    if (c->first && c->taps && c->activity && c->bias && c->means && c->steps && c->spiked && c->fine) {
        status = take_taps(c, parts);
        if (!status)
            status = take_activity(c, parts);
        if (!status)
            status = take_tables(parts->freq, c->symbols[0], c->slots[0]);
        if (!status)
            status = take_tables(parts->freq + TENSOR_ENTRIES, c->symbols[1], c->slots[1]);
    }
    if (status)
        tensor_coder_free(c);
    else
        *coder = c;
    return status;
}

void tensor_coder_free(tensor_coder *c)
{
    if (!c)
        return;
    free(c->first);
    free(c->taps);
    free(c->activity);
    free(c->bias);
    free(c->means);
    free(c->steps);
    free(c->spiked);
    free(c->fine);
    free(c);
}
