/* The trellis with AVX2: two sequences at a time, each with the costs of its eight states in half a register. */

/* of one of the sequences */
typedef struct {
    int32_t *residual, *coded;
    const int16_t *part;
    int count;
} sequence;

typedef struct {
    _Alignas(32) uint16_t distance[TENSOR_SEQUENCE + 16][2][4];
    _Alignas(32) uint8_t came_from[TENSOR_SEQUENCE][16];
    uint8_t state[TENSOR_SEQUENCE + 32][2]; /* from the second on, 2 s of one sequence and 2 s + 1 of the other */
    _Alignas(32) int16_t target[2][TENSOR_SEQUENCE + 16];  /* modulo 8 */
} trellis;

static inline __m256i squared(__m256i target, int place)
{
    const __m256i r = _mm256_sub_epi16(target, _mm256_set1_epi16((int16_t)(uint16_t)(place << TENSOR_PART_BITS)));
    return _mm256_mulhi_epi16(r, r);
}

/* Low 16 bits of what is at most that, in order. */
static inline __m256i narrowed(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}

/* Values i and i + 8 of two sequences, whose distances stand in the low or high halves. */
static inline void put_values(uint16_t (*to)[2][4], __m256i both)
{
    _mm_store_si128((__m128i *)to[0], _mm256_castsi256_si128(both));
    _mm_store_si128((__m128i *)to[8], _mm256_extracti128_si256(both, 1));
}

/* Of 16 values; distances: for two values after one another, and those 8 after them. */
static inline __attribute__((always_inline)) void find_distances(const sequence *q, int spiked, int i, int16_t *to,
                                                                 __m256i distances[4])
{
    const __m256i seven = _mm256_set1_epi32(7), spike = _mm256_set1_epi32(TENSOR_SPIKED);
    const __m256i a = _mm256_loadu_si256((const __m256i *)(q->residual + i));
    const __m256i b = _mm256_loadu_si256((const __m256i *)(q->residual + i + 8));
    const __m256i low = narrowed(_mm256_and_si256(a, seven), _mm256_and_si256(b, seven));
    const __m256i target = _mm256_add_epi16(_mm256_slli_epi16(low, TENSOR_PART_BITS),
                                            _mm256_loadu_si256((const __m256i *)(q->part + i)));
    __m256i a0 = squared(target, 1), a1 = squared(target, 5), b0 = squared(target, 7), b1 = squared(target, 3);
    if (spiked) {
        const __m256i is = narrowed(_mm256_cmpeq_epi32(a, spike), _mm256_cmpeq_epi32(b, spike));
        a0 = _mm256_andnot_si256(is, a0);
        b0 = _mm256_andnot_si256(is, b0);
        a1 = _mm256_or_si256(a1, is);
        b1 = _mm256_or_si256(b1, is);
    }
    const __m256i al = _mm256_unpacklo_epi16(a0, a1), ah = _mm256_unpackhi_epi16(a0, a1);
    const __m256i bl = _mm256_unpacklo_epi16(b0, b1), bh = _mm256_unpackhi_epi16(b0, b1);
    _mm256_store_si256((__m256i *)(to + i), target);
    distances[0] = _mm256_unpacklo_epi32(al, bl);
    distances[1] = _mm256_unpackhi_epi32(al, bl);
    distances[2] = _mm256_unpacklo_epi32(ah, bh);
    distances[3] = _mm256_unpackhi_epi32(ah, bh);
}

static inline __attribute__((always_inline)) void find_all_distances(trellis *t, const sequence q[2], int spiked)
{
    for (int i = 0; i < q[0].count; i += 16) {
        __m256i a[4], b[4];
        find_distances(q, spiked, i, t->target[0], a);
        find_distances(q + 1, spiked, i, t->target[1], b);
        for (int two = 0; two < 4; two++) {
            put_values(t->distance + i + 2 * two, _mm256_unpacklo_epi64(a[two], b[two]));
            put_values(t->distance + i + 2 * two + 1, _mm256_unpackhi_epi64(a[two], b[two]));
        }
    }
}

static inline __m256i twice(__m128i half)
{
    return _mm256_broadcastsi128_si256(half);
}

/* The least cost of each half, in all places, and its state. */
static inline __m256i least(__m256i cost, int state[2])
{
    const __m128i a = _mm_minpos_epu16(_mm256_castsi256_si128(cost));
    const __m128i b = _mm_minpos_epu16(_mm256_extracti128_si256(cost, 1));
    state[0] = _mm_extract_epi16(a, 1);
    state[1] = _mm_extract_epi16(b, 1);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_broadcastw_epi16(a)), _mm_broadcastw_epi16(b), 1);
}

