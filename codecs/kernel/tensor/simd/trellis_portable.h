/* Choosing residuals along the trellis: Viterbi's algorithm, sequence after sequence. */

static void unfold(int32_t *residual, int spiked, ptrdiff_t count)
{
    uint64_t before = 0;
    for (ptrdiff_t first = 0; first < count; first += 64) {
        const int size = count - first < 64 ? (int)(count - first) : 64;
        uint64_t y = 0;
        if (first % TENSOR_SEQUENCE == 0)
            before = 0;
        for (int i = 0; i < size; i++)
            y |= (uint64_t)(residual[first + i] & 1) << i;
        const uint64_t now = divided(y, before), b = set_b(now, before);
        for (int i = 0; i < size; i++)
            residual[first + i] = unfolded(residual[first + i], spiked, b >> i & 1);
        before = now;
    }
}

/* A target's squared distances to the nearest residual of each kind: A and y = 0, A and y = 1, B and y = 0, B and y = 1;
 * these are 1, 5, 7 and 3 modulo 8. A target modulo 8 fits 16 bits. */
static inline int16_t apart(int32_t residual, int16_t part, int place)
{
    return (int16_t)(((uint32_t)residual - (uint32_t)place) * (1u << TENSOR_PART_BITS) + (uint32_t)(int32_t)part);
}

static inline int place_of(unsigned kind)
{
    return (int)(0x3751u >> 4 * kind & 7);
}

/* Puts what was chosen in the place of a residual; kind: 2 for set B, plus y. */
static inline void take_kind(int32_t *residual, int16_t part, unsigned kind, int spiked, int32_t *coded)
{
    if (spiked && *residual == TENSOR_SPIKED) {
        *coded = TENSOR_SPIKED;
        return;
    }
    const int32_t change = (part - apart(*residual, part, place_of(kind))) >> TENSOR_PART_BITS;
    const uint32_t e = (uint32_t)*residual + (uint32_t)change;
    *residual = (int32_t)e;
    *coded = (int32_t)((kind & 2 ? 0u - e : e) - 1) >> 2;
}

/* The two states that states `a` and `a` + 4 lead to: `to` by y = 0 from the first of them and y = 1 from the second, and
 * `to` ^ 2. near: distances at y = 0 and 1 in the set of both. */
static inline void cross(const uint32_t *cost, const uint32_t near[2], int a, int to, uint32_t *next, uint8_t *came_from)
{
    for (int y = 0; y < 2; y++) {
        const uint32_t first = cost[a] + near[y], second = cost[a + 4] + near[!y];
        next[to ^ 2 * y] = second < first ? second : first;
        came_from[to ^ 2 * y] = (uint8_t)(second < first ? a + 4 : a);
    }
}

/* Costs that are too large for 16 bits are those of no path, as in vectors. They only grow from one call to the next. */
static inline void settle_costs(uint32_t *cost)
{
    uint32_t least = cost[0];
    for (int s = 1; s < STATES; s++)
        least = cost[s] < least ? cost[s] : least;
    for (int s = 0; s < STATES; s++)
        cost[s] = cost[s] < IMPOSSIBLE ? cost[s] - least : IMPOSSIBLE;
}

static void choose_sequence(int32_t *residual, const int16_t *part, int spiked, int count, int32_t *coded)
{
    uint8_t came_from[TENSOR_SEQUENCE][STATES];
    uint32_t cost[STATES], next[STATES];
    for (int s = 0; s < STATES; s++)
        cost[s] = s ? IMPOSSIBLE : 0;
    for (int i = 0; i < count; i++) {
        uint32_t near[4];
        const int spike = spiked && residual[i] == TENSOR_SPIKED;
        for (unsigned kind = 0; kind < 4; kind++) {
            const int far = apart(residual[i], part[i], place_of(kind));
            near[kind] = spike ? (kind & 1 ? IMPOSSIBLE : 0) : (uint32_t)(far * far) >> 16;
        }
        cross(cost, near, 0, 0, next, came_from[i]);
        cross(cost, near, 2, 1, next, came_from[i]);
        cross(cost, near + 2, 3, 4, next, came_from[i]);
        cross(cost, near + 2, 1, 5, next, came_from[i]);
        memcpy(cost, next, sizeof cost);
        if (i % 8 == 7)
            settle_costs(cost);
    }
    unsigned state = 0;
    for (unsigned s = 1; s < STATES; s++)
        state = cost[s] < cost[state] ? s : state;
    for (int i = count; i-- > 0;) {
        const unsigned before = came_from[i][state];
        take_kind(residual + i, part[i], (before & 1) << 1 | ((state ^ before >> 1) >> 1 & 1), spiked, coded + i);
        state = before;
    }
}

static void choose(int32_t *residual, const int16_t *part, int spiked, ptrdiff_t count, int samples, int32_t *coded)
{
    for (ptrdiff_t first = 0; first < count * samples; first += count)
        for (ptrdiff_t at = 0; at < count; at += TENSOR_SEQUENCE)
            choose_sequence(residual + first + at, part + first + at, spiked,
                            (int)(count - at < TENSOR_SEQUENCE ? count - at : TENSOR_SEQUENCE), coded + first + at);
}
