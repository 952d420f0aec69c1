/* The values at taken positions, in groups of the sparse form. In a step, each lane is at the next taken position of its
 * group, wherever that is: what lies above and below is gathered from planes of magnitudes. */

/* min(65535, base + what the pairs of earlier channels from i on add); a lane has its own weights, the low and the high
 * byte */
#ifndef v_sum_pairs
static inline void sum_pairs(uint16_t *to, size_t i, int planes, uint16_t *const *pairs,
                             const uint16_t (*weights)[LS_MAX_LANES], const uint16_t *base)
{
    const vec byte = v_set(255);
    vec sum = v_load_u16(base);
    for (int p = 0; p < planes; p++) {
        const vec pair = v_load_u16(pairs[p] + i), w = v_load_u16(weights[p]);
        sum = v_add(sum, v_add(v_mul16(v_and(pair, byte), v_and(w, byte)), v_mul16(v_srl(pair, 8), v_srl(w, 8))));
    }
    v_store_u16(to, v_min(sum, v_set(65535)));
}
#define v_sum_pairs sum_pairs
#endif

static const ls_channel *channel_of(const ls_coder *coder, const ls_values *v, int lane, int k)
{
    return coder->channel + v->model[lane] * (size_t)coder->channels + k;
}

/* The sums of channel k: its bias, and what earlier channels add; `any`: a bit for each that holds something */
static void sum_earlier(const ls_coder *coder, const ls_values *v, int k, uint32_t any)
{
    uint16_t base[LS_MAX_LANES], weights[LS_MAX_GROUP][LS_MAX_LANES], *pairs[LS_MAX_GROUP];
    int planes = 0;
    for (int p = 0; p < k; p++) {
        if (!(any >> p & 1))
            continue;
        for (int lane = 0; lane < LS_MAX_LANES; lane++) {
            const uint8_t *w = channel_of(coder, v, lane, k)->cross[p];
            weights[planes][lane] = (uint16_t)(w[0] | w[1] << 8);
        }
        pairs[planes++] = v->pairs[p];
    }
    for (int lane = 0; lane < LS_MAX_LANES; lane++) {
        const int32_t bias = channel_of(coder, v, lane, k)->bias;
        base[lane] = (uint16_t)(bias < 4 ? 4 : bias);
    }
    for (size_t i = 0; i < v->taken[0]; i++)
        v_sum_pairs(v->steps[i].sum, 16 * i, planes, pairs, weights, base);
}

/* own[i] of each lane's channel k */
static vec own_of(const ls_coder *coder, const ls_values *v, int k, int i)
{
    uint32_t x[LS_MAX_LANES];
    for (int lane = 0; lane < LS_MAX_LANES; lane++)
        x[lane] = (uint32_t)channel_of(coder, v, lane, k)->own[i];
    return v_load(x);
}

/* Values that stood behind an escape; a bit for each lane that has too few. */
static __attribute__((noinline)) unsigned take_escapes(ls_values *v, mask escaped, vec *values)
{
    uint32_t x[LS_MAX_LANES];
    unsigned missing = 0;
    v_store(x, *values);
    for (unsigned left = escaped; left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        if (v->escapes[lane] == v->escapes_end[lane])
            missing |= 1u << lane;
        else
            x[lane] = (uint32_t)(int32_t)(int8_t)*v->escapes[lane]++;
    }
    *values = v_load(x);
    return missing;
}

/* two sums of products of 16 bits, none of which is negative */
#ifndef v_dot16
static inline vec dot16(vec a, vec b)
{
    const vec low = v_set(0xffff);
    return v_add(v_mul16(v_and(a, low), v_and(b, low)), v_mul16(v_srl(a, 16), v_srl(b, 16)));
}
#define v_dot16 dot16
#endif
/* v_gather_bytes where places stand in memory */
#ifndef v_gather_places
#define v_gather_places(BASE, PLACES) v_gather_bytes(BASE, v_load(PLACES))
#endif

/* puts the lowest bytes of `a` where places stand in memory */
static inline void scatter_bytes(uint8_t *base, const uint32_t *places, vec a)
{
    int8_t bytes[LS_MAX_LANES];
    v_store_i8(bytes, a);
    for (int lane = 0; lane < LS_MAX_LANES; lane++)
        base[places[lane]] = (uint8_t)bytes[lane];
}

