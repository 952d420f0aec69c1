/* From payloads to values: jobs of one shape are decoded side by side, as many as fill the lanes of a vector. */
#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 16 /* channels that are written together where channels are the last axis */

/* What decodes the samples of one job; `linear`: values of a block of channels, where channels are the last axis. */
typedef struct {
    const tensor_coder *coder;
    const tensor_path *path;
    tensor_work work;
    tensor_item *const *items; /* of tensor_job */
    tensor_lanes_state lanes;
    uint8_t *payloads;
    int32_t *linear;
} flight;

static const tensor_job *job_of(const flight *f, int sample)
{
    return (const tensor_job *)(const void *)f->items[sample];
}

/* Finds the lanes of one sample, whose payload is copied to `from`: states, sizes, words, and escapes at the end. */
static int open_sample(flight *f, int sample, const uint8_t *from, size_t size)
{
    tensor_lanes_state *l = &f->lanes;
    const int first = sample * l->lanes;
    size_t at = 4 * (size_t)l->lanes;
    uint32_t words[LS_MAX_LANES] = {0};
    for (int k = 0; k < l->lanes; k++)
        l->state[first + k] = from[4 * k] | (uint32_t)from[4 * k + 1] << 8 | (uint32_t)from[4 * k + 2] << 16 |
                              (uint32_t)from[4 * k + 3] << 24;
    for (int k = 0; k + 1 < l->lanes; k++)
        for (int shift = 0;; shift += 7) {
            if (at == size)
                return LS_TRUNCATED;
            const uint8_t byte = from[at++];
            if (shift > 21 || (shift && !byte))
                return LS_CORRUPT;
            words[k] |= (uint32_t)(byte & 127) << shift;
            if (byte < 128)
                break;
        }
    for (int k = 0; k < l->lanes; k++) {
        l->at[first + k] = (int32_t)(from + at - f->payloads);
        if (k + 1 == l->lanes)
            break;
        if (words[k] > (size - at) / 2)
            return LS_TRUNCATED;
        at += 2 * (size_t)words[k];
        l->end[first + k] = (int32_t)(from + at - f->payloads);
    }
    l->end[first + l->lanes - 1] = (int32_t)(from + size - f->payloads);
    l->escape[sample] = from + size;
    l->escape_end[sample] = from + at;
    return LS_OK;
}

static int open_samples(flight *f, int *failed)
{
    const tensor_geometry *g = &f->work.g;
    size_t total = TENSOR_SLACK, at = 0;
    int status = LS_OK;
    for (int s = 0; s < g->samples; s++)
        total += job_of(f, s)->size;
    if (total > INT32_MAX || !(f->payloads = malloc(total)))
        return LS_NO_MEMORY;
    memset(&f->lanes, 0, sizeof f->lanes);
    f->lanes.base = f->payloads;
    f->lanes.samples = g->samples;
    f->lanes.lanes = g->lanes;
    for (int s = 0; s < g->samples && !status; s++) {
        const tensor_job *job = job_of(f, s);
        memcpy(f->payloads + at, job->payload, job->size);
        *failed = s;
        status = open_sample(f, s, f->payloads + at, job->size);
        at += job->size;
    }
    memset(f->payloads + at, 0, total - at);
    return status;
}

/* Every lane must be where the encoder began and at the end of its words, the last lane where the escapes end. */
static int close_samples(const flight *f, int *failed)
{
    const tensor_lanes_state *l = &f->lanes;
    for (int s = 0; s < l->samples; s++) {
        const int last = (s + 1) * l->lanes - 1;
        int good = f->payloads + l->at[last] == l->escape[s];
        for (int k = s * l->lanes; k <= last; k++)
            good &= l->state[k] == LS_STATE_LOW && (k == last || l->at[k] == l->end[k]);
        if (!good) {
            *failed = s;
            return LS_CORRUPT;
        }
    }
    return LS_OK;
}

/* Whether every position of the grid is one of the phase. */
static int is_full(const tensor_geometry *g, const tensor_phase *phase)
{
    return phase->count == g->grid;
}

