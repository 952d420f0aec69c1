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
