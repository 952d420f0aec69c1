/* Coding symbols by AVX2, for 16 and 32 lanes: eight at a time, the last ones first. */

/* Symbols 0, 2, 4 and 6 of eight, or 1, 3, 5 and 7, where `index` is that of the first. */
static inline __m128i two_symbols(const tok_symbol *symbol, const uint16_t *index)
{
    const __m128i low = _mm_loadl_epi64((const __m128i *)(const void *)(symbol + index[0]));
    return _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(low), (const double *)(const void *)(symbol + index[2])));
}
static inline __m256i four_symbols(const tok_symbol *symbol, const uint16_t *index)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(two_symbols(symbol, index)), two_symbols(symbol, index + 4), 1);
}

/* The words of eight lanes, of which those in `kept` put none. */
static inline uint8_t *put_words(const uint8_t (*order)[16], __m256i x, unsigned kept, uint8_t *to)
{
    const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    const __m128i last = _mm_shuffle_epi8(words, _mm_loadu_si128((const __m128i *)(const void *)order[kept]));
    _mm_storeu_si128((__m128i *)(void *)(to - 16), last);
    return to - 16 + 2 * (size_t)__builtin_popcount(kept);
}

static inline __m256i code_eight(const tok_symbol *symbol, const uint8_t (*order)[16], const uint16_t *index, __m256i x,
                                 uint8_t **to)
{
    const __m256i even_symbols = four_symbols(symbol, index), odd_symbols = four_symbols(symbol, index + 1);
    const __m256i pair = _mm256_blend_epi32(_mm256_srli_epi64(even_symbols, 32), odd_symbols, 0xaa);
    const __m256i freq = _mm256_and_si256(pair, _mm256_set1_epi32(0xffff)), start = _mm256_srli_epi32(pair, 16);
    /* neither side has a sign */
    const __m256i fits = _mm256_cmpgt_epi32(freq, _mm256_srli_epi32(x, 32 - TOK_PRECISION));
    *to = put_words(order, x, (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(fits)), *to);
    x = _mm256_srlv_epi32(x, _mm256_andnot_si256(fits, _mm256_set1_epi32(16)));
    /* floor(x / freq) is the high half of the product, or one more */
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, even_symbols), 32);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), odd_symbols);
    const __m256i quotient = _mm256_blend_epi32(even, odd, 0xaa);
    const __m256i rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, freq));
    const __m256i less = _mm256_cmpgt_epi32(freq, rest);
    const __m256i more = _mm256_andnot_si256(less, _mm256_sub_epi32(_mm256_set1_epi32(1 << TOK_PRECISION), freq));
    return _mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(quotient, TOK_PRECISION), rest),
                            _mm256_add_epi32(start, more));
}

INLINE uint8_t *code_vectors(const tok_model *m, const uint16_t *index, size_t values, uint32_t *states, uint8_t *to,
                             const int lanes)
{
    const size_t whole = values - values % (size_t)lanes;
    const tok_symbol *symbol = m->symbol;
    for (size_t i = values; i > whole; i--)
        states[i - 1 - whole] = code_one(symbol[index[i - 1]], states[i - 1 - whole], &to);
    __m256i x[TOK_MAX_LANES / 8];
#pragma GCC unroll 4 /* so that they stay in registers */
    for (int k = 0; k < lanes / 8; k++)
        x[k] = _mm256_loadu_si256((const __m256i *)(void *)(states + 8 * k));
    for (size_t i = whole; i;) {
        i -= (size_t)lanes;
#pragma GCC unroll 4
        for (int k = lanes / 8 - 1; k >= 0; k--)
            x[k] = code_eight(symbol, m->order, index + i + 8 * k, x[k], &to);
    }
#pragma GCC unroll 4
    for (int k = 0; k < lanes / 8; k++)
        _mm256_storeu_si256((__m256i *)(void *)(states + 8 * k), x[k]);
    return to;
}

static uint8_t *code_avx2(const tok_model *m, const uint16_t *index, size_t values, uint32_t *states, uint8_t *to,
                          int lanes)
{
    return lanes == 32   ? code_vectors(m, index, values, states, to, 32)
           : lanes == 16 ? code_vectors(m, index, values, states, to, 16)
                         : code_loop(m, index, values, states, to, lanes);
}
