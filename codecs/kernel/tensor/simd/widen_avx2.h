/* The same with AVX2, whose processors all have an instruction for floats of 16 bits. */

static int widen(const void *values, ptrdiff_t count, enum tensor_type type, float *restrict out)
{
    ptrdiff_t at = 0;
    __m128i most = _mm_setzero_si128();
    if (type == TENSOR_FLOAT16)
        for (; at + 8 <= count; at += 8) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)values + at));
            most = _mm_max_epu16(most, _mm_and_si128(v, _mm_set1_epi16(0x7fff)));
            _mm256_storeu_ps(out + at, _mm256_cvtph_ps(v));
        }
    /* the least of the opposites */
    const int least = _mm_extract_epi16(_mm_minpos_epu16(_mm_xor_si128(most, _mm_set1_epi16(-1))), 0);
    return widen_from(at, 0xffffu - (uint32_t)least, values, count, type, out);
}
