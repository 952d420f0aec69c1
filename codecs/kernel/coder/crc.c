/* CRC-32C (Castagnoli), reflected, as in RFC 3720. */
#include "coder/coder.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>
__attribute__((target("sse4.2"))) static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t n)
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
