/* From values to payloads: everything is known, so predictions and contexts of all phases come first, and rANS goes
 * through them backwards. Tensors of one shape are coded side by side, as they are decoded. */
#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

#define SLACK 32 /* values after the last that vectors may touch */

/* What encodes samples of one shape, and then others of the same shape: memory is taken once, as it takes longer to get
 * than to fill. residual, bucket: plane after plane, in a plane sample after sample, in the order of decoding. part: what
 * is left of the values of a fine channel, phase after phase, then two planes to work in. ends: of a sample, where each
 * phase of each channel ends. floats: a channel of one sample. room: bytes from the words of one lane to the next. */
typedef struct {
    const tensor_coder *coder;
    const tensor_path *path;
    tensor_work work;
    tensor_item *const *items; /* of tensor_source_job */
    int32_t *residual;
    int16_t *part;
    uint8_t *bucket;
    int64_t *ends;
    float *floats;
    int64_t count; /* of residuals so far */
    size_t room;
    tensor_writers writers;
} flight;

static tensor_source_job *job_of(const flight *f, int sample)
{
    return (tensor_source_job *)(void *)f->items[sample];
}

/* ---- residuals and their contexts */

static int quantise_sample(flight *f, int channel, int sample)
{
    tensor_work *w = &f->work;
    const tensor_geometry *g = &w->g;
    const tensor_shape s = g->shape;
    const tensor_source_job *job = job_of(f, sample);
    const ptrdiff_t plane = tensor_value_plane(g);
    const int64_t positions = s.frames * s.height * s.width;
    const size_t bytes = job->type == TENSOR_FLOAT32 ? 4 : 2;
    const void *given = (const uint8_t *)job->values + (size_t)(channel * positions) * bytes;
    const float *values = job->type == TENSOR_FLOAT32 ? given : f->floats;
    if (!f->path->widen(given, positions, job->type, f->floats))
        return LS_BAD_ARGUMENT;
    const int fine = f->coder->fine[channel];
    int good = 1;
    for (int64_t row = 0; row < s.frames * s.height; row++) {
        const int64_t z = row / s.height, y = row % s.height;
        const ptrdiff_t at = sample * g->grid + (z * g->h + (y >> 1)) * g->w;
        const int even = y & 1 ? 2 : 0, odd = y & 1 ? 1 : 3;
        int32_t *odd_value = w->residual; /* where there is none, nothing is written */
        int16_t *odd_narrow = w->prediction, *even_narrow = tensor_plane(w, channel, even) + at;
        if (fine)
            even_narrow = f->part + g->order[even] * plane + at;
        if (g->order[odd] >= 0) {
            odd_value = w->value + g->order[odd] * plane + at;
            odd_narrow = fine ? f->part + g->order[odd] * plane + at : tensor_plane(w, channel, odd) + at;
        }
        good &= (fine ? f->path->quantise_finely : f->path->quantise)(
            values + row * s.width, s.width, f->coder->steps[channel], f->coder->means[channel],
            w->value + g->order[even] * plane + at, odd_value, even_narrow, odd_narrow);
    }
    return good ? LS_OK : LS_WRONG_SHAPE;
}

/* Puts the residual that stands for a spike where the value is at most `near`; the first position that had it before,
 * or -1. */
static int64_t mark_spikes(const int32_t *value, int32_t *residual, int64_t size, uint32_t near)
{
    int taken = 0;
    for (int64_t i = 0; i < size; i++)
        taken |= residual[i] == TENSOR_SPIKED;
    for (int64_t i = 0; taken && i < size; i++)
        if (residual[i] == TENSOR_SPIKED)
            return i;
    for (int64_t i = 0; i < size; i++)
        residual[i] = (uint32_t)value[i] + near > 2 * near ? residual[i] : TENSOR_SPIKED;
    return -1;
}

/* Residuals of a fine channel: those that the trellis chooses, and what stands for them, to `coded`. */
static void choose_residuals(flight *f, int channel, int phase, int32_t *coded)
{
    tensor_work *w = &f->work;
    const tensor_geometry *g = &w->g;
    const tensor_phase *p = g->phase + phase;
    const ptrdiff_t plane = tensor_value_plane(g);
    const int full = p->count == g->grid;
    const int16_t *part = f->part + g->order[phase] * plane;
    int32_t *residual = full ? w->residual : w->dense_residual;
    if (!full) {
        int16_t *dense = f->part + g->phases * plane;
        tensor_gather(g, phase, w->residual, 4, w->dense_residual);
        tensor_gather(g, phase, part, 2, dense);
        part = dense;
    }
    f->path->choose(residual, part, f->coder->spiked[channel], p->count, g->samples, coded);
    if (!full) {
        tensor_spread(g, phase, w->dense_residual, w->residual);
        tensor_clear_beyond(w, phase);
    }
    f->path->rebuild(w->residual, w->prediction, f->coder->means[channel], f->coder->spiked[channel],
                     tensor_unit(f->coder, channel), g->size, w->value + g->order[phase] * plane,
                     tensor_plane(w, channel, phase), tensor_near(w, w->magnitude, phase));
}

