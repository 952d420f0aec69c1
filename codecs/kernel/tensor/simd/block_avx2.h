/* The same with AVX2: pairs of 16-bit values are multiplied and added in one instruction. */
#define BLOCK 16

static inline __m256i load16(const int16_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

static inline __m256i inside(const tensor_source *s, ptrdiff_t at)
{
    return _mm256_and_si256(load16(s->value + at), load16(s->mask + at));
}

/* adds first * low weight + second * high weight; sums are in the order that unpacking gives and packing takes back */
static inline void add_pair(__m256i *low, __m256i *high, __m256i first, __m256i second, int weights)
{
    const __m256i w = _mm256_set1_epi32(weights);
    *low = _mm256_add_epi32(*low, _mm256_madd_epi16(_mm256_unpacklo_epi16(first, second), w));
    *high = _mm256_add_epi32(*high, _mm256_madd_epi16(_mm256_unpackhi_epi16(first, second), w));
}

static inline int both(const int16_t *weight)
{
    return (uint16_t)weight[0] | (int)((uint32_t)(uint16_t)weight[1] << 16);
}

static void predict(const tensor_run *run, ptrdiff_t size, int16_t *restrict prediction)
{
    const __m256i half = _mm256_set1_epi32(1 << (TENSOR_WEIGHT_BITS - 1));
    for (ptrdiff_t at = 0; at < size; at += 2 * BLOCK) {
        __m256i low = half, high = half, low2 = half, high2 = half;
        for (int t = 0; t < run->masks; t += 2) {
            const int w = both(run->masked_weight + t);
            const tensor_source *s = run->masked + t;
            add_pair(&low, &high, inside(s, at), inside(s + 1, at), w);
            add_pair(&low2, &high2, inside(s, at + BLOCK), inside(s + 1, at + BLOCK), w);
        }
        for (int t = 0; t < run->insides; t += 2) {
            const int w = both(run->inside_weight + t);
            const int16_t *a = run->inside[t] + at, *b = run->inside[t + 1] + at;
            add_pair(&low, &high, load16(a), load16(b), w);
            add_pair(&low2, &high2, load16(a + BLOCK), load16(b + BLOCK), w);
        }
        const __m256i p = _mm256_packs_epi32(_mm256_srai_epi32(low, TENSOR_WEIGHT_BITS),
                                             _mm256_srai_epi32(high, TENSOR_WEIGHT_BITS));
        const __m256i q = _mm256_packs_epi32(_mm256_srai_epi32(low2, TENSOR_WEIGHT_BITS),
                                             _mm256_srai_epi32(high2, TENSOR_WEIGHT_BITS));
        _mm256_storeu_si256((__m256i *)(prediction + at), p);
        _mm256_storeu_si256((__m256i *)(prediction + at + BLOCK), q);
    }
}

static inline __m256i magnitudes(__m256i low, __m256i high, int unit)
{
    const __m256i most = _mm256_set1_epi32(tensor_most(unit));
    const __m256i m0 = _mm256_min_epu32(_mm256_abs_epi32(low), most), m1 = _mm256_min_epu32(_mm256_abs_epi32(high), most);
    return _mm256_mullo_epi16(_mm256_permute4x64_epi64(_mm256_packs_epi32(m0, m1), 0xd8), _mm256_set1_epi16((int16_t)unit));
}

static inline __m256i bucket_of(__m256i expected)
{
    const __m256 f = _mm256_cvtepi32_ps(_mm256_srai_epi32(expected, TENSOR_ACTIVITY_BITS));
    return _mm256_sub_epi32(_mm256_srai_epi32(_mm256_castps_si256(f), 21), _mm256_set1_epi32(130 << 2));
}

/* Sum `j` of two blocks. */
static inline void sum_of(const tensor_activity *a, int j, ptrdiff_t at, __m256i sum[2])
{
    int t = j ? a->end[j - 1] : 0;
    sum[0] = sum[1] = _mm256_setzero_si256();
    for (; t < a->inside[j]; t++) {
        const int16_t *value = a->source[t].value + at;
        sum[0] = _mm256_adds_epi16(sum[0], load16(value));
        sum[1] = _mm256_adds_epi16(sum[1], load16(value + BLOCK));
    }
    for (; t < a->end[j]; t++) {
        sum[0] = _mm256_adds_epi16(sum[0], inside(a->source + t, at));
        sum[1] = _mm256_adds_epi16(sum[1], inside(a->source + t, at + BLOCK));
    }
}

static void contexts(const tensor_activity *a, ptrdiff_t size, uint8_t *restrict bucket)
{
    const __m256i bias = _mm256_set1_epi32(a->bias), zero = _mm256_setzero_si256();
    const __m256i last = _mm256_set1_epi16(TENSOR_BUCKETS - 1);
    for (ptrdiff_t at = 0; at < size; at += 2 * BLOCK) {
        __m256i low[2] = {bias, bias}, high[2] = {bias, bias}, first[2], second[2] = {zero, zero};
        for (int j = 0; j < TENSOR_SUMS; j += 2) {
            sum_of(a, j, at, first);
            if (j + 1 < TENSOR_SUMS)
                sum_of(a, j + 1, at, second);
            for (int k = 0; k < 2; k++)
                add_pair(low + k, high + k, first[k], second[k], both(a->weight + j));
        }
        for (int k = 0; k < 2; k++) {
            __m256i b = _mm256_packs_epi32(bucket_of(low[k]), bucket_of(high[k]));
            b = _mm256_min_epi16(_mm256_max_epi16(b, zero), last);
            _mm_storeu_si128((__m128i *)(bucket + at + k * BLOCK),
                             _mm_packus_epi16(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)));
        }
    }
}