/* Channel k of 16 groups in flight; its fields stay in registers, so no pointer to one may leave the loop. */
typedef struct {
    vec state, word, before; /* before: the magnitude one step before, and above it that two steps before */
    vec table, slot, symbol, value;
    int lanes; /* that have not come to their end */
} sparse_runner;

/* of the lanes' channels: weights, those of two numbers in 16 bits each */
typedef struct {
    vec left, left2, up, corners, tables, end;
} sparse_weights;

static sparse_weights weigh(const ls_coder *coder, const ls_values *v, int k)
{
    uint32_t at[LS_MAX_LANES];
    for (int lane = 0; lane < LS_MAX_LANES; lane++)
        at[lane] = (uint32_t)(channel_of(coder, v, lane, k)->table16[1] - (const uint16_t *)(const void *)coder->channel);
    const vec left2 = own_of(coder, v, k, 4);
    const sparse_weights w = {own_of(coder, v, k, 0),
                              v_or(left2, v_sll(left2, 16)),
                              own_of(coder, v, k, 1),
                              v_or(own_of(coder, v, k, 2), v_sll(own_of(coder, v, k, 3), 16)),
                              v_sub(v_load(at), v_set(129u << 2)),
                              v_load(v->lanes.word_end)};
    return w;
}

/* Which frequency table. */
static inline __attribute__((always_inline)) void look_around(sparse_runner *r, const ls_coder *coder, const ls_values *v,
                                                              const sparse_weights *w, ls_step *step)
{
    const vec three = v_gather_places(v->magnitude - v->row - 1, step->place);
    const vec near = v_or(v_and(v_load(step->beside[0]), w->left), v_and(v_load(step->beside[1]), w->left2));
    vec sum = v_add(v_load_u16(step->sum), v_dot16(r->before, near));
    sum = v_add(sum, v_dot16(v_and(three, v_set(0xff00ff)), w->corners));
    sum = v_add(sum, v_mul16(v_and(v_srl(three, 8), v_set(255)), w->up));
    v_store(step->above, three);
    /* as bucket_of, but no sum is below 4 */
    const vec bucket = v_srl(v_float_bits(v_min(sum, v_set(65535))), 21);
    const vec at = v_add(v_add(w->tables, v_load_i8(step->seen)), bucket);
    r->table = v_gather16((const uint16_t *)(const void *)coder->channel, at);
    r->slot = slots_of(coder, r->state);
}

static inline __attribute__((always_inline)) void go_on(sparse_runner *r, const ls_coder *coder, const ls_values *v,
                                                        const sparse_weights *w, size_t i)
{
    const decoded d = decode_symbols(coder, r->table, r->slot, r->state, r->symbol);
    r->value = d.residual;
    if (i < v->taken[LS_MAX_LANES - 1]) {
        r->state = d.next;
    } else {
        while (v->taken[r->lanes - 1] <= i)
            r->lanes--;
        const mask active = (mask)((1u << r->lanes) - 1);
        r->state = v_blend(active, r->state, d.next);
        r->value = v_blend(active, v_set(0), r->value);
    }
    v_take_words(v->lanes.bytes, &r->state, &r->word, w->end);
}

/* Of 16 values from -31 to 31, or -128 for an escape: whether one is. */
static inline int holds_escape(const int8_t *values)
{
    uint64_t x[2];
    memcpy(x, values, sizeof x);
    return (((x[0] & ~(x[0] << 1)) | (x[1] & ~(x[1] << 1))) & 0x8080808080808080ULL) != 0;
}

/* a bit for each lane that has too few escapes */
static inline __attribute__((always_inline)) unsigned keep(sparse_runner *r, ls_values *v, ls_step *step)
{
    unsigned missing = 0;
    v_store_i8(step->value, r->value);
    if (__builtin_expect(holds_escape(step->value), 0)) {
        vec full = r->value;
        missing = take_escapes(v, v_equal(full, v_set((uint32_t)-128)), &full);
        r->value = full;
        v_store_i8(step->value, full);
    }
    const vec a = v_min(v_abs(r->value), v_set(15));
    r->before = v_or(v_sll(r->before, 16), a);
    scatter_bytes(v->magnitude, step->place, a);
    return missing;
}

