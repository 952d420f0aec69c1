/* Decoding blobs: small ones share vectors, and two vectors go side by side. */
#include "coder/work.h"

#include <stdlib.h>
#include <string.h>

/* The streams that fill the lanes of one vector. Those of one model go faster; `mixed`: they are of several. */
typedef struct {
    int count, mixed, model[LS_MAX_LANES], index[LS_MAX_LANES], width[LS_MAX_LANES];
    ls_stream streams[LS_MAX_LANES];
    uint32_t states[LS_MAX_LANES];
    int8_t *out[LS_MAX_LANES];
    uint8_t *copy; /* of the payloads, where reading past their end is harmless */
} bundle;

static int by_model(const void *a, const void *b)
{
    const ls_job *x = a, *y = b;
    if (x->group.sparse != y->group.sparse)
        return x->group.sparse - y->group.sparse;
    if (x->group.model != y->group.model)
        return x->group.model - y->group.model;
    if (x->width != y->width)
        return x->width - y->width;
    return x->index - y->index;
}

static int fill_bundle(bundle *b, const ls_job *jobs, int count, int lanes, int8_t *out)
{
    /* streams of one lane are looked at for their end once a row */
    const size_t room = 64 + (lanes == 1 ? 2 * (size_t)jobs->group.width : 0);
    size_t bytes = 0;
    b->mixed = 0;
    for (b->count = 0; b->count < count && b->count < LS_MAX_LANES / lanes; b->count++) {
        b->model[b->count] = jobs[b->count].group.model;
        b->mixed |= b->model[b->count] != b->model[0];
        bytes += jobs[b->count].group.payload_size + room;
    }
    uint8_t *at = b->copy = malloc(bytes);
    if (!at)
        return LS_NO_MEMORY;
    for (int s = 0; s < b->count; s++) {
        const ls_group *g = &jobs[s].group;
        memcpy(at, g->payload, g->payload_size);
        memset(at + g->payload_size, 0, room);
        for (int i = 0; i < lanes; i++) {
            const uint8_t *x = at + 4 * i;
            b->states[s * lanes + i] = (uint32_t)x[0] | (uint32_t)x[1] << 8 | (uint32_t)x[2] << 16 | (uint32_t)x[3] << 24;
        }
        b->streams[s].base = b->copy;
        b->streams[s].words = at + 4 * lanes;
        b->streams[s].words_end = b->streams[s].escapes = at + g->payload_size - g->escapes;
        b->streams[s].escapes_end = at + g->payload_size;
        b->out[s] = out + jobs[s].out_at;
        b->index[s] = jobs[s].index;
        b->width[s] = jobs[s].width;
        at += g->payload_size + room;
    }
    /* lanes without a stream decode the last one again, and it is dropped */
    for (int s = b->count; s < LS_MAX_LANES / lanes; s++) {
        b->streams[s] = b->streams[b->count - 1];
        b->model[s] = b->model[b->count - 1];
        b->width[s] = b->width[b->count - 1];
        memcpy(b->states + s * lanes, b->states + (b->count - 1) * lanes, (size_t)lanes * 4);
    }
    return LS_OK;
}

static int check_states(const bundle *b, int lanes, int ended, int *failed)
{
    for (int s = 0; s < b->count; s++) {
        const ls_stream *stream = b->streams + s;
        int good = !ended || (stream->words == stream->words_end && stream->escapes == stream->escapes_end);
        for (int i = 0; i < lanes; i++) {
            const uint32_t state = b->states[s * lanes + i];
            good &= ended ? state == LS_STATE_LOW : state >= LS_STATE_LOW;
        }
        if (!good) {
            *failed = b->index[s];
            return LS_CORRUPT;
        }
    }
    return LS_OK;
}

