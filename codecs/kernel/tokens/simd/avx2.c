/* The loops over values for AVX2. */
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi2,popcnt")
#endif
#include "coder/coder.h"
#include "tokens/tokens.h"

#include <immintrin.h>
#include <string.h>

#include "coder/simd/vec_avx2.h"

/* Loads are cheaper than taking a vector apart, which compilers do instead. */
#define KEEP_IN_MEMORY(ARRAY) __asm__("" : "+m"(ARRAY))

/* Faster than the gathers of the processors that have no AVX-512. */
static inline __m128i gather_four(const uint32_t *base, const uint32_t *i)
{
    __m128i r = _mm_cvtsi32_si128((int)base[i[0]]);
    r = _mm_insert_epi32(r, (int)base[i[1]], 1);
    r = _mm_insert_epi32(r, (int)base[i[2]], 2);
    return _mm_insert_epi32(r, (int)base[i[3]], 3);
}
static inline vec gather_by_loads(const uint32_t *base, vec at)
{
    uint32_t i[16];
    v_store(i, at);
    return (vec){_mm256_inserti128_si256(_mm256_castsi128_si256(gather_four(base, i)), gather_four(base, i + 4), 1),
                 _mm256_inserti128_si256(_mm256_castsi128_si256(gather_four(base, i + 8)), gather_four(base, i + 12), 1)};
}
#define GATHER gather_by_loads
static inline __m256i eight_of(const uint32_t *base, __m256i at)
{
    uint32_t i[8];
    _mm256_storeu_si256((__m256i *)(void *)i, at);
    KEEP_IN_MEMORY(i);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(gather_four(base, i)), gather_four(base, i + 4), 1);
}
#define EIGHT_OF eight_of

/* For eight lanes of which some need a word: which of the next words each takes. */
#define BIT(M, K) ((M) >> (K) & 1)
#define ROW(M)                                                                                                         \
    {0, BIT(M, 0), BIT(M, 0) + BIT(M, 1), BIT(M, 0) + BIT(M, 1) + BIT(M, 2),                                           \
     BIT(M, 0) + BIT(M, 1) + BIT(M, 2) + BIT(M, 3), BIT(M, 0) + BIT(M, 1) + BIT(M, 2) + BIT(M, 3) + BIT(M, 4),         \
     BIT(M, 0) + BIT(M, 1) + BIT(M, 2) + BIT(M, 3) + BIT(M, 4) + BIT(M, 5),                                            \
     BIT(M, 0) + BIT(M, 1) + BIT(M, 2) + BIT(M, 3) + BIT(M, 4) + BIT(M, 5) + BIT(M, 6)}
#define FOUR(M) ROW(M), ROW(M + 1), ROW(M + 2), ROW(M + 3)
#define SIXTEEN(M) FOUR(M), FOUR(M + 4), FOUR(M + 8), FOUR(M + 12)
static const uint8_t word_of[256][8] = {
    SIXTEEN(0),   SIXTEEN(16),  SIXTEEN(32),  SIXTEEN(48),  SIXTEEN(64),  SIXTEEN(80),  SIXTEEN(96),  SIXTEEN(112),
    SIXTEEN(128), SIXTEEN(144), SIXTEEN(160), SIXTEEN(176), SIXTEEN(192), SIXTEEN(208), SIXTEEN(224), SIXTEEN(240)};

static inline __m256i refill_eight(const uint8_t **words, __m256i state)
{
    const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
    const unsigned need = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(low));
    const __m256i next = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)*words));
    const __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)word_of[need]));
    *words += 2 * __builtin_popcount(need);
    const __m256i more = _mm256_or_si256(_mm256_slli_epi32(state, 16), _mm256_permutevar8x32_epi32(next, order));
    return _mm256_blendv_epi8(state, more, low);
}
static inline vec refill_sixteen(const uint8_t **words, vec state)
{
    state.lo = refill_eight(words, state.lo);
    state.hi = refill_eight(words, state.hi);
    return state;
}
#define REFILL(FROM, STATE) refill_sixteen((FROM)->word, STATE)
#define LOW_BITS(X, COUNT) _bzhi_u64(X, COUNT)
#include "tokens/simd/tokens_avx2.h"
#include "tokens/simd/template.h"
#include "tokens/simd/code_avx2.h"

const tok_path tok_path_avx2 = {read_loop, values_loop, tokens_loop, code_avx2};

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int tok_no_avx2;
#endif