/* The symbols of channel k. A bit for each lane that has too few escapes. */
static unsigned decode_channel(const ls_coder *coder, ls_values *v, int k)
{
    const sparse_weights w = weigh(coder, v, k);
    sparse_runner r = {v_load(v->lanes.state), v_load(v->lanes.word), .before = v_set(0), .lanes = LS_MAX_LANES};
    unsigned missing = 0;
    for (size_t i = 0; i < v->taken[0]; i++) {
        look_around(&r, coder, v, &w, v->steps + i);
        r.symbol = guess_symbols(coder, r.table, r.slot);
        go_on(&r, coder, v, &w, i);
        missing |= keep(&r, v, v->steps + i);
    }
    v_store(v->lanes.state, r.state);
    v_store(v->lanes.word, r.word);
    return missing;
}

/* a bit for each of 16 bytes that is not 0 */
#ifndef v_held
#define v_held(BYTES) (mask)~v_equal(v_load_i8(BYTES), v_set(0))
#endif

/* Puts the values of channel k into its plane; whether there are any. */
static int put_values(const ls_values *v, int k)
{
    const size_t steps = v->taken[0], first = (size_t)k * v->area;
    uint64_t any = 0;
    for (size_t i = 0; i < steps; i += 4) {
        uint64_t held = 0;
        for (size_t j = 0; j < 4 && i + j < steps; j++)
            held |= (uint64_t)v_held(v->steps[i + j].value) << 16 * j;
        any |= held;
        for (; held; held &= held - 1) {
            const size_t bit = (size_t)__builtin_ctzll(held), lane = bit & 15;
            const ls_step *step = v->steps + i + bit / 16;
            v->out[lane][first + v->position[step->place[lane] - lane * v->places]] = step->value[lane];
        }
    }
    return any != 0;
}

/* What later channels are told of channel k. */
static void tell_later(const ls_values *v, int k)
{
    const vec byte = v_set(255), zero = v_set(0), most = v_set(15), found = v_set(64);
    const size_t steps = v->taken[0];
    const uint8_t *below = v->magnitude + v->row - 1;
    vec left = zero, a = v_min(v_abs(v_load_i8(v->steps->value)), most);
    for (size_t i = 0; i < steps; i++) {
        ls_step *step = v->steps + i, *next = step + (i + 1 < steps);
        const vec beside = v_load(next->beside[0]), right = v_min(v_abs(v_load_i8(next->value)), most);
        const vec six = v_add(v_gather_places(below, step->place), v_load(step->above));
        vec around = v_add(v_and(v_srl(six, 8), byte), v_dot16(v_and(six, v_set(0xff00ff)), v_set(0x10001)));
        around = v_add(v_add(around, left), next > step ? v_and(right, beside) : zero);
        v_store_u16(v->pairs[k] + 16 * i, v_or(v_sll(around, 8), v_sll(a, 2)));
        v_store_i8(step->seen, v_if_equal(a, zero, v_load_i8(step->seen), found));
        left = v_and(a, beside);
        a = right;
    }
}

/* Which positions lie beside each other. */
static void compare_places(const ls_values *v)
{
    const vec zero = v_set(0), one = v_set(1), two = v_set(2), low = v_set(0xffff), high = v_set(0xffff0000);
    vec before = zero, before2 = zero; /* no position has place 0 */
    for (ls_step *step = v->steps; step < v->steps + v->taken[0]; step++) {
        const vec at = v_load(step->place);
        v_store(step->beside[0], v_if_equal(at, v_add(before, one), low, zero));
        v_store(step->beside[1], v_or(v_if_equal(at, v_add(before, two), low, zero),
                                      v_if_equal(at, v_add(before2, two), high, zero)));
        before2 = before;
        before = at;
    }
}

static unsigned decode_values(const ls_coder *coder, ls_values *v)
{
    uint32_t any = 0;
    compare_places(v);
    for (int k = 0; k < coder->channels; k++) {
        sum_earlier(coder, v, k, any);
        const unsigned missing = decode_channel(coder, v, k);
        if (missing)
            return missing;
        if (put_values(v, k)) {
            any |= 1u << k;
            tell_later(v, k);
        }
    }
    return 0;
}
