/* Coding residuals with AVX2, the last ones first: 16 lanes in two registers. A step in which a value escapes is left to
 * plain C, as few do. */

/* What is coded by eight lanes. bad: lanes whose value escapes. */
typedef struct {
    __m256i reciprocal, freq, start, shift, low, bad;
} half_symbols;

typedef struct {
    __m256i state, at, active;
} half_writers;

static inline __m256i two_and_two(const tensor_symbol *symbol, const uint32_t *a, const uint32_t *b)
{
    const __m128i a0 = _mm_loadl_epi64((const __m128i *)(const void *)(symbol + a[0]));
    const __m128i b0 = _mm_loadl_epi64((const __m128i *)(const void *)(symbol + b[0]));
    const double *a1 = (const double *)(const void *)(symbol + a[1]), *b1 = (const double *)(const void *)(symbol + b[1]);
    const __m128d low = _mm_loadh_pd(_mm_castsi128_pd(a0), a1), high = _mm_loadh_pd(_mm_castsi128_pd(b0), b1);
    return _mm256_castpd_si256(_mm256_insertf128_pd(_mm256_castpd128_pd256(low), high, 1));
}

static inline __attribute__((always_inline)) half_symbols find_symbols(const tensor_symbol *symbol, __m256i bucket,
                                                                       __m256i residual, int spiked)
{
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi32(1);
    half_symbols s;
    s.shift = _mm256_max_epi32(_mm256_sub_epi32(_mm256_srli_epi32(bucket, 2), _mm256_set1_epi32(4)), zero);
    __m256i code = _mm256_add_epi32(_mm256_srav_epi32(residual, s.shift), _mm256_set1_epi32(TENSOR_CENTRE));
    __m256i good = _mm256_cmpgt_epi32(code, spiked ? _mm256_set1_epi32(TENSOR_SPIKE) : zero);
    good = _mm256_andnot_si256(_mm256_cmpgt_epi32(code, _mm256_set1_epi32(TENSOR_SYMBOLS - 1)), good);
    if (spiked) {
        const __m256i spikes = _mm256_cmpeq_epi32(residual, _mm256_set1_epi32(TENSOR_SPIKED));
        code = _mm256_blendv_epi8(code, _mm256_set1_epi32(TENSOR_SPIKE), spikes);
        good = _mm256_or_si256(good, spikes);
        s.shift = _mm256_andnot_si256(spikes, s.shift);
    }
    s.low = _mm256_and_si256(residual, _mm256_sub_epi32(_mm256_sllv_epi32(one, s.shift), one));
    _Alignas(32) uint32_t at[8];
    _mm256_store_si256((__m256i *)at,
                       _mm256_add_epi32(_mm256_slli_epi32(bucket, 6), _mm256_and_si256(code, good)));
    const __m256 a = _mm256_castsi256_ps(two_and_two(symbol, at, at + 4));
    const __m256 b = _mm256_castsi256_ps(two_and_two(symbol, at + 2, at + 6));
    s.reciprocal = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
    const __m256i pair = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
    s.freq = _mm256_and_si256(pair, _mm256_set1_epi32(0xffff));
    s.start = _mm256_srli_epi32(pair, 16);
    s.bad = _mm256_or_si256(_mm256_xor_si256(good, _mm256_set1_epi32(-1)), _mm256_cmpeq_epi32(s.freq, zero));
    return s;
}

/* One value of eight lanes. The words before those that a lane has are written, and count only where they are needed. */
static inline __attribute__((always_inline)) void code_half(uint8_t *base, half_writers *h, const half_symbols *s)
{
    const __m256i zero = _mm256_setzero_si256(), sixteen = _mm256_set1_epi32(16);
    __m256i x = h->state, words = zero, taken = zero;
    if (!_mm256_testz_si256(s->shift, s->shift)) {
        const __m256i over = _mm256_srlv_epi32(x, _mm256_sub_epi32(_mm256_set1_epi32(32), s->shift));
        const __m256i fits = _mm256_cmpeq_epi32(over, zero);
        words = x;
        taken = _mm256_xor_si256(fits, _mm256_set1_epi32(-1));
        x = _mm256_srlv_epi32(x, _mm256_andnot_si256(fits, sixteen));
        x = _mm256_or_si256(_mm256_sllv_epi32(x, s->shift), s->low);
    }
    /* neither side has a sign */
    const __m256i fits = _mm256_cmpgt_epi32(s->freq, _mm256_srli_epi32(x, 32 - TENSOR_PRECISION));
    const __m256i second = _mm256_slli_epi32(x, 16), both = _mm256_blend_epi16(x, _mm256_slli_epi32(words, 16), 0xaa);
    _Alignas(32) uint32_t word[8];
    _Alignas(32) int32_t at[8];
    _mm256_store_si256((__m256i *)word, _mm256_blendv_epi8(second, both, taken));
    _mm256_store_si256((__m256i *)at, h->at);
    for (int k = 0; k < 8; k++)
        memcpy(base + at[k] - 4, word + k, 4);
    /* -1 for each word that counts */
    const __m256i count = _mm256_add_epi32(taken, _mm256_xor_si256(fits, _mm256_set1_epi32(-1)));
    h->at = _mm256_add_epi32(h->at, _mm256_and_si256(_mm256_slli_epi32(count, 1), h->active));
    x = _mm256_srlv_epi32(x, _mm256_andnot_si256(fits, sixteen));
    /* the quotient is the high half of the product, or one more */
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, s->reciprocal), 32);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(s->reciprocal, 32));
    const __m256i quotient = _mm256_blend_epi32(even, odd, 0xaa);
    const __m256i rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, s->freq));
    const __m256i less = _mm256_cmpgt_epi32(s->freq, rest);
    const __m256i more =
        _mm256_andnot_si256(less, _mm256_sub_epi32(_mm256_set1_epi32(1 << TENSOR_PRECISION), s->freq));
    h->state = _mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(quotient, TENSOR_PRECISION), rest),
                                _mm256_add_epi32(s->start, more));
}