static int read_phase(flight *f, int channel, int phase, int *failed)
{
    tensor_work *w = &f->work;
    const tensor_geometry *g = &w->g;
    const tensor_phase *p = g->phase + phase;
    tensor_run run;
    tensor_activity activity;
    tensor_run_make(&run, w, f->coder, channel, phase);
    f->path->predict(&run, g->size, w->prediction);
    tensor_activity_make(&activity, w, f->coder, channel, phase);
    f->path->contexts(&activity, g->size, w->bucket);
    const int full = is_full(g, p);
    const int spiked = f->coder->spiked[channel];
    int32_t *residual = full ? w->residual : w->dense_residual;
    if (!full)
        tensor_gather(g, phase, w->bucket, 1, w->dense_bucket);
    const uint8_t *bucket = full ? w->bucket : w->dense_bucket;
    const int status = f->path->read(f->coder, &f->lanes, spiked, p->count, bucket, residual, failed);
    if (status)
        return status;
    for (int sample = 0; f->coder->fine[channel] && sample < g->samples; sample++)
        f->path->unfold(residual + sample * p->count, spiked, p->count);
    if (!full) {
        tensor_spread(g, phase, w->dense_residual, w->residual);
        tensor_clear_beyond(w, phase);
    }
    int32_t *value = w->value + g->order[phase] * tensor_value_plane(g);
    int16_t *narrow = tensor_plane(w, channel, phase);
    f->path->rebuild(w->residual, w->prediction, f->coder->means[channel], spiked, tensor_unit(f->coder, channel),
                     g->size, value, narrow, tensor_near(w, w->magnitude, phase));
    return LS_OK;
}

/* The planes of a channel as rows: of all samples, to `linear` or to their places in the outputs. */
static void write_channel(flight *f, int channel, int32_t *linear)
{
    const tensor_work *w = &f->work;
    const tensor_geometry *g = &w->g;
    const tensor_shape s = g->shape;
    const ptrdiff_t plane = tensor_value_plane(g);
    const int64_t rows = s.frames * s.height;
    static const int even_phase[2] = {0, 2}, odd_phase[2] = {3, 1};
    for (int sample = 0; sample < g->samples; sample++) {
        const tensor_job *job = job_of(f, sample);
        const size_t bytes = job->type == TENSOR_FLOAT32 || job->type == TENSOR_INT32 ? 4 : 2;
        for (int64_t row = 0; row < rows; row++) {
            const int64_t z = row / s.height, y = row % s.height;
            const ptrdiff_t at = sample * g->grid + (z * g->h + (y >> 1)) * g->w;
            const int32_t *even = w->value + g->order[even_phase[y & 1]] * plane + at;
            const int odd_at = g->order[odd_phase[y & 1]];
            const int32_t *odd = odd_at < 0 ? even : w->value + odd_at * plane + at;
            if (linear) {
                f->path->write_row(even, odd, s.width, 1, TENSOR_INT32, linear + (sample * rows + row) * s.width);
                continue;
            }
            const int64_t position = row * s.width;
            const int64_t to = (position / s.inner * w->channels + channel) * s.inner + position % s.inner;
            f->path->write_row(even, odd, s.width, f->coder->steps[channel], job->type,
                               (uint8_t *)job->out + (size_t)to * bytes);
        }
    }
}

/* A block of channels, from one after another to one beside another. */
static void write_block(flight *f, int first, int count)
{
    const tensor_work *w = &f->work;
    const int64_t positions = w->g.shape.frames * w->g.shape.height * w->g.shape.width;
    const ptrdiff_t plane = (ptrdiff_t)(positions * w->g.samples);
    for (int sample = 0; sample < w->g.samples; sample++) {
        const tensor_job *job = job_of(f, sample);
        const size_t bytes = job->type == TENSOR_FLOAT32 || job->type == TENSOR_INT32 ? 4 : 2;
        for (int64_t i = 0; i < positions; i++) {
            uint8_t *to = (uint8_t *)job->out + (size_t)(i * w->channels + first) * bytes;
            const int32_t *from = f->linear + sample * positions + i;
            f->path->write_across(from, plane, f->coder->steps + first, count, job->type, to);
        }
    }
}