static ls_plane plane_of(const ls_coder *coder, ls_work *w, bundle *b, int k)
{
    ls_plane plane = {.predicted = 0, .mixed = b->mixed};
    for (int lane = 0; lane < LS_MAX_LANES; lane++) {
        const int model = b->model[lane / w->g->lanes];
        plane.channel[lane] = coder->channel + (size_t)model * (size_t)coder->channels + k;
        plane.predicted |= plane.channel[lane]->predicted | plane.channel[lane]->filtered;
    }
    if (coder->adaptive)
        ls_sources(w, plane.channel, k, plane.source);
    plane.cross = w->context;
    plane.prediction = w->prediction;
    plane.sums = w->sums;
    plane.states = b->states;
    plane.streams = b->streams;
    plane.residual = w->residual;
    plane.value = w->value[k];
    return plane;
}

/* in_values: the values stand in a plane of their own, else they are the residuals */
static void write_plane(const ls_work *w, int in_values, const bundle *b, int k, size_t area, int kept)
{
    const int8_t *plane = in_values ? w->value[k] : w->residual;
    if (!in_values && k < kept)
        memcpy(w->value[k], w->residual, (size_t)w->g->size);
    if (w->g->lanes == 1)
        ls_from_flat_narrow(w->g, b->count, plane, b->out, (size_t)k * area);
    for (int s = 0; w->g->lanes > 1 && s < b->count; s++)
        ls_from_flat(w->g, s, plane, b->out[s] + (size_t)k * area);
}

static void write_rows(const ls_work *w, const bundle *b, int k)
{
    for (int s = 0; s < b->count; s++) {
        const int8_t *from = w->value[k] + s;
        const size_t width = (size_t)b->width[s];
        int8_t *to = b->out[s] + (size_t)k * width;
        for (size_t t = 0; t < width; t++)
            to[t] = from[t * LS_MAX_LANES];
    }
}

/* One or two bundles of one shape, one of an adaptive coder, channel by channel. */
static int decode_bundles(const ls_coder *coder, ls_work *works, bundle *bundles, int count, int *failed)
{
    const ls_path *path = ls_current_path();
    const ls_geometry *g = works->g;
    const size_t area = (size_t)g->height * (size_t)g->width;
    ls_plane planes[2];
    for (int i = 0; i < count; i++)
        if (check_states(bundles + i, g->lanes, 0, failed))
            return LS_CORRUPT;
    for (int k = 0; k < coder->channels; k++) {
        for (int i = 0; i < count; i++) {
            planes[i] = plane_of(coder, works + i, bundles + i, k);
            ls_earlier(works + i, path, planes[i].channel, k);
        }
        int which = 0;
        const int status = coder->adaptive ? path->decode_rows(coder, g, planes)
                                           : path->decode_planes(coder, g, planes, count, &which);
        if (status) { /* the stream that gave up has no words any more; one that repeats another stands for it */
            const bundle *b = bundles + which;
            *failed = b->index[b->count - 1];
            for (int s = 0; s < b->count; s++)
                if (!b->streams[s].words)
                    *failed = b->index[s];
            return status;
        }
        for (int i = 0; i < count; i++) {
            if (coder->adaptive)
                write_rows(works + i, bundles + i, k);
            else
                write_plane(works + i, planes[i].predicted, bundles + i, k, area, coder->kept);
            if (k + 1 < coder->channels)
                ls_finish_plane(works + i, path, k);
        }
    }
    for (int i = 0; i < count; i++)
        if (check_states(bundles + i, g->lanes, 1, failed))
            return LS_CORRUPT;
    return LS_OK;
}

/* Checks every blob before any is decoded; those of nothing but zeros are done with here. */
static int parse_jobs(const ls_coder *coder, const uint8_t sha256[32], ls_job *jobs, int *count, int height, int8_t *out,
                      int *failed)
{
    int kept = 0;
    for (int i = 0; i < *count; i++) {
        ls_job *j = jobs + i;
        const size_t area = (size_t)height * (size_t)j->width, group_size = (size_t)coder->channels * area;
        int status = ls_group_parse(&j->group, j->blob, j->size, sha256, coder->adaptive);
        *failed = j->index;
        if (!status && (j->group.height != height || j->group.width != j->width))
            status = LS_WRONG_SHAPE;
        /* a symbol takes one word and one escape at most, and what says that a position is taken one word */
        if (!status && (j->group.model >= coder->models || j->group.escapes > group_size ||
                        j->group.payload_size > 4 * (size_t)j->group.lanes + 3 * group_size + (j->group.sparse ? 2 * area : 0) ||
                        (j->group.sparse && !coder->plain[j->group.model])))
            status = LS_CORRUPT;
        if (status)
            return status;
        if (j->group.payload_size)
            jobs[kept++] = *j;
        else
            memset(out + j->out_at, 0, group_size);
    }
    *count = kept;
    return LS_OK;
}