static int take_phase(flight *f, int channel, int phase, int *failed)
{
    tensor_work *w = &f->work;
    const tensor_geometry *g = &w->g;
    const tensor_phase *p = g->phase + phase;
    const int full = p->count == g->grid; /* then they are made where they belong */
    const int fine = f->coder->fine[channel];
    int32_t *residual = full && !fine ? f->residual + f->count : w->residual;
    uint8_t *bucket = full ? f->bucket + f->count : w->bucket;
    tensor_run run;
    tensor_activity activity;
    tensor_run_make(&run, w, f->coder, channel, phase);
    f->path->predict(&run, g->size, w->prediction);
    tensor_activity_make(&activity, w, f->coder, channel, phase);
    f->path->contexts(&activity, g->size, bucket);
    int16_t *magnitude = tensor_near(w, w->magnitude, phase);
    const int32_t *value = w->value + g->order[phase] * tensor_value_plane(g);
    f->path->subtract(value, w->prediction, tensor_unit(f->coder, channel), g->size, residual,
                      fine ? NULL : magnitude);
    const int64_t bad =
        f->coder->spiked[channel] ? mark_spikes(value, residual, g->size, fine ? TENSOR_NEAR_ZERO : 0) : -1;
    if (bad >= 0) {
        *failed = (int)(bad / g->grid);
        return LS_WRONG_SHAPE;
    }
    if (!full)
        tensor_gather(g, phase, bucket, 1, f->bucket + f->count);
    if (fine)
        choose_residuals(f, channel, phase, f->residual + f->count);
    else if (!full) {
        tensor_gather(g, phase, residual, 4, f->residual + f->count);
        for (int64_t y = 0; y < g->shape.frames * g->samples * g->h; y++) {
            const int64_t columns = y % g->h < p->rows ? p->columns : 0;
            memset(magnitude + y * g->w + columns, 0, (size_t)(g->w - columns) * sizeof *magnitude);
        }
    }
    f->count += p->count * g->samples;
    return LS_OK;
}

static int make_residuals(flight *f, int *failed)
{
    tensor_work *w = &f->work;
    const tensor_geometry *g = &w->g;
    int status = LS_OK;
    for (int channel = 0; channel < f->coder->channels && !status; channel++) {
        for (int sample = 0; sample < g->samples && !status; sample++) {
            *failed = sample;
            status = quantise_sample(f, channel, sample);
        }
        for (int phase = 0; phase < TENSOR_PHASES && !status; phase++) {
            if (g->order[phase] >= 0)
                status = take_phase(f, channel, phase, failed);
            f->ends[channel * TENSOR_PHASES + phase] = f->count / g->samples;
        }
        for (int phase = 0; phase < TENSOR_PHASES && !status; phase++)
            if (g->order[phase] >= 0)
                f->path->settle(tensor_near(w, w->magnitude, phase), g->size, tensor_near(w, w->activity, phase));
    }
    return status;
}

/* ---- payloads */

static size_t put_varint(uint8_t *to, uint32_t number)
{
    size_t size = 0;
    for (; number >= 128; number >>= 7)
        to[size++] = (uint8_t)(number | 128);
    to[size++] = (uint8_t)number;
    return size;
}

/* States, sizes of all lanes but the last, words of all lanes, and escapes, the first of them at the very end. */
static int join(const flight *f, int sample)
{
    const tensor_writers *w = &f->writers;
    const tensor_escapes *e = w->escapes + sample;
    const int first = sample * w->lanes, end = first + w->lanes;
    size_t total = 9 * (size_t)w->lanes + 5 * e->count, words[LS_MAX_LANES];
    for (int k = first; k < end; k++)
        total += words[k] = f->room * (size_t)(k + 1) - (size_t)w->at[k];
    uint8_t *payload = malloc(total), *to = payload;
    if (!payload)
        return LS_NO_MEMORY;
    for (int k = first; k < end; k++)
        for (int byte = 0; byte < 4; byte++)
            *to++ = (uint8_t)(w->state[k] >> 8 * byte);
    for (int k = first; k + 1 < end; k++)
        to += put_varint(to, (uint32_t)(words[k] / 2));
    for (int k = first; k < end; k++) {
        memcpy(to, w->base + w->at[k], words[k]);
        to += words[k];
    }
    for (size_t i = 0; i < e->count; i++) {
        uint8_t varint[5];
        const int32_t high = e->high[i];
        const size_t length = put_varint(varint, (uint32_t)high << 1 ^ (0u - ((uint32_t)high >> 31)));
        for (size_t byte = length; byte-- > 0;)
            *to++ = varint[byte];
    }
    job_of(f, sample)->payload = payload;
    job_of(f, sample)->size = (size_t)(to - payload);
    return LS_OK;
}

