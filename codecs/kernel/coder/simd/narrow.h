/* Decoding where each stream has one lane: all 16 lanes are at the same position. What the row above says is summed up
 * before a row, in a loop that waits for nothing; what is left of a step waits for the step before it, and two bundles
 * side by side fill the time. Their steps go part by part, so that what waits fits into the processor's window. */

/* of one bundle; its fields stay in registers, so no pointer to one may leave the loop */
typedef struct {
    vec state, a1, a2, q1; /* magnitudes to the left and two to the left, the value to the left */
    vec table, slot, symbol, p, flip;
    reader words;
} runner;

/* of the lanes of a bundle; of both if they are of one channel */
typedef struct {
    vec left, left2, signed_left, table_at;
    vec_table table;
} weights;

static inline __attribute__((always_inline)) weights weights_of(const ls_coder *coder, const ls_plane *plane,
                                                                const int predicted, const int mixed)
{
    const ls_channel *c = plane->channel[0];
    weights w = {v_set((uint32_t)c->own[0]), v_set((uint32_t)c->own[4]), v_set((uint32_t)c->signed_own[0]), v_set(0),
                 v_table_load(&c->table16[0][0], predicted)};
    if (mixed) {
        uint32_t at[16];
        for (int k = 0; k < 16; k++)
            at[k] = (uint32_t)(((const char *)plane->channel[k]->table16 - (const char *)coder->channel) / 2);
        w.table_at = v_load(at);
        w.left = of_channels(plane, offsetof(ls_channel, own));
        w.left2 = of_channels(plane, offsetof(ls_channel, own) + 16);
        w.signed_left = predicted ? signed_weight(plane, 0) : v_set(0);
    }
    return w;
}

/* plane->sums of row y: bias, earlier channels, and the row above; of the first row, whose neighbours above are its left
 * ones, what these weigh together is added in the end */
static void sum_magnitudes(const ls_plane *plane, int y, int width)
{
    const ptrdiff_t row = (ptrdiff_t)y * width * 16;
    const int8_t *above = plane->residual + row - (ptrdiff_t)width * 16;
    const size_t own = offsetof(ls_channel, own);
    const vec bias = of_channels(plane, offsetof(ls_channel, bias)), w1 = of_channels(plane, own + 4),
              w2 = of_channels(plane, own + 8), w3 = of_channels(plane, own + 12);
    vec up = y ? magnitude_at(above) : v_set(0), up_left = up;
    for (int x = 0; x < width; x++) {
        vec sum = v_add(bias, v_load_u16(plane->cross + row + 16 * (ptrdiff_t)x));
        if (y) {
            const vec up_right = x + 1 < width ? magnitude_at(above + 16 * (x + 1)) : up;
            sum = v_add(sum, v_add(v_mul16(up, w1), v_add(v_mul16(up_left, w2), v_mul16(up_right, w3))));
            up_left = up;
            up = up_right;
        }
        v_store(plane->sums + 16 * x, sum);
    }
}

/* the same for values; plane->prediction is added to in its place */
static void sum_values(const ls_plane *plane, int y, int width)
{
    const ptrdiff_t row = (ptrdiff_t)y * width * 16;
    const int8_t *above = plane->value + row - (ptrdiff_t)width * 16;
    const vec w1 = signed_weight(plane, 1), w2 = signed_weight(plane, 2), w3 = signed_weight(plane, 3);
    vec up = v_load_i8(above), up_left = up;
    for (int x = 0; x < width; x++) {
        uint32_t *at = (uint32_t *)plane->prediction + row + 16 * (ptrdiff_t)x;
        const vec up_right = x + 1 < width ? v_load_i8(above + 16 * (x + 1)) : up;
        v_store(at, v_add(v_load(at), v_add(v_mul(up, w1), v_add(v_mul(up_left, w2), v_mul(up_right, w3)))));
        up_left = up;
        up = up_right;
    }
}

/* Which frequency table. */
static inline __attribute__((always_inline)) void expect(runner *r, const ls_coder *coder, const ls_plane *plane,
                                                         const weights *w, ptrdiff_t row, int x, const int predicted,
                                                         const int mixed)
{
    vec sum = v_add(v_load(plane->sums + 16 * x), v_add(v_mul16(r->a2, w->left2), v_mul16(r->a1, w->left)));
    if (__builtin_expect(!row, 0))
        for (int i = 1; i < 4; i++)
            sum = v_add(sum, v_mul16(r->a1, of_channels(plane, offsetof(ls_channel, own) + 4 * (size_t)i)));
    vec bucket = bucket_of(sum);
    if (predicted) {
        sum = v_add(v_load((const uint32_t *)plane->prediction + row + 16 * x), v_mul(r->q1, w->signed_left));
        if (__builtin_expect(!row, 0))
            for (int i = 1; i < 4; i++)
                sum = v_add(sum, v_mul(r->q1, signed_weight(plane, i)));
        r->p = v_max(v_min(v_sra(v_add(sum, v_set(512)), 10), v_set(127)), v_set((uint32_t)-127));
        const vec fraction = v_sub(sum, v_sll(r->p, 10));
        r->flip = v_sra(fraction, 31);
        bucket = v_or(bucket, v_sll(v_min(v_srl(v_abs(fraction), 7), v_set(3)), 6));
    }
    r->slot = slots_of(coder, r->state);
    r->table = mixed ? v_gather16((const uint16_t *)(const void *)coder->channel, v_add(w->table_at, bucket))
                     : v_lookup(w->table, bucket, predicted);
}

