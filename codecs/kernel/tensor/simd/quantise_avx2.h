/* The same with AVX2: the conversion to integers rounds to the nearest, ties to even. */

static inline __m256i multiples(const float *values, __m256 step, __m256i mean, __m256 *largest)
{
    const __m256 q = _mm256_div_ps(_mm256_loadu_ps(values), step);
    *largest = _mm256_max_ps(*largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), q));
    return _mm256_sub_epi32(_mm256_cvtps_epi32(q), mean);
}

static int quantise(const float *values, ptrdiff_t width, float step, int32_t mean, int32_t *even, int32_t *odd,
                    int16_t *even_narrow, int16_t *odd_narrow)
{
    const __m256 by = _mm256_set1_ps(step);
    const __m256i less = _mm256_set1_epi32(mean);
    __m256 largest = _mm256_setzero_ps();
    ptrdiff_t at = 0;
    for (; at + 16 <= width; at += 16) {
        const __m256 a = _mm256_castsi256_ps(multiples(values + at, by, less, &largest));
        const __m256 b = _mm256_castsi256_ps(multiples(values + at + 8, by, less, &largest));
        const __m256i e = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), 0xd8);
        const __m256i o = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd)), 0xd8);
        const __m256i narrow = _mm256_permute4x64_epi64(_mm256_packs_epi32(e, o), 0xd8);
        _mm256_storeu_si256((__m256i *)(even + at / 2), e);
        _mm256_storeu_si256((__m256i *)(odd + at / 2), o);
        _mm_storeu_si128((__m128i *)(even_narrow + at / 2), _mm256_castsi256_si128(narrow));
        _mm_storeu_si128((__m128i *)(odd_narrow + at / 2), _mm256_extracti128_si256(narrow, 1));
    }
    const __m256 beyond = _mm256_cmp_ps(largest, _mm256_set1_ps(TENSOR_BEYOND), _CMP_GE_OQ);
    const int good = _mm256_movemask_ps(beyond) == 0;
    return quantise_from(at, values, width, step, mean, even, odd, even_narrow, odd_narrow) & good;
}

/* eight values, and their parts */
static inline __m256i whole_and_part(const float *values, __m256 step, __m256i mean, __m256 *largest, __m256i *part)
{
    const __m256 q = _mm256_div_ps(_mm256_loadu_ps(values), step);
    *largest = _mm256_max_ps(*largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), q));
    const __m256i whole = _mm256_cvtps_epi32(q);
    const __m256 left = _mm256_sub_ps(q, _mm256_cvtepi32_ps(whole));
    *part = _mm256_cvtps_epi32(_mm256_mul_ps(left, _mm256_set1_ps(1 << TENSOR_PART_BITS)));
    return _mm256_sub_epi32(whole, mean);
}

static inline __m256i every_other(__m256i a, __m256i b, const int odd)
{
    const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    const __m256 some = odd ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(some), 0xd8);
}

static int quantise_finely(const float *values, ptrdiff_t width, float step, int32_t mean, int32_t *even, int32_t *odd,
                           int16_t *even_part, int16_t *odd_part)
{
    const __m256 by = _mm256_set1_ps(step);
    const __m256i less = _mm256_set1_epi32(mean);
    __m256 largest = _mm256_setzero_ps();
    ptrdiff_t at = 0;
    for (; at + 16 <= width; at += 16) {
        __m256i p, q;
        const __m256i a = whole_and_part(values + at, by, less, &largest, &p);
        const __m256i b = whole_and_part(values + at + 8, by, less, &largest, &q);
        _mm256_storeu_si256((__m256i *)(even + at / 2), every_other(a, b, 0));
        _mm256_storeu_si256((__m256i *)(odd + at / 2), every_other(a, b, 1));
        const __m256i parts = _mm256_permute4x64_epi64(_mm256_packs_epi32(every_other(p, q, 0), every_other(p, q, 1)), 0xd8);
        _mm_storeu_si128((__m128i *)(even_part + at / 2), _mm256_castsi256_si128(parts));
        _mm_storeu_si128((__m128i *)(odd_part + at / 2), _mm256_extracti128_si256(parts, 1));
    }
    const __m256 beyond = _mm256_cmp_ps(largest, _mm256_set1_ps(TENSOR_BEYOND), _CMP_GE_OQ);
    const int good = _mm256_movemask_ps(beyond) == 0;
    return part_from(at, values, width, step, mean, even, odd, even_part, odd_part) & good;
}
