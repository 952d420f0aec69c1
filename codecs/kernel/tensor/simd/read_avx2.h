/* Reading residuals with AVX2: 16 lanes in two registers, with masks that stay vectors. */

#define BATCH 16 /* steps after which the ends of the lanes are looked at: below TENSOR_SLACK bytes of words */

typedef struct {
    __m256i state, at, end, active;
} half_lanes; /* eight of the lanes */

typedef struct {
    __m256i high, escaped;
} half_step;

/* One value of eight lanes. */
static inline __attribute__((always_inline)) half_step read_half(const uint32_t *slots, const uint8_t *base,
                                                                 half_lanes *h, __m256i bucket, int spiked)
{
    const __m256i zero = _mm256_setzero_si256(), low16 = _mm256_set1_epi32(0xffff), twelve = _mm256_set1_epi32(0xfff);
    const __m256i words = _mm256_i32gather_epi32((const int *)(const void *)base, h->at, 1);
    const __m256i slot = _mm256_and_si256(h->state, _mm256_set1_epi32((1 << TENSOR_PRECISION) - 1));
    const __m256i where = _mm256_or_si256(_mm256_slli_epi32(bucket, TENSOR_PRECISION), slot);
    const __m256i entry = _mm256_i32gather_epi32((const int *)slots, where, 4);
    const __m256i freq = _mm256_and_si256(_mm256_srli_epi32(entry, 12), twelve);
    /* 16-bit factors would not do: a state less its slot has 21 bits */
    __m256i state = _mm256_add_epi32(_mm256_mullo_epi32(freq, _mm256_srli_epi32(h->state, TENSOR_PRECISION)),
                                     _mm256_and_si256(entry, twelve));
    __m256i need = _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), zero), h->active);
    const __m256i word = _mm256_and_si256(words, low16);
    state = _mm256_blendv_epi8(state, _mm256_or_si256(_mm256_slli_epi32(state, 16), word), need);
    __m256i taken = _mm256_and_si256(need, _mm256_set1_epi32(2));
    half_step out = {_mm256_srai_epi32(entry, 24), zero};
    out.escaped = _mm256_and_si256(_mm256_cmpeq_epi32(out.high, _mm256_set1_epi32(TENSOR_ESCAPE - TENSOR_CENTRE)),
                                   h->active);
    __m256i shift = _mm256_max_epi32(_mm256_sub_epi32(_mm256_srli_epi32(bucket, 2), _mm256_set1_epi32(4)), zero);
    __m256i spikes = zero;
    if (spiked) {
        spikes = _mm256_cmpeq_epi32(out.high, _mm256_set1_epi32(TENSOR_SPIKE - TENSOR_CENTRE));
        shift = _mm256_andnot_si256(spikes, shift);
    }
    if (!_mm256_testz_si256(shift, shift)) {
        const __m256i one = _mm256_set1_epi32(1);
        const __m256i rest = _mm256_and_si256(state, _mm256_sub_epi32(_mm256_sllv_epi32(one, shift), one));
        state = _mm256_srlv_epi32(state, shift);
        const __m256i again = _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), zero), h->active);
        const __m256i next = _mm256_and_si256(_mm256_srlv_epi32(words, _mm256_slli_epi32(taken, 3)), low16);
        state = _mm256_blendv_epi8(state, _mm256_or_si256(_mm256_slli_epi32(state, 16), next), again);
        taken = _mm256_add_epi32(taken, _mm256_and_si256(again, _mm256_set1_epi32(2)));
        out.high = _mm256_or_si256(_mm256_sllv_epi32(out.high, shift), rest);
    }
    if (spiked)
        out.high = _mm256_blendv_epi8(out.high, _mm256_set1_epi32(TENSOR_SPIKED), spikes);
    h->at = _mm256_add_epi32(h->at, taken);
    h->state = state;
    return out;
}