/* Costs of all states value after value, and the state before each: as a byte that shuffles, of both sequences in turn. */
static inline void go_forward(trellis *t, int count, int last[2])
{
    const __m256i first = twice(_mm_setr_epi8(0, 1, 4, 5, 0, 1, 4, 5, 6, 7, 2, 3, 6, 7, 2, 3));
    const __m256i second = _mm256_or_si256(first, _mm256_set1_epi8(8)), full = _mm256_set1_epi8(-1);
    const __m256i near = _mm256_setr_epi8(0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12,
                                          13, 12, 13, 14, 15, 14, 15);
    const __m256i other = _mm256_shuffle_epi32(near, 0xb1);
    /* low bytes of one sequence, high bytes of the other */
    const __m256i own = _mm256_inserti128_si256(_mm256_set1_epi16(0x00ff), _mm_set1_epi16((int16_t)0xff00), 1);
    const __m256i by_second = _mm256_and_si256(own, _mm256_set1_epi8(8)), by_first = _mm256_and_si256(own, first);
    __m256i cost = twice(_mm_setr_epi16(0, -1, -1, -1, -1, -1, -1, -1));
    int state[2];
    for (int i = 0, end; i < count;) {
        end = i + 8 < count ? i + 8 : count;
        for (; i < end; i++) {
            const __m256i distance = twice(_mm_load_si128((const __m128i *)t->distance[i]));
            const __m256i x = _mm256_adds_epu16(_mm256_shuffle_epi8(cost, first), _mm256_shuffle_epi8(distance, near));
            const __m256i y = _mm256_adds_epu16(_mm256_shuffle_epi8(cost, second), _mm256_shuffle_epi8(distance, other));
            cost = _mm256_min_epu16(x, y);
            const __m256i from = _mm256_or_si256(by_first, _mm256_andnot_si256(_mm256_cmpeq_epi16(cost, x), by_second));
            _mm_store_si128((__m128i *)t->came_from[i],
                            _mm_or_si128(_mm256_castsi256_si128(from), _mm256_extracti128_si256(from, 1)));
        }
        /* what no path leads to stays so */
        cost = _mm256_or_si256(_mm256_sub_epi16(cost, least(cost, state)), _mm256_cmpeq_epi16(cost, full));
    }
    least(cost, last);
}

static inline void go_back(trellis *t, int count, const int last[2])
{
    __m128i s = _mm_set1_epi16((int16_t)(0x0100 + 2 * last[0] + 512 * last[1]));
    for (int i = count;; i--) {
        const int32_t both = _mm_cvtsi128_si32(s); /* twice: what is written first is written over */
        memcpy(t->state[i], &both, 4);
        if (!i)
            return;
        s = _mm_shuffle_epi8(_mm_load_si128((const __m128i *)t->came_from[i - 1]), s);
    }
}

/* Puts what was chosen of eight values in the place of their residuals. change: of the residual. sign: -1 in set B. */
static inline __attribute__((always_inline)) void put_eight(int32_t *to, int32_t *coded, int spiked, __m128i change,
                                                            __m128i sign)
{
    const __m256i residual = _mm256_loadu_si256((const __m256i *)to), s = _mm256_cvtepi16_epi32(sign);
    __m256i e = _mm256_add_epi32(residual, _mm256_cvtepi16_epi32(change));
    /* for -e - 1 its complement, for e - 1 as well as e, as both are odd */
    __m256i j = _mm256_srai_epi32(_mm256_xor_si256(e, s), 2);
    if (spiked) {
        const __m256i spike = _mm256_set1_epi32(TENSOR_SPIKED), spikes = _mm256_cmpeq_epi32(residual, spike);
        e = _mm256_blendv_epi8(e, spike, spikes);
        j = _mm256_blendv_epi8(j, spike, spikes);
    }
    _mm256_storeu_si256((__m256i *)to, e);
    _mm256_storeu_si256((__m256i *)coded, j);
}

static inline __attribute__((always_inline)) void take_sixteen(int32_t *to, int32_t *coded, const int16_t *parts,
                                                               int spiked, uint8_t (*state)[2], int number,
                                                               const int16_t *target)
{
    const __m256i one = _mm256_set1_epi16(1), two = _mm256_set1_epi16(2);
    const __m128i shift = _mm_cvtsi32_si128(8 * number);
    const __m256i now = _mm256_srl_epi16(_mm256_loadu_si256((const __m256i *)state), shift);
    const __m256i next = _mm256_srl_epi16(_mm256_loadu_si256((const __m256i *)(state + 1)), shift);
    const __m256i y = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi16(next, 2), _mm256_srli_epi16(now, 3)), one);
    const __m256i sign = _mm256_cmpeq_epi16(_mm256_and_si256(now, two), two);
    /* 1 or 5, and the opposite in set B */
    const __m256i size = _mm256_add_epi16(one, _mm256_slli_epi16(y, 2));
    const __m256i place = _mm256_sub_epi16(_mm256_xor_si256(size, sign), sign);
    const __m256i part = _mm256_loadu_si256((const __m256i *)parts);
    const __m256i far = _mm256_sub_epi16(_mm256_load_si256((const __m256i *)target),
                                         _mm256_slli_epi16(place, TENSOR_PART_BITS));
    /* halves, whose difference fits; it has no fraction */
    const __m256i change = _mm256_srai_epi16(
        _mm256_sub_epi16(_mm256_srai_epi16(part, 1), _mm256_srai_epi16(far, 1)), TENSOR_PART_BITS - 1);
    put_eight(to, coded, spiked, _mm256_castsi256_si128(change), _mm256_castsi256_si128(sign));
    put_eight(to + 8, coded + 8, spiked, _mm256_extracti128_si256(change, 1), _mm256_extracti128_si256(sign, 1));
}

