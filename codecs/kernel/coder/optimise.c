/* Rate-distortion-optimised quantisation: every coefficient, in coding order, takes the integer that costs least in
 * distortion plus lambda times the bits that the real tables charge in the context made by the choices before it. */
#include "coder/work.h"

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
    const size_t area = (size_t)height * (size_t)width;
    uint64_t total = 0;
    ls_geometry g;
    ls_work w = {0};
    int status = ls_geometry_make(&g, height, width, 1, 1);
    if (!status)
        status = ls_work_make(&w, coder, &g);
    for (int k = 0; !status && k < coder->channels; k++) {
        const ls_channel *c = channels + k, *lanes[LS_MAX_LANES];
        int8_t *q = w.value[k];
        for (int lane = 0; lane < LS_MAX_LANES; lane++)
            lanes[lane] = c;
        ls_earlier(&w, path, lanes, k);
        const plane_job job = {coder,     c,           w.context,        w.prediction, lambda / 256,
                               weight[k], delta[2 * k], delta[2 * k + 1]};
        for (int y = 0; y < height; y++) {
            const size_t row = (size_t)y * (size_t)width;
            total += choose_row(&job, coefficients + (size_t)k * area + row, y, width, q + row, w.residual + row);
        }
        memcpy(latent + (size_t)k * area, q, area);
        ls_finish_plane(&w, path, k);
    }
    *bits = (double)total / 256;
    ls_work_free(&w);
    ls_geometry_free(&g);
    return status;
}