/* Puts escaped high parts in the place of what stands there; their low bits stand already. */
static __attribute__((noinline)) int put_escapes(tensor_lanes_state *lanes, const half_step step[2],
                                                 const uint8_t *bucket, int32_t *out, int *failed)
{
    const unsigned which = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(step[0].escaped)) |
                           (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(step[1].escaped)) << 8;
    for (int k = 0; k < 16; k++)
        if (which >> k & 1) {
            const int sample = k / lanes->lanes, shift = tensor_shift(bucket[k]);
            int32_t high;
            if (tensor_read_escape(lanes, sample, &high)) {
                *failed = sample;
                return LS_CORRUPT;
            }
            out[k] = (int32_t)((uint32_t)high << shift | ((uint32_t)out[k] & ((1u << shift) - 1)));
        }
    return LS_OK;
}

/* The contexts of `steps` steps, 16 lanes each. */
static inline __attribute__((always_inline)) void take_buckets(const uint8_t *bucket, ptrdiff_t count, int samples,
                                                               const int lanes, int steps, uint8_t to[BATCH][16])
{
    if (lanes == 1) {
        __m128i row[16], next[16];
        for (int s = 0; s < 16; s++)
            row[s] = s < samples ? _mm_loadu_si128((const __m128i *)(bucket + s * count)) : _mm_setzero_si128();
        for (int round = 0; round < 4; round++) { /* each brings rows that are 8 apart together */
            for (int s = 0; s < 8; s++) {
                next[2 * s] = _mm_unpacklo_epi8(row[s], row[s + 8]);
                next[2 * s + 1] = _mm_unpackhi_epi8(row[s], row[s + 8]);
            }
            memcpy(row, next, sizeof row);
        }
        for (int t = 0; t < 16; t++)
            _mm_store_si128((__m128i *)to[t], row[t]);
        return;
    }
    for (int t = 0; t < steps; t++)
        for (int s = 0; s < samples; s++)
            memcpy(to[t] + s * lanes, bucket + s * count + t * lanes, (size_t)lanes);
}

/* given: rows there are to read; rows: to write. */
static inline void transpose8(const int32_t *from, ptrdiff_t apart, int given, int32_t *to, ptrdiff_t step, int rows)
{
    __m256i a[8], b[8];
    for (int i = 0; i < 8; i++)
        a[i] = i < given ? _mm256_loadu_si256((const __m256i *)(from + i * apart)) : _mm256_setzero_si256();
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm256_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm256_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        a[4 * i] = _mm256_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
        a[4 * i + 1] = _mm256_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
        a[4 * i + 2] = _mm256_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
        a[4 * i + 3] = _mm256_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        b[i] = _mm256_permute2x128_si256(a[i], a[i + 4], 0x20);
        b[i + 4] = _mm256_permute2x128_si256(a[i], a[i + 4], 0x31);
    }
    for (int i = 0; i < rows; i++)
        _mm256_storeu_si256((__m256i *)(to + i * step), b[i]);
}

/* The residuals of `steps` steps to their samples. */
static inline __attribute__((always_inline)) void give_residuals(const int32_t from[BATCH][16], ptrdiff_t count,
                                                                 int samples, const int lanes, int steps,
                                                                 int32_t *residual)
{
    if (lanes == 1 && steps == BATCH) {
        for (int s = 0; s < samples; s += 8)
            for (int t = 0; t < BATCH; t += 8)
                transpose8(from[t] + s, 16, 8, residual + s * count + t, count, samples - s < 8 ? samples - s : 8);
        return;
    }
    for (int t = 0; t < steps; t++)
        for (int s = 0; s < samples; s++)
            memcpy(residual + s * count + t * lanes, from[t] + s * lanes, (size_t)lanes * 4);
}

static inline half_lanes take_half(const tensor_lanes_state *lanes, int first)
{
    int32_t active[8];
    for (int k = 0; k < 8; k++)
        active[k] = first + k < lanes->samples * lanes->lanes ? -1 : 0;
    return (half_lanes){_mm256_loadu_si256((const __m256i *)(lanes->state + first)),
                        _mm256_loadu_si256((const __m256i *)(lanes->at + first)),
                        _mm256_loadu_si256((const __m256i *)(lanes->end + first)),
                        _mm256_loadu_si256((const __m256i *)active)};
}

