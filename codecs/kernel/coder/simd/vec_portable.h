/* Sixteen lanes of 32 bits in plain C. */
typedef struct { uint32_t e[16]; } vec;
typedef uint16_t mask;
typedef const uint16_t *vec_table;
#define EACH for (int k = 0; k < 16; k++)

static inline vec v_load(const uint32_t *p) { vec r; memcpy(r.e, p, 64); return r; }
static inline void v_store(uint32_t *p, vec a) { memcpy(p, a.e, 64); }
static inline vec v_set(uint32_t x) { vec r; EACH r.e[k] = x; return r; }
static inline vec v_load_i8(const int8_t *p) { vec r; EACH r.e[k] = (uint32_t)(int32_t)p[k]; return r; }
static inline vec v_load_u16(const uint16_t *p) { vec r; EACH r.e[k] = p[k]; return r; }
static inline void v_store_u16(uint16_t *p, vec a) { EACH p[k] = (uint16_t)a.e[k]; }
static inline void v_store_i8(int8_t *p, vec a) { EACH p[k] = (int8_t)a.e[k]; }
static inline vec v_add(vec a, vec b) { EACH a.e[k] += b.e[k]; return a; }
static inline vec v_sub(vec a, vec b) { EACH a.e[k] -= b.e[k]; return a; }
static inline vec v_mul(vec a, vec b) { EACH a.e[k] *= b.e[k]; return a; }
static inline vec v_mul16(vec a, vec b) { return v_mul(a, b); }
static inline vec v_and(vec a, vec b) { EACH a.e[k] &= b.e[k]; return a; }
static inline vec v_or(vec a, vec b) { EACH a.e[k] |= b.e[k]; return a; }
static inline vec v_xor(vec a, vec b) { EACH a.e[k] ^= b.e[k]; return a; }
static inline vec v_srl(vec a, int n) { EACH a.e[k] >>= n; return a; }
static inline vec v_sll(vec a, int n) { EACH a.e[k] <<= n; return a; }
static inline vec v_sra(vec a, int n)
{
    EACH a.e[k] = a.e[k] >> n | (a.e[k] >> 31 ? ~(0xffffffffu >> n) : 0);
    return a;
}
static inline vec v_min(vec a, vec b) { EACH a.e[k] = (int32_t)a.e[k] < (int32_t)b.e[k] ? a.e[k] : b.e[k]; return a; }
static inline vec v_max(vec a, vec b) { EACH a.e[k] = (int32_t)a.e[k] > (int32_t)b.e[k] ? a.e[k] : b.e[k]; return a; }
static inline vec v_abs(vec a) { EACH a.e[k] = a.e[k] >> 31 ? 0u - a.e[k] : a.e[k]; return a; }
static inline vec v_blend(mask m, vec no, vec yes) { EACH if (m >> k & 1) no.e[k] = yes.e[k]; return no; }
static inline mask v_less(vec a, vec b) { mask m = 0; EACH m |= (mask)((a.e[k] < b.e[k]) << k); return m; }
static inline mask v_equal(vec a, vec b) { mask m = 0; EACH m |= (mask)((a.e[k] == b.e[k]) << k); return m; }
static inline mask v_mask(const uint8_t *p) { mask m = 0; EACH m |= (mask)((p[k] & 1) << k); return m; }
static inline vec v_float_bits(vec a)
{
    EACH { float f = (float)(int32_t)a.e[k]; memcpy(&a.e[k], &f, 4); }
    return a;
}
static inline vec v_float_to_int(vec a)
{
    EACH { float f; memcpy(&f, &a.e[k], 4); a.e[k] = (uint32_t)(int32_t)f; }
    return a;
}
static inline vec v_float_add(vec a, vec b)
{
    EACH { float x, y; memcpy(&x, &a.e[k], 4), memcpy(&y, &b.e[k], 4); x += y; memcpy(&a.e[k], &x, 4); }
    return a;
}
static inline vec v_float_mul(vec a, vec b)
{
    EACH { float x, y; memcpy(&x, &a.e[k], 4), memcpy(&y, &b.e[k], 4); x *= y; memcpy(&a.e[k], &x, 4); }
    return a;
}
static inline mask v_float_less(vec a, vec b)
{
    mask m = 0;
    EACH { float x, y; memcpy(&x, &a.e[k], 4), memcpy(&y, &b.e[k], 4); m |= (mask)((x < y) << k); }
    return m;
}
static inline vec v_gather(const uint32_t *base, vec i) { EACH i.e[k] = base[i.e[k]]; return i; }
/* four bytes from base + i on, the first lowest */
static inline vec v_gather_bytes(const uint8_t *base, vec i)
{
    EACH {
        const uint8_t *p = base + i.e[k];
        i.e[k] = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    }
    return i;
}
static inline vec v_shuffle(vec a, vec order, vec b)
{
    vec r;
    EACH r.e[k] = order.e[k] < 16 ? a.e[order.e[k]] : b.e[order.e[k] & 15];
    return r;
}
static inline vec v_gather16(const uint16_t *base, vec i) { EACH i.e[k] = base[i.e[k]]; return i; }
static inline vec v_one_of_64(const uint16_t *row, vec i) { return v_gather16(row, i); }
static inline vec_table v_table_load(const uint16_t *table, int fractions) { (void)fractions; return table; }
static inline vec v_lookup(vec_table table, vec i, int fractions)
{
    (void)fractions;
    EACH i.e[k] = table[i.e[k]];
    return i;
}
#include "coder/simd/vec_reader.h"

/* the states that need one take a word of their stream, lane after lane */
static inline vec reader_refill(reader *r, vec state, mask need, int count)
{
    const int lanes = 16 / count;
    EACH if (need >> k & 1) {
        const uint8_t **w = r->word + k / lanes;
        state.e[k] = state.e[k] << 16 | (uint32_t)((*w)[0] | (*w)[1] << 8);
        *w += 2;
    }
    return state;
}