static inline __attribute__((always_inline)) void take_all(const sequence *q, int spiked, uint8_t (*state)[2],
                                                           int number, const int16_t *target)
{
    int i = 0;
    for (; i + 16 <= q->count; i += 16)
        take_sixteen(q->residual + i, q->coded + i, q->part + i, spiked, state + i, number, target + i);
    if (i < q->count) { /* what comes after the last value is not touched */
        int32_t residual[16], coded[16];
        const size_t bytes = (size_t)(q->count - i) * 4;
        memcpy(residual, q->residual + i, sizeof residual);
        take_sixteen(residual, coded, q->part + i, spiked, state + i, number, target + i);
        memcpy(q->residual + i, residual, bytes);
        memcpy(q->coded + i, coded, bytes);
    }
}

static sequence sequence_of(int32_t *residual, const int16_t *part, ptrdiff_t count, int samples, ptrdiff_t number,
                            int32_t *coded)
{
    const ptrdiff_t first = number / samples * TENSOR_SEQUENCE, at = number % samples * count + first;
    return (sequence){residual + at, coded + at, part + at,
                      (int)(count - first < TENSOR_SEQUENCE ? count - first : TENSOR_SEQUENCE)};
}

static inline __attribute__((always_inline)) void choose_two(trellis *t, const sequence q[2], int spiked, int several)
{
    int last[2];
    find_all_distances(t, q, spiked);
    go_forward(t, q[0].count, last);
    go_back(t, q[0].count, last);
    for (int k = 0; k < several; k++)
        take_all(q + k, spiked, t->state + 1, k, t->target[k]);
}

static void choose(int32_t *residual, const int16_t *part, int spiked, ptrdiff_t count, int samples, int32_t *coded)
{
    const ptrdiff_t sequences = (count + TENSOR_SEQUENCE - 1) / TENSOR_SEQUENCE * samples;
    trellis t;
    for (ptrdiff_t number = 0; number < sequences;) {
        sequence q[2];
        q[0] = q[1] = sequence_of(residual, part, count, samples, number++, coded);
        int several = 1;
        if (number < sequences) {
            const sequence next = sequence_of(residual, part, count, samples, number, coded);
            if (next.count == q[0].count) {
                q[several++] = next;
                number++;
            }
        }
        if (spiked)
            choose_two(&t, q, 1, several);
        else
            choose_two(&t, q, 0, several);
    }
}

static inline __attribute__((always_inline)) void unfold_by(int32_t *residual, int spiked, ptrdiff_t count)
{
    const __m256i one = _mm256_set1_epi32(1), spike = _mm256_set1_epi32(TENSOR_SPIKED);
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    uint64_t before = 0;
    for (ptrdiff_t first = 0; first < count; first += 64) {
        const int size = count - first < 64 ? (int)(count - first) : 64;
        int32_t *r = residual + first;
        uint64_t y = 0;
        int i = 0;
        if (first % TENSOR_SEQUENCE == 0)
            before = 0;
        for (; i + 8 <= size; i += 8) {
            const __m256i low = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(r + i)), 31);
            y |= (uint64_t)(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(low)) << i;
        }
        for (; i < size; i++)
            y |= (uint64_t)(r[i] & 1) << i;
        const uint64_t now = divided(y, before), b = set_b(now, before);
        for (i = 0; i + 8 <= size; i += 8) {
            const __m256i j = _mm256_loadu_si256((const __m256i *)(r + i));
            const __m256i own = _mm256_and_si256(_mm256_set1_epi32((int)(b >> i & 255)), bits);
            const __m256i sign = _mm256_cmpeq_epi32(own, bits);
            const __m256i e = _mm256_or_si256(_mm256_slli_epi32(j, 2), one);
            __m256i with_sign = _mm256_sub_epi32(_mm256_xor_si256(e, sign), sign);
            if (spiked)
                with_sign = _mm256_blendv_epi8(with_sign, j, _mm256_cmpeq_epi32(j, spike));
            _mm256_storeu_si256((__m256i *)(r + i), with_sign);
        }
        for (; i < size; i++)
            r[i] = unfolded(r[i], spiked, b >> i & 1);
        before = now;
    }
}

static void unfold(int32_t *residual, int spiked, ptrdiff_t count)
{
    if (spiked)
        unfold_by(residual, 1, count);
    else
        unfold_by(residual, 0, count);
}
