/* CRC-32C (Castagnoli), reflected, as in RFC 3720. */
#include "coder/coder.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>
#include <wmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_plain(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t c = crc, word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    for (; n; n--)
        c = _mm_crc32_u8((uint32_t)c, *p++);
    return (uint32_t)c;
}

/* A CRC waits for the one before, but three of them run side by side. That of a part moves on over the PART or 2 * PART
 * bytes that follow by a product with x^(8 * PART - 33) or x^(16 * PART - 33), as the instruction adds 33 to the power. */
#define PART 1024
#define OVER_ONE 0x170076fa
#define OVER_TWO 0xa51b6135

__attribute__((target("sse4.2,pclmul"))) static uint64_t move_on(uint64_t crc, uint32_t power)
{
    const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi64_si128(power), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_by_threes(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n >= 3 * PART; n -= 3 * PART, p += 3 * PART) {
        uint64_t a = crc, b = 0, c = 0, word[3];
        for (size_t i = 0; i < PART; i += 8) {
            memcpy(word, p + i, 8);
            memcpy(word + 1, p + PART + i, 8);
            memcpy(word + 2, p + 2 * PART + i, 8);
            a = _mm_crc32_u64(a, word[0]);
            b = _mm_crc32_u64(b, word[1]);
            c = _mm_crc32_u64(c, word[2]);
        }
        crc = (uint32_t)(move_on(a, OVER_TWO) ^ move_on(b, OVER_ONE) ^ c);
    }
    return crc_plain(crc, p, n);
}

static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t n)
{
    return n >= 3 * PART && __builtin_cpu_supports("pclmul") ? crc_by_threes(crc, p, n) : crc_plain(crc, p, n);
}

static int has_crc(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#define CRC_HARDWARE 1
#elif defined(__aarch64__) && defined(__GNUC__) && (defined(__linux__) || defined(__APPLE__))
#if defined(__linux__)
#include <sys/auxv.h>
#endif

/* Assembler, since gcc and clang have no spelling in common that needs no flag for the whole file. */
static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    }
    for (; n; n--)
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)*p++));
    return crc;
}

static int has_crc(void)
{
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & 1 << 7) != 0; /* HWCAP_CRC32 */
#else
    return 1; /* every Mac that is not x86-64 */
#endif
}
#define CRC_HARDWARE 1
#endif

uint32_t ls_crc32c(uint32_t crc, const uint8_t *data, size_t size)
{
    crc = ~crc;
#ifdef CRC_HARDWARE
    if (has_crc())
        return ~crc_hardware(crc, data, size);
#endif
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82F63B78u & -(crc & 1));
    }
    return ~crc;
}