/* The residuals of `steps` steps, 16 lanes each. */
static inline __attribute__((always_inline)) void take_residuals(const int32_t *residual, ptrdiff_t count, int samples,
                                                                 const int lanes, int steps, int32_t to[BATCH][16])
{
    if (lanes == 1 && steps == BATCH) {
        for (int s = 0; s < samples; s += 8)
            for (int t = 0; t < BATCH; t += 8)
                transpose8(residual + s * count + t, count, samples - s < 8 ? samples - s : 8, to[t] + s, 16, 8);
        return;
    }
    for (int t = 0; t < steps; t++)
        for (int s = 0; s < samples; s++)
            memcpy(to[t] + s * lanes, residual + s * count + t * lanes, (size_t)lanes * 4);
}

static inline half_writers take_writers(const tensor_writers *w, int first)
{
    int32_t active[8];
    for (int k = 0; k < 8; k++)
        active[k] = first + k < w->samples * w->lanes ? -1 : 0;
    return (half_writers){_mm256_loadu_si256((const __m256i *)(w->state + first)),
                          _mm256_loadu_si256((const __m256i *)(w->at + first)),
                          _mm256_loadu_si256((const __m256i *)active)};
}

static inline void give_writers(tensor_writers *w, int first, const half_writers *h)
{
    _mm256_storeu_si256((__m256i *)(w->state + first), h->state);
    _mm256_storeu_si256((__m256i *)(w->at + first), h->at);
}

static inline __attribute__((always_inline)) int code_by(const tensor_coder *coder, tensor_writers *w, int spiked,
                                                         ptrdiff_t count, const uint8_t *bucket,
                                                         const int32_t *residual, const int each)
{
    const ptrdiff_t whole = count / each;
    const tensor_symbol *symbol = coder->symbols[spiked];
    _Alignas(32) uint8_t buckets[BATCH][16];
    _Alignas(32) int32_t residuals[BATCH][16];
    if (w->samples * each < 16) { /* lanes that are not there */
        memset(buckets, 0, sizeof buckets);
        memset(residuals, 0, sizeof residuals);
    }
    const int both = w->samples * each > 8; /* whether the second register holds lanes */
    if (tensor_code_plain(coder, w, spiked, whole * each, count, count, bucket, residual))
        return LS_NO_MEMORY;
    half_writers h[2] = {take_writers(w, 0), take_writers(w, 8)};
    for (ptrdiff_t first = (whole - 1) / BATCH * BATCH; first >= 0 && whole; first -= BATCH) {
        const int steps = whole - first < BATCH ? (int)(whole - first) : BATCH;
        take_buckets(bucket + first * each, count, w->samples, each, steps, buckets);
        take_residuals(residual + first * each, count, w->samples, each, steps, residuals);
        for (int t = steps - 1; t >= 0; t--) {
            const __m128i b = _mm_load_si128((const __m128i *)buckets[t]);
            half_symbols s[2];
            s[0] = find_symbols(symbol, _mm256_cvtepu8_epi32(b), _mm256_load_si256((const __m256i *)residuals[t]),
                                spiked);
            __m256i bad = _mm256_and_si256(s[0].bad, h[0].active);
            if (both) {
                s[1] = find_symbols(symbol, _mm256_cvtepu8_epi32(_mm_srli_si128(b, 8)),
                                    _mm256_load_si256((const __m256i *)(residuals[t] + 8)), spiked);
                bad = _mm256_or_si256(bad, _mm256_and_si256(s[1].bad, h[1].active));
            }
            if (!_mm256_testz_si256(bad, bad)) {
                give_writers(w, 0, &h[0]);
                give_writers(w, 8, &h[1]);
                const ptrdiff_t at = (first + t) * each;
                if (tensor_code_plain(coder, w, spiked, at, at + each, count, bucket, residual))
                    return LS_NO_MEMORY;
                h[0] = take_writers(w, 0);
                h[1] = take_writers(w, 8);
                continue;
            }
            code_half(w->base, &h[0], &s[0]);
            if (both)
                code_half(w->base, &h[1], &s[1]);
        }
    }
    give_writers(w, 0, &h[0]);
    give_writers(w, 8, &h[1]);
    return LS_OK;
}

static int code_residuals(const tensor_coder *coder, tensor_writers *w, int spiked, ptrdiff_t count,
                          const uint8_t *bucket, const int32_t *residual)
{
    switch (w->lanes) {
    case 1:
        return code_by(coder, w, spiked, count, bucket, residual, 1);
    case 2:
        return code_by(coder, w, spiked, count, bucket, residual, 2);
    case 4:
        return code_by(coder, w, spiked, count, bucket, residual, 4);
    case 8:
        return code_by(coder, w, spiked, count, bucket, residual, 8);
    default:
        return code_by(coder, w, spiked, count, bucket, residual, 16);
    }
}
