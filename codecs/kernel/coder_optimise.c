/* Rate-distortion-optimised quantisation: every coefficient, in coding order, takes the integer that costs least in
 * distortion plus lambda times the bits that the real tables charge in the context made by the choices before it. */
#include "coder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int left, up, up_left, up_right, left2;
} around;

/* neighbours with the plane's edge repeated, as everywhere in the format */
static around neighbours(const int8_t *row, const int8_t *above, int x, int width)
{
    around n;
    n.left = x ? row[x - 1] : above ? above[0] : 0;
    if (!above) {
        n.up = n.up_left = n.up_right = n.left;
    } else {
        n.up = above[x];
        n.up_left = x ? above[x - 1] : n.up;
        n.up_right = x + 1 < width ? above[x + 1] : n.up;
    }
    n.left2 = x > 1 ? row[x - 2] : x ? row[x - 1] : above ? above[0] : 0;
    return n;
}

static int bucket_of(int32_t context)
{
    int v = context < 4 ? 4 : context, log2 = 31 - __builtin_clz((unsigned)v);
    int bucket = 4 * (log2 - 2) + (v >> (log2 - 2) & 3);
    return bucket > 63 ? 63 : bucket;
}

static int magnitude(int r)
{
    r = r < 0 ? -r : r;
    return r > 15 ? 15 : r;
}

typedef struct {
    const ls_coder *coder;
    const ls_channel *channel;
    const uint16_t *cross;
    const int32_t *prediction;
    float lambda, weight, delta1, delta2;
} plane_job;

static uint64_t choose_row(const plane_job *job, const float *z, int y, int width, int8_t *q, int8_t *a)
{
    const ls_channel *c = job->channel;
    const int8_t *q_above = y ? q - width : NULL, *a_above = y ? a - width : NULL;
    const ptrdiff_t at = (ptrdiff_t)y * width;
    uint64_t bits = 0;
    for (int x = 0; x < width; x++) {
        const around m = neighbours(a, a_above, x, width);
        const int32_t context = c->bias + job->cross[at + x] + c->own[0] * m.left + c->own[1] * m.up +
                                c->own[2] * m.up_left + c->own[3] * m.up_right + c->own[4] * m.left2;
        int p = 0, sign = 1, level = 0;
        if (c->predicted) {
            const around s = neighbours(q, q_above, x, width);
            const int sum = job->prediction[at + x] + c->signed_own[0] * s.left + c->signed_own[1] * s.up +
                            c->signed_own[2] * s.up_left + c->signed_own[3] * s.up_right;
            p = (sum + 512) >> 10;
            p = p > 127 ? 127 : p < -127 ? -127 : p;
            int fraction = sum - p * 1024;
            sign = fraction < 0 ? -1 : 1;
            fraction = fraction < 0 ? -fraction : fraction;
            level = fraction >> 7 > 3 ? 3 : fraction >> 7;
        }
        const uint32_t table = (uint32_t)c->table[level][bucket_of(context)] << 6;
        const uint16_t *cost = job->coder->cost + table;
        const float coefficient = z[x], size = fabsf(coefficient);
        const float above = size + 0.5f + (size < 1.5f ? job->delta1 : job->delta2);
        const int top = above >= 0.0f && above < 128.0f ? (int)above : 127;
        /* from the nearest integer towards zero; a predicted channel may also gain by moving to its prediction,
         * which lies on the way when it is smaller */
        const int lowest = top > 2 ? top - 2 : 0;
        int best = 0;
        uint32_t best_cost = 0;
        float least = INFINITY;
        for (int n = top; n >= lowest; n--) {
            const int value = coefficient < 0 ? -n : n, t = sign * (value - p);
            const uint32_t b = t < -LS_RADIUS || t > LS_RADIUS ? cost[LS_ESCAPE] : cost[t + LS_RADIUS];
            const float rebuilt = n ? (float)n - (n == 1 ? job->delta1 : job->delta2) : 0.0f;
            const float error = size - rebuilt;
            const float total = job->weight * error * error + job->lambda * (float)b;
            if (total < least) {
                least = total;
                best = value;
                best_cost = b;
            }
        }
        q[x] = (int8_t)best;
        a[x] = (int8_t)magnitude(best - p);
        bits += best_cost;
    }
    return bits;
}

/* coefficients (channels, height, width) in units of their steps; weight: squared error of a unit in each channel;
 * delta (channels, 2): how far |1| and larger magnitudes are rebuilt towards zero */
int ls_optimise_group(const ls_coder *coder, int model, int height, int width, const float *coefficients,
                      const float *weight, float lambda, const float *delta, int8_t *latent, double *bits)
{
    const ls_path *path = ls_current_path();
    const ls_channel *channels = coder->channel + (size_t)model * coder->channels;
    const size_t area = (size_t)height * (size_t)width, block = (area + 191) / 64 * 64;
    const int count = coder->channels;
    uint64_t total = 0;
    ls_geometry g;
    int status = ls_geometry_make(&g, height, width, 1, 1);
    const size_t padded = area + 2 * (size_t)g.pad;
    /* prediction, context, a padded plane of magnitudes, scratch, padded values of every channel, pairs */
    uint8_t *memory = status ? NULL : calloc(1, 6 * block + 3 * padded + (size_t)count * (padded + 2 * block));
    if (!memory) {
        ls_geometry_free(&g);
        return LS_NO_MEMORY;
    }
    int32_t *prediction = (int32_t *)memory;
    uint16_t *context = (uint16_t *)(memory + 4 * block);
    int8_t *a = (int8_t *)memory + 6 * block + g.pad;
    uint8_t *scratch = memory + 6 * block + padded, *values = scratch + 2 * padded;
    uint8_t *pairs = values + (size_t)count * padded;
    const int8_t *value[LS_MAX_GROUP];
    const uint8_t *used[LS_MAX_GROUP];
    for (int k = 0; k < count; k++) {
        const ls_channel *c = channels + k;
        int8_t *q = (int8_t *)values + (size_t)k * padded + g.pad;
        value[k] = q;
        path->cross(&g, k, used, c->cross, context);
        if (c->predicted) {
            memset(prediction, 0, area * 4);
            path->signed_cross(&g, k, value, c->signed_cross, (int8_t *)scratch, prediction);
        }
        const plane_job job = {coder,      c,         context, prediction, lambda / 256, weight[k],
                               delta[2 * k], delta[2 * k + 1]};
        for (int y = 0; y < height; y++)
            total += choose_row(&job, coefficients + (size_t)k * area + (size_t)y * (size_t)width, y, width,
                                q + (ptrdiff_t)y * width, a + (ptrdiff_t)y * width);
        memcpy(latent + (size_t)k * area, q, area);
        used[k] = path->magnitudes(&g, a, scratch, pairs + (size_t)k * 2 * block) ? pairs + (size_t)k * 2 * block : NULL;
    }
    *bits = (double)total / 256;
    free(memory);
    ls_geometry_free(&g);
    return LS_OK;
}