static inline void give_half(tensor_lanes_state *lanes, int first, const half_lanes *h)
{
    _mm256_storeu_si256((__m256i *)(lanes->state + first), h->state);
    _mm256_storeu_si256((__m256i *)(lanes->at + first), h->at);
}

/* The sample of a lane that has read past its end, or -1. */
static inline int beyond(const half_lanes h[2], int lanes)
{
    for (int i = 0; i < 2; i++) {
        const __m256i past = _mm256_and_si256(_mm256_cmpgt_epi32(h[i].at, h[i].end), h[i].active);
        if (!_mm256_testz_si256(past, past))
            return (8 * i + __builtin_ctz((unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(past)))) / lanes;
    }
    return -1;
}

static inline __attribute__((always_inline)) int read_by(const tensor_coder *coder, tensor_lanes_state *lanes,
                                                         int spiked, ptrdiff_t count, const uint8_t *bucket,
                                                         int32_t *residual, int *failed, const int each)
{
    const ptrdiff_t whole = count / each;
    const uint32_t *slots = coder->slots[spiked];
    _Alignas(32) uint8_t buckets[BATCH][16];
    if (lanes->samples * each < 16) /* lanes that are not there */
        memset(buckets, 0, sizeof buckets);
    _Alignas(32) int32_t out[BATCH][16];
    half_lanes h[2] = {take_half(lanes, 0), take_half(lanes, 8)};
    const int both = lanes->samples * each > 8; /* whether the second register holds lanes */
    for (ptrdiff_t first = 0; first < whole; first += BATCH) {
        const int steps = whole - first < BATCH ? (int)(whole - first) : BATCH;
        take_buckets(bucket + first * each, count, lanes->samples, each, steps, buckets);
        for (int t = 0; t < steps; t++) {
            const __m128i b = _mm_load_si128((const __m128i *)buckets[t]);
            half_step step[2];
            step[1].escaped = _mm256_setzero_si256();
            step[0] = read_half(slots, lanes->base, &h[0], _mm256_cvtepu8_epi32(b), spiked);
            _mm256_store_si256((__m256i *)out[t], step[0].high);
            if (both) {
                step[1] = read_half(slots, lanes->base, &h[1], _mm256_cvtepu8_epi32(_mm_srli_si128(b, 8)), spiked);
                _mm256_store_si256((__m256i *)(out[t] + 8), step[1].high);
            }
            const __m256i any = _mm256_or_si256(step[0].escaped, step[1].escaped);
            if (!_mm256_testz_si256(any, any) && put_escapes(lanes, step, buckets[t], out[t], failed))
                return LS_CORRUPT;
        }
        if ((*failed = beyond(h, each)) >= 0)
            return LS_TRUNCATED;
        give_residuals(out, count, lanes->samples, each, steps, residual + first * each);
    }
    give_half(lanes, 0, &h[0]);
    give_half(lanes, 8, &h[1]);
    return tensor_read_plain(coder, lanes, spiked, whole * each, count, bucket, residual, failed);
}

static int read_residuals(const tensor_coder *coder, tensor_lanes_state *lanes, int spiked, ptrdiff_t count,
                          const uint8_t *bucket, int32_t *residual, int *failed)
{
    switch (lanes->lanes) {
    case 1:
        return read_by(coder, lanes, spiked, count, bucket, residual, failed, 1);
    case 2:
        return read_by(coder, lanes, spiked, count, bucket, residual, failed, 2);
    case 4:
        return read_by(coder, lanes, spiked, count, bucket, residual, failed, 4);
    case 8:
        return read_by(coder, lanes, spiked, count, bucket, residual, failed, 8);
    default:
        return read_by(coder, lanes, spiked, count, bucket, residual, failed, 16);
    }
}
