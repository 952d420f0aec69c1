/* Signed prediction of the few channels that it pays for. Neighbours outside the plane repeat its edge. */
#include "coder.h"

static int8_t choose(uint8_t mask, int8_t yes, int8_t no)
{
    return (int8_t)((yes & mask) | (no & ~mask));
}

/* out[i] += weight of the nine positions around i in each earlier plane; weights in rows, top to bottom */
void ls_signed_cross(const ls_geometry *g, int planes, const int8_t *const *values, const int32_t (*weights)[9],
                     int8_t *scratch, int32_t *out)
{
    const ptrdiff_t wide = g->wide, up_wrap = (ptrdiff_t)g->wrap * wide - (g->lanes - 1), up = 2 * wide + 1;
    int8_t *shifted = scratch + g->pad;
    for (int p = 0; p < planes; p++) {
        const int8_t *q = values[p];
        for (int column = 0; column < 3; column++) {
            const int32_t above = weights[p][column], here = weights[p][3 + column], below = weights[p][6 + column];
            if (!above && !here && !below)
                continue;
            const ptrdiff_t step = (column - 1) * wide;
            const uint8_t *edge = column == 0 ? g->first_column : g->last_column;
            for (ptrdiff_t i = 0; i < g->size; i++)
                shifted[i] = column == 1 ? q[i] : choose(edge[i], q[i], q[i + step]);
            for (ptrdiff_t i = 0; i < g->size; i++) {
                int8_t u = choose(g->first_lane[i], shifted[i - up_wrap], shifted[i - up]);
                int8_t d = choose(g->last_lane[i], shifted[i + up_wrap], shifted[i + up]);
                u = choose(g->first_row[i], shifted[i], u);
                d = choose(g->last_row[i], shifted[i], d);
                out[i] += above * u + here * shifted[i] + below * d;
            }
        }
    }
}

/* The decoder forms the same sum step by step from registers. */
void ls_own_predictions(const ls_geometry *g, const ls_channel *c, const int8_t *value, int32_t *inout)
{
    const ptrdiff_t wide = g->wide, up_wrap = (ptrdiff_t)g->wrap * wide - (g->lanes - 1), up = 2 * wide + 1;
    for (ptrdiff_t i = 0; i < g->size; i++) {
        int8_t u = choose(g->first_lane[i], value[i - up_wrap], value[i - up]);
        int8_t ul = choose(g->first_lane[i], value[i - up_wrap - wide], value[i - up - wide]);
        int8_t ur = choose(g->first_lane[i], value[i - up_wrap + wide], value[i - up + wide]);
        int8_t l = choose(g->first_column[i], u, value[i - wide]);
        ul = choose(g->first_column[i], u, ul);
        ur = choose(g->last_column[i], u, ur);
        u = choose(g->first_row[i], l, u);
        ul = choose(g->first_row[i], l, ul);
        ur = choose(g->first_row[i], l, ur);
        inout[i] += c->signed_own[0] * l + c->signed_own[1] * u + c->signed_own[2] * ul + c->signed_own[3] * ur;
    }
}