int ls_decode_rows(const ls_coder *coder, const uint8_t sha256[32], ls_job *jobs, int count, int8_t *out, int *failed)
{
    int status = parse_jobs(coder, sha256, jobs, &count, 1, out, failed), widest = 1;
    ls_geometry g;
    ls_work work = {0};
    if (status || !count)
        return status;
    for (int i = 0; i < count; i++)
        widest = jobs[i].width > widest ? jobs[i].width : widest;
    qsort(jobs, (size_t)count, sizeof *jobs, by_model);
    ls_geometry_row(&g, widest, LS_MAX_LANES);
    status = ls_work_make(&work, coder, &g);
    for (int at = 0; !status && at < count;) {
        bundle b;
        if ((status = fill_bundle(&b, jobs + at, count - at, 1, out)))
            break;
        at += b.count;
        /* widths rise within a model, so the last is the largest unless two models meet */
        ls_geometry_row(&g, 1, LS_MAX_LANES);
        for (int lane = 0; lane < LS_MAX_LANES; lane++) {
            g.widths[lane] = b.width[lane];
            g.width = g.steps = b.width[lane] > g.width ? b.width[lane] : g.width;
        }
        g.size = (ptrdiff_t)g.width * LS_MAX_LANES;
        /* what a wider bundle before it left behind its end: neighbours there are zeros */
        memset(work.residual + g.size, 0, LS_MAX_LANES);
        for (int k = 0; k <= coder->kept; k++)
            memset(work.value[k] + g.size, 0, LS_MAX_LANES);
        /* side by side such bundles gain nothing: a step has more to do than to wait for */
        status = decode_bundles(coder, &work, &b, 1, failed);
        free(b.copy);
    }
    ls_work_free(&work);
    return status;
}

int ls_decode_jobs(const ls_coder *coder, const uint8_t sha256[32], ls_job *jobs, int count, int height, int width,
                   int8_t *out, int *failed)
{
    const size_t group_size = (size_t)coder->channels * (size_t)height * (size_t)width;
    const int lanes = ls_lanes(height, width);
    ls_geometry g;
    ls_work works[2] = {{0}, {0}};
    for (int i = 0; i < count; i++) {
        jobs[i].width = width;
        jobs[i].out_at = (size_t)jobs[i].index * group_size;
    }
    if (coder->adaptive && height == 1)
        return ls_decode_rows(coder, sha256, jobs, count, out, failed);
    int status = parse_jobs(coder, sha256, jobs, &count, height, out, failed);
    if (status || !count)
        return status;
    qsort(jobs, (size_t)count, sizeof *jobs, by_model);
    int sparse = 0;
    while (sparse < count && jobs[count - 1 - sparse].group.sparse)
        sparse++;
    count -= sparse;
    if (sparse)
        status = ls_decode_sparse(coder, jobs + count, sparse, height, width, out, failed);
    if (status || !count)
        return status;
    status = ls_geometry_make(&g, height, width, lanes, LS_MAX_LANES);
    if (!status)
        status = ls_work_make(works, coder, &g);
    for (int at = 0; !status && at < count;) {
        bundle bundles[2];
        int n = 0;
        while (!status && n < 2 && at < count) {
            if (n && !works[1].memory)
                status = ls_work_make(works + 1, coder, &g);
            if (!status && !(status = fill_bundle(bundles + n, jobs + at, count - at, lanes, out)))
                at += bundles[n++].count;
        }
        if (!status)
            status = decode_bundles(coder, works, bundles, n, failed);
        while (n)
            free(bundles[--n].copy);
    }
    ls_work_free(works);
    ls_work_free(works + 1);
    ls_geometry_free(&g);
    return status;
}
