/* Signed prediction of the few channels that it pays for: plain loops over flat planes, compiled for each path.
 * Neighbours outside the plane repeat its edge. */

static inline int8_t choose(uint8_t mask, int8_t yes, int8_t no)
{
    return (int8_t)((yes & mask) | (no & ~mask));
}

/* out[i] += weight of the nine positions around i in each earlier plane; weights in rows, top to bottom, by lane.
 * Sixteen at a time; planes are padded, so the last ones may run over. */
static void signed_cross(const ls_geometry *g, int planes, const int8_t *const *values,
                         const int32_t (*weights)[9][LS_MAX_LANES], int8_t *scratch, int32_t *restrict out)
{
    const ptrdiff_t wide = g->wide, up_wrap = (ptrdiff_t)g->wrap * wide - (g->lanes - 1), up = 2 * wide + 1;
    int8_t *restrict shifted = scratch + g->pad;
    const uint8_t *first_lane = g->first_lane, *last_lane = g->last_lane, *first_row = g->first_row,
                  *last_row = g->last_row;
    const ptrdiff_t n = g->size;
    for (int p = 0; p < planes; p++) {
        const int8_t *restrict q = values[p];
        for (int column = 0; column < 3; column++) {
            const int32_t *restrict above = weights[p][column], *restrict here = weights[p][3 + column],
                                    *restrict below = weights[p][6 + column];
            const ptrdiff_t step = (column - 1) * wide;
            /* the middle column is not shifted, wherever its edge may be */
            const uint8_t *restrict edge = column == 0 ? g->first_column : g->last_column;
            for (ptrdiff_t i = 0; i < n; i++)
                shifted[i] = choose(edge[i], q[i], q[i + step]);
            for (ptrdiff_t first = 0; first < n; first += LS_MAX_LANES)
                for (int lane = 0; lane < LS_MAX_LANES; lane++) {
                    const ptrdiff_t i = first + lane;
                    int8_t u = choose(first_lane[i], shifted[i - up_wrap], shifted[i - up]);
                    int8_t d = choose(last_lane[i], shifted[i + up_wrap], shifted[i + up]);
                    u = choose(first_row[i], shifted[i], u);
                    d = choose(last_row[i], shifted[i], d);
                    out[i] += above[lane] * u + here[lane] * shifted[i] + below[lane] * d;
                }
        }
    }
}

/* The decoder forms the same sum step by step from registers. */
static void own_predictions(const ls_geometry *g, const ls_channel *c, const int8_t *value, int32_t *inout)
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
