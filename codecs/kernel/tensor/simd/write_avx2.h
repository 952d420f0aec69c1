/* Output with AVX2. */

static inline __m256 product(__m256i value, __m256 step)
{
    return _mm256_mul_ps(_mm256_cvtepi32_ps(value), step);
}

/* eight numbers of 16 bits, the largest of which are finite */
static inline __m128i halves(__m256 x)
{
    const __m256 most = _mm256_set1_ps(65504), least = _mm256_set1_ps(-65504);
    return _mm256_cvtps_ph(_mm256_max_ps(_mm256_min_ps(x, most), least), _MM_FROUND_TO_NEAREST_INT);
}

/* the same of bfloat16, each in 32 bits */
static inline __m256i brains(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x), size = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
    const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x8000));
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(size, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(size, odd), _mm256_set1_epi32(0x7fff)), 16);
    return _mm256_or_si256(sign, _mm256_min_epu32(rounded, _mm256_set1_epi32(0x7f7f)));
}

static inline __m256i singles(__m256 x)
{
    const __m256 most = _mm256_set1_ps(FLT_MAX);
    return _mm256_castps_si256(_mm256_max_ps(_mm256_min_ps(x, most), _mm256_sub_ps(_mm256_setzero_ps(), most)));
}

static inline void store_pairs(void *out, __m256i even, __m256i odd)
{
    const __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    _mm256_storeu_si256(out, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)out + 1, _mm256_permute2x128_si256(low, high, 0x31));
}

#define FOR_EIGHT_PAIRS                                                                                                \
    for (; at + 16 <= width; at += 16) {                                                                               \
        const __m256i e = _mm256_loadu_si256((const __m256i *)(even + at / 2));                                        \
        const __m256i o = _mm256_loadu_si256((const __m256i *)(odd + at / 2));

static void write_row(const int32_t *even, const int32_t *odd, ptrdiff_t width, float step, enum tensor_type type,
                      void *out)
{
    const __m256 by = _mm256_set1_ps(step);
    ptrdiff_t at = 0;
    if (type == TENSOR_FLOAT32) {
        FOR_EIGHT_PAIRS
            store_pairs((float *)out + at, singles(product(e, by)), singles(product(o, by)));
        }
    } else if (type == TENSOR_FLOAT16) {
        FOR_EIGHT_PAIRS
            const __m128i a = halves(product(e, by)), b = halves(product(o, by));
            _mm_storeu_si128((__m128i *)((uint16_t *)out + at), _mm_unpacklo_epi16(a, b));
            _mm_storeu_si128((__m128i *)((uint16_t *)out + at + 8), _mm_unpackhi_epi16(a, b));
        }
    } else if (type == TENSOR_BFLOAT16) {
        FOR_EIGHT_PAIRS
            const __m256i both = _mm256_or_si256(brains(product(e, by)), _mm256_slli_epi32(brains(product(o, by)), 16));
            _mm256_storeu_si256((__m256i *)((uint16_t *)out + at), both);
        }
    } else {
        FOR_EIGHT_PAIRS
            store_pairs((int32_t *)out + at, e, o);
        }
    }
    row_from(at, even, odd, width, step, type, out);
}

static void write_across(const int32_t *values, ptrdiff_t plane, const float *steps, int count, enum tensor_type type,
                         void *out)
{
    int c = 0;
    for (; c + 8 <= count; c += 8) {
        const int32_t *v = values + c * plane;
        const __m256i eight = _mm256_setr_epi32(v[0], v[plane], v[2 * plane], v[3 * plane], v[4 * plane], v[5 * plane],
                                                v[6 * plane], v[7 * plane]);
        const __m256 x = product(eight, _mm256_loadu_ps(steps + c));
        if (type == TENSOR_FLOAT32) {
            _mm256_storeu_si256((__m256i *)((float *)out + c), singles(x));
        } else if (type == TENSOR_INT32) {
            _mm256_storeu_si256((__m256i *)((int32_t *)out + c), eight);
        } else if (type == TENSOR_FLOAT16) {
            _mm_storeu_si128((__m128i *)((uint16_t *)out + c), halves(x));
        } else {
            const __m256i wide = brains(x);
            const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(wide, wide), 0xd8);
            _mm_storeu_si128((__m128i *)((uint16_t *)out + c), _mm256_castsi256_si128(packed));
        }
    }
    across_from(c, values, plane, steps, count, type, out);
}