static int write_payloads(flight *f)
{
    tensor_writers *w = &f->writers;
    for (int k = 0; k < LS_MAX_LANES; k++) { /* what a lane that is not there has is never looked at */
        w->state[k] = LS_STATE_LOW;
        w->at[k] = k < w->samples * w->lanes ? (int32_t)(f->room * (size_t)(k + 1)) : TENSOR_BELOW;
    }
    int status = LS_OK;
    for (int i = f->coder->channels * TENSOR_PHASES - 1; i >= 0 && !status; i--) {
        const int64_t first = i ? f->ends[i - 1] : 0, count = f->ends[i] - first, at = first * w->samples;
        status = f->path->code(f->coder, w, f->coder->spiked[i / TENSOR_PHASES], count, f->bucket + at,
                               f->residual + at);
    }
    for (int sample = 0; sample < w->samples && !status; sample++)
        status = join(f, sample);
    for (int sample = 0; sample < w->samples; sample++) {
        free(w->escapes[sample].high);
        w->escapes[sample] = (tensor_escapes){0};
    }
    return status;
}

static void end(flight *f)
{
    tensor_work_free(&f->work);
    free(f->residual);
    free(f->bucket);
    free(f->part);
    free(f->floats);
    free(f->ends);
    free(f->writers.base);
}

/* Takes the memory for `samples` items of one shape, unless the items before had the same. */
static int begin(flight *f, const tensor_coder *coder, tensor_item *const *items, int samples)
{
    tensor_geometry g;
    const int same = f->writers.base && tensor_is_alike(&items[0]->shape, &f->work.g.shape) && samples == f->work.g.samples;
    f->items = items;
    f->count = 0;
    if (same) {
        tensor_work_renew(&f->work);
        return LS_OK;
    }
    end(f);
    *f = (flight){.coder = coder, .path = tensor_current_path(), .items = items};
    int status = tensor_geometry_make(&g, &items[0]->shape, coder->channels, samples);
    if (status || !g.grid)
        return status;
    /* a value takes two words at most, and a lane the first value of each step */
    size_t steps = 0;
    for (int phase = 0; phase < TENSOR_PHASES; phase++)
        steps += (size_t)((g.phase[phase].count + g.lanes - 1) / g.lanes);
    f->room = 2 + TENSOR_BELOW + 4 * steps * (size_t)coder->channels;
    if (f->room > INT32_MAX / LS_MAX_LANES)
        return LS_NO_MEMORY;
    const size_t positions = (size_t)(g.shape.frames * g.shape.height * g.shape.width);
    const size_t count = positions * (size_t)coder->channels * (size_t)samples + SLACK;
    status = tensor_work_make(&f->work, &g, coder->channels);
    f->residual = malloc(count * 4);
    f->bucket = malloc(count);
    f->part = calloc((size_t)(g.phases + 2) * (size_t)tensor_value_plane(&g), sizeof *f->part);
    f->floats = malloc(positions * sizeof *f->floats);
    f->ends = malloc((size_t)coder->channels * TENSOR_PHASES * sizeof *f->ends);
    f->writers.samples = samples;
    f->writers.lanes = g.lanes;
    f->writers.base = malloc(f->room * (size_t)(samples * g.lanes));
    if (!status && (!f->residual || !f->bucket || !f->part || !f->ends || !f->floats || !f->writers.base))
        status = LS_NO_MEMORY;
    return status;
}

int tensor_encode(const tensor_coder *coder, tensor_source_job *jobs, int count, int *failed)
{
    tensor_item **order = malloc(((size_t)count + 1) * sizeof *order);
    int status = order ? LS_OK : LS_NO_MEMORY;
    *failed = -1;
    for (int i = 0; i < count; i++) {
        jobs[i].payload = NULL;
        jobs[i].size = 0;
        if (order)
            order[i] = &jobs[i].item;
    }
    if (order)
        tensor_sort(order, count);
    flight f = {0};
    for (int first = 0; first < count && !status;) {
        const int samples = tensor_together(order + first, count - first, coder->channels);
        int bad = 0;
        status = begin(&f, coder, order + first, samples);
        if (!status && f.writers.base) /* else they have no values */
            status = make_residuals(&f, &bad);
        if (!status && f.writers.base)
            status = write_payloads(&f);
        if (status)
            *failed = order[first + bad]->index;
        first += samples;
    }
    end(&f);
    for (int i = 0; i < count && status; i++) {
        free(jobs[i].payload);
        jobs[i].payload = NULL;
    }
    free(order);
    return status;
}
