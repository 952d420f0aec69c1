/* Tokens and extra bits of values of 16 bits with AVX2, 16 at a time; loops.h does the rest. */
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
        for (int k = 0; k < 8; k += 2)
            put_bits(&w, bits[k], (unsigned)sizes[k]);
    }
    *writer = w;
    return whole;
}
#define TOKENS_OF_SIXTEENS tokens_of_sixteens