static inline __attribute__((always_inline)) void advance(runner *r, const ls_coder *coder)
{
    const decoded d = decode_symbols(coder, r->table, r->slot, r->state, r->symbol);
    r->symbol = d.residual;
    r->state = reader_refill_each(&r->words, d.next);
}

static inline __attribute__((always_inline)) int settle(runner *r, const ls_plane *plane, ptrdiff_t at, int x,
                                                        const int predicted)
{
    const mask escaped = v_equal(r->symbol, v_set((uint32_t)-128));
    vec symbol = predicted ? v_sub(v_xor(r->symbol, r->flip), r->flip) : r->symbol, value = symbol;
    if (predicted)
        value = v_max(v_min(v_add(symbol, r->p), v_set(127)), v_set((uint32_t)-128));
    if (__builtin_expect(escaped, 0)) {
        vec full_symbol = symbol, full_value = value;
        if (read_escapes(plane, 1, escaped, predicted ? r->p : v_set(0), &full_symbol, &full_value))
            return LS_CORRUPT;
        symbol = full_symbol;
        value = full_value;
    }
    v_store_i8(plane->residual + at, symbol);
    r->a2 = r->a1;
    r->a1 = v_min(v_abs(symbol), v_set(15));
    if (x == 0)
        r->a2 = r->a1;
    if (predicted) {
        v_store_i8(plane->value + at, value);
        r->q1 = value;
    }
    return LS_OK;
}

/* The neighbours of the first column are those above it. */
static inline __attribute__((always_inline)) void begin_row(runner *r, const ls_plane *plane, int y, int width,
                                                            const int predicted)
{
    const ptrdiff_t above = (ptrdiff_t)(y - 1) * width * 16;
    sum_magnitudes(plane, y, width);
    r->a1 = r->a2 = y ? magnitude_at(plane->residual + above) : v_set(0);
    r->q1 = v_set(0);
    if (predicted && y) {
        sum_values(plane, y, width);
        r->q1 = v_load_i8(plane->value + above);
    }
}

static inline __attribute__((always_inline)) int decode_narrow(const ls_coder *coder, const ls_geometry *g,
                                                               ls_plane *planes, int *failed, const int predicted,
                                                               const int count, const int mixed)
{
    const ls_plane *one = planes, *two = planes + count - 1;
    const weights w = weights_of(coder, one, predicted, mixed);
    const weights w2 = mixed && count > 1 ? weights_of(coder, two, predicted, mixed) : w;
    const int width = g->width;
    runner a = {0}, b = {0}; /* nothing reads these zeros, but gcc 12 cannot see it and warns */
    a.state = v_load(one->states);
    reader_open(&a.words, one->streams, 16);
    b.state = v_load(two->states);
    reader_open(&b.words, two->streams, 16);
    for (int y = 0; y < g->height; y++) {
        const ptrdiff_t row = (ptrdiff_t)y * width * 16;
        begin_row(&a, one, y, width, predicted);
        if (count > 1)
            begin_row(&b, two, y, width, predicted);
        int status = LS_OK;
        for (int x = 0; x < width && !status; x++) {
            const ptrdiff_t at = row + 16 * (ptrdiff_t)x;
            expect(&a, coder, one, &w, row, x, predicted, mixed);
            if (count > 1)
                expect(&b, coder, two, &w2, row, x, predicted, mixed);
            a.symbol = guess_symbols(coder, a.table, a.slot);
            if (count > 1)
                b.symbol = guess_symbols(coder, b.table, b.slot);
            advance(&a, coder);
            if (count > 1)
                advance(&b, coder);
            if (settle(&a, one, at, x, predicted))
                status = LS_CORRUPT, *failed = 0;
            if (count > 1 && settle(&b, two, at, x, predicted))
                status = LS_CORRUPT, *failed = 1;
        }
        /* once a row: behind the words of every stream is room for as many as a row can take */
        if (too_short(&a.words, one, 16)) {
            *failed = 0;
            return LS_TRUNCATED;
        }
        if (count > 1 && too_short(&b.words, two, 16)) {
            *failed = 1;
            return LS_TRUNCATED;
        }
        if (status)
            return status;
    }
    v_store(one->states, a.state);
    reader_close(&a.words, one->streams, 16);
    if (count > 1) {
        v_store(two->states, b.state);
        reader_close(&b.words, two->streams, 16);
    }
    return LS_OK;
}