static int decode_samples(flight *f, int *failed)
{
    const tensor_geometry *g = &f->work.g;
    const int blocks = g->shape.inner == 1 && f->coder->channels > 1;
    for (int channel = 0; channel < f->coder->channels; channel++) {
        for (int phase = 0; phase < TENSOR_PHASES; phase++)
            if (g->order[phase] >= 0) {
                const int status = read_phase(f, channel, phase, failed);
                if (status)
                    return status;
            }
        for (int phase = 0; phase < TENSOR_PHASES; phase++)
            if (g->order[phase] >= 0)
                f->path->settle(tensor_near(&f->work, f->work.magnitude, phase), g->size,
                                tensor_near(&f->work, f->work.activity, phase));
        if (!blocks) {
            write_channel(f, channel, NULL);
            continue;
        }
        const ptrdiff_t plane = (ptrdiff_t)(g->shape.frames * g->shape.height * g->shape.width * g->samples);
        write_channel(f, channel, f->linear + channel % BLOCK * plane);
        if (channel % BLOCK == BLOCK - 1 || channel == f->coder->channels - 1)
            write_block(f, channel / BLOCK * BLOCK, channel % BLOCK + 1);
    }
    return close_samples(f, failed);
}

/* Decodes `samples` items of one shape; failed: the one that is bad. */
static int decode_some(const tensor_coder *coder, tensor_item *const *items, int samples, int *failed)
{
    flight f = {0};
    tensor_geometry g;
    f.coder = coder;
    f.path = tensor_current_path();
    f.items = items;
    *failed = 0;
    int status = tensor_geometry_make(&g, &items[0]->shape, coder->channels, samples);
    if (!status)
        status = tensor_work_make(&f.work, &g, coder->channels);
    if (!status && g.shape.inner == 1 && coder->channels > 1 &&
        !(f.linear = malloc((size_t)BLOCK * (size_t)(g.shape.frames * g.shape.height * g.shape.width * samples) * 4)))
        status = LS_NO_MEMORY;
    if (!status)
        status = open_samples(&f, failed);
    if (!status)
        status = decode_samples(&f, failed);
    tensor_work_free(&f.work);
    free(f.payloads);
    free(f.linear);
    return status;
}

/* Whether so few bytes can hold so many values: what is asked before memory is taken. */
static int check(const tensor_coder *coder, const tensor_job *job)
{
    tensor_geometry g;
    const int status = tensor_geometry_make(&g, &job->item.shape, coder->channels, 1);
    if (status)
        return status;
    const int64_t positions = g.shape.frames * g.shape.height * g.shape.width;
    if (!positions)
        return job->size ? LS_CORRUPT : LS_OK;
    if (job->size < 4 * (size_t)g.lanes)
        return LS_TRUNCATED;
    return positions * coder->channels / TENSOR_DENSEST > (int64_t)job->size ? LS_CORRUPT : LS_OK;
}

int tensor_decode(const tensor_coder *coder, tensor_job *jobs, int count, int *failed)
{
    tensor_item **order = malloc(((size_t)count + 1) * sizeof *order);
    int status = order ? LS_OK : LS_NO_MEMORY, there = 0;
    *failed = -1;
    for (int i = 0; i < count && !status; i++) {
        if ((status = check(coder, jobs + i)))
            *failed = jobs[i].item.index;
        else if (jobs[i].size)
            order[there++] = &jobs[i].item;
    }
    if (!status)
        tensor_sort(order, there);
    for (int first = 0; first < there && !status;) {
        const int samples = tensor_together(order + first, there - first, coder->channels);
        int bad;
        if ((status = decode_some(coder, order + first, samples, &bad)))
            *failed = order[first + bad]->index;
        first += samples;
    }
    free(order);
    return status;
}
