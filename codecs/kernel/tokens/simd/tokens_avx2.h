/* Tokens and extra bits of values of 16 and 32 bits with AVX2, 16 or 8 at a time; loops.h does the rest. */
#include "tokens/lanes.h"

/* The bits of eight places in their intervals as two numbers, in the lower halves, and how many bits these have. */
static inline void bits_of_eight(__m256i place, __m256i extra, uint64_t *bits, uint64_t *count)
{
    const __m256i low = _mm256_set1_epi64x(0xffffffff), few = _mm256_and_si256(extra, low);
    const __m256i pair = _mm256_or_si256(_mm256_and_si256(place, low),
                                         _mm256_sllv_epi64(_mm256_srli_epi64(place, 32), few));
    const __m256i size = _mm256_add_epi64(few, _mm256_srli_epi64(extra, 32));
    const __m256i four = _mm256_or_si256(pair, _mm256_sllv_epi64(_mm256_unpackhi_epi64(pair, pair), size));
    _mm256_store_si256((__m256i *)bits, four);
    _mm256_store_si256((__m256i *)count, _mm256_add_epi64(size, _mm256_unpackhi_epi64(size, size)));
}

/* Of whole sixteens; how many values that were. */
static inline size_t tokens_of_sixteens(const tok_model *m, const uint16_t *values, size_t count, uint32_t first,
                                        uint16_t *index, tok_writer *writer)
{
    const __m256i byte = _mm256_set1_epi32(255), before = _mm256_set1_epi16((short)first);
    const size_t whole = count - count % 16;
    tok_writer w = *writer;
    for (size_t i = 0; i < whole; i += 16) {
        _Alignas(32) uint64_t bits[8], sizes[8];
        __m256i token[2];
        for (int half = 0; half < 2; half++) {
            const __m256i v =
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(values + i + 8 * half)));
            const __m256i e = EIGHT_OF(m->whole, _mm256_srli_epi32(v, 4));
            token[half] = _mm256_srli_epi32(e, 24);
            bits_of_eight(_mm256_sub_epi32(v, _mm256_and_si256(e, _mm256_set1_epi32(0xffff))),
                          _mm256_and_si256(_mm256_srli_epi32(e, 16), byte), bits + 4 * half, sizes + 4 * half);
        }
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(token[0], token[1]), 0xd8);
        _mm256_storeu_si256((__m256i *)(void *)(index + i), _mm256_add_epi16(both, before));
        for (int k = 0; k < 8; k += 4) {
            const uint64_t four = sizes[k], all = four + sizes[k + 2];
            if (all <= MOST_PUT) {
                put_bits(&w, bits[k] | bits[k + 2] << four, all);
            } else {
                put_bits(&w, bits[k], four);
                put_bits(&w, bits[k + 2], sizes[k + 2]);
            }
        }
    }
    *writer = w;
    return whole;
}
#define TOKENS_OF_SIXTEENS tokens_of_sixteens

/* Of eight values of 32 bits, what `whole` says of each. Where several intervals begin with the same highest bits, they
 * are looked for, but for zeros that have an interval of their own. */
static inline __m256i entries_of_eight(const tok_model *m, const uint32_t *values, __m256i v)
{
    __m256i e = EIGHT_OF(m->whole, _mm256_srli_epi32(v, 20));
    if (m->exact)
        return e;
    if (!m->interval[0].extra)
        e = _mm256_andnot_si256(_mm256_cmpeq_epi32(v, _mm256_setzero_si256()), e);
    unsigned several = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32(e, 31 - TOK_SEVERAL)));
    if (several) {
        _Alignas(32) uint32_t entry[8];
        _mm256_store_si256((__m256i *)(void *)entry, e);
        for (; several; several &= several - 1) {
            const int k = __builtin_ctz(several);
            const uint32_t t = token_of(m, values[k], 20, 0);
            entry[k] = t << 24 | m->interval[t].extra;
        }
        e = _mm256_load_si256((const __m256i *)(const void *)entry);
    }
    return e;
}

/* Of whole eights; how many values that were. */
static inline size_t tokens_of_eights(const tok_model *m, const uint32_t *values, size_t count, uint32_t first,
                                      uint16_t *index, tok_writer *writer)
{
    const __m256i before = _mm256_set1_epi32((int)first), low = _mm256_set1_epi64x(0xffffffff);
    const size_t whole = count - count % 8;
    tok_writer w = *writer;
    for (size_t i = 0; i < whole; i += 8) {
        _Alignas(32) uint64_t bits[4], sizes[4];
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(values + i));
        const __m256i e = entries_of_eight(m, values + i, v);
        const __m256i token = _mm256_add_epi32(_mm256_srli_epi32(e, 24), before);
        const __m256i extra = _mm256_and_si256(e, _mm256_set1_epi32(63));
        /* an interval begins at a multiple of its size */
        const __m256i place = _mm256_andnot_si256(_mm256_sllv_epi32(_mm256_set1_epi32(-1), extra), v);
        const __m256i few = _mm256_and_si256(extra, low), more = _mm256_srli_epi64(extra, 32);
        const __m256i upper = _mm256_sllv_epi64(_mm256_srli_epi64(place, 32), few), size = _mm256_add_epi64(few, more);
        _mm_storeu_si128((__m128i *)(void *)(index + i), _mm_packus_epi32(_mm256_castsi256_si128(token),
                                                                         _mm256_extracti128_si256(token, 1)));
        _mm256_store_si256((__m256i *)(void *)bits, _mm256_or_si256(_mm256_and_si256(place, low), upper));
        _mm256_store_si256((__m256i *)(void *)sizes, size);
        if (_mm256_testz_si256(_mm256_cmpgt_epi64(size, _mm256_set1_epi64x(MOST_PUT)), low)) {
            for (int k = 0; k < 4; k++)
                put_bits(&w, bits[k], sizes[k]);
            continue;
        }
        _Alignas(32) uint32_t places[8], extras[8];
        _mm256_store_si256((__m256i *)(void *)places, place);
        _mm256_store_si256((__m256i *)(void *)extras, extra);
        for (int k = 0; k < 8; k++)
            put_bits(&w, places[k], extras[k]);
    }
    *writer = w;
    return whole;
}
#define TOKENS_OF_EIGHTS tokens_of_eights