static void rebuild(const int32_t *restrict residual, const int16_t *restrict prediction, int32_t mean, int spiked,
                    int unit, ptrdiff_t size, int32_t *restrict value, int16_t *restrict narrow, int16_t *restrict magnitude)
{
    const __m256i shift = _mm256_set1_epi32(mean), zero = _mm256_setzero_si256();
    const __m256i spike = _mm256_set1_epi32(TENSOR_SPIKED);
    for (ptrdiff_t at = 0; at < size; at += BLOCK) {
        const __m256i p = load16(prediction + at);
        const __m256i p0 = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(p));
        const __m256i p1 = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(p, 1));
        __m256i r0 = _mm256_loadu_si256((const __m256i *)(residual + at));
        __m256i r1 = _mm256_loadu_si256((const __m256i *)(residual + at + 8));
        if (spiked) {
            r0 = _mm256_blendv_epi8(r0, _mm256_sub_epi32(zero, p0), _mm256_cmpeq_epi32(r0, spike));
            r1 = _mm256_blendv_epi8(r1, _mm256_sub_epi32(zero, p1), _mm256_cmpeq_epi32(r1, spike));
        }
        const __m256i v0 = _mm256_add_epi32(r0, p0), v1 = _mm256_add_epi32(r1, p1);
        _mm256_storeu_si256((__m256i *)(value + at), _mm256_add_epi32(v0, shift));
        _mm256_storeu_si256((__m256i *)(value + at + 8), _mm256_add_epi32(v1, shift));
        const __m256i v = _mm256_permute4x64_epi64(_mm256_packs_epi32(v0, v1), 0xd8);
        _mm256_storeu_si256((__m256i *)(narrow + at), v);
        _mm256_storeu_si256((__m256i *)(magnitude + at), magnitudes(r0, r1, unit));
    }
}

static void settle(const int16_t *restrict magnitude, ptrdiff_t size, int16_t *restrict activity)
{
    for (ptrdiff_t at = 0; at < size; at += BLOCK) {
        const __m256i a = load16(activity + at), change = _mm256_sub_epi16(load16(magnitude + at), a);
        _mm256_storeu_si256((__m256i *)(activity + at), _mm256_add_epi16(a, _mm256_srai_epi16(change, 3)));
    }
}

static void subtract(const int32_t *restrict value, const int16_t *restrict prediction, int unit, ptrdiff_t size,
                     int32_t *restrict residual, int16_t *restrict magnitude)
{
    for (ptrdiff_t at = 0; at < size; at += BLOCK) {
        const __m256i p = load16(prediction + at);
        const __m256i v0 = _mm256_loadu_si256((const __m256i *)(value + at));
        const __m256i v1 = _mm256_loadu_si256((const __m256i *)(value + at + 8));
        const __m256i r0 = _mm256_sub_epi32(v0, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(p)));
        const __m256i r1 = _mm256_sub_epi32(v1, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(p, 1)));
        _mm256_storeu_si256((__m256i *)(residual + at), r0);
        _mm256_storeu_si256((__m256i *)(residual + at + 8), r1);
        if (magnitude)
            _mm256_storeu_si256((__m256i *)(magnitude + at), magnitudes(r0, r1, unit));
    }
}
