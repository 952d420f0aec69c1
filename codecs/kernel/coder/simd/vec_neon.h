/* Sixteen lanes of 32 bits in four NEON registers, unsigned: gcc takes vmulq_s32 for a signed multiplication of C, which
 * must not overflow. Masks are 16 bits here too, as the template calculates with them. A vec whose values fit is turned
 * to bytes where something is looked up or shuffled, since that is what NEON can do. */
typedef struct { uint32x4_t q0, q1, q2, q3; } vec;
typedef uint16_t mask;
typedef struct { uint8x16x4_t part[LS_FRACTIONS]; } vec_table; /* 64 tables' numbers, for each fraction */
#define ONE(NAME, OP)                                                                                                  \
    static inline vec NAME(vec a) { return (vec){OP(a.q0), OP(a.q1), OP(a.q2), OP(a.q3)}; }
#define BOTH(NAME, OP)                                                                                                 \
    static inline vec NAME(vec a, vec b)                                                                               \
    {                                                                                                                  \
        return (vec){OP(a.q0, b.q0), OP(a.q1, b.q1), OP(a.q2, b.q2), OP(a.q3, b.q3)};                                  \
    }

static inline vec v_load(const uint32_t *p)
{
    return (vec){vld1q_u32(p), vld1q_u32(p + 4), vld1q_u32(p + 8), vld1q_u32(p + 12)};
}
static inline void v_store(uint32_t *p, vec a)
{
    vst1q_u32(p, a.q0), vst1q_u32(p + 4, a.q1), vst1q_u32(p + 8, a.q2), vst1q_u32(p + 12, a.q3);
}
static inline vec v_set(uint32_t x)
{
    const uint32x4_t q = vdupq_n_u32(x);
    return (vec){q, q, q, q};
}

/* the lowest byte of every lane */
static inline uint8x16_t to_bytes(vec a)
{
    const uint16x8_t lo = vuzp1q_u16((uint16x8_t)a.q0, (uint16x8_t)a.q1);
    const uint16x8_t hi = vuzp1q_u16((uint16x8_t)a.q2, (uint16x8_t)a.q3);
    return vuzp1q_u8((uint8x16_t)lo, (uint8x16_t)hi);
}
static inline vec from_i8(int8x16_t b)
{
    const int16x8_t lo = vmovl_s8(vget_low_s8(b)), hi = vmovl_high_s8(b);
    return (vec){(uint32x4_t)vmovl_s16(vget_low_s16(lo)), (uint32x4_t)vmovl_high_s16(lo),
                 (uint32x4_t)vmovl_s16(vget_low_s16(hi)), (uint32x4_t)vmovl_high_s16(hi)};
}
static inline vec from_u16(uint16x8_t lo, uint16x8_t hi)
{
    return (vec){vmovl_u16(vget_low_u16(lo)), vmovl_high_u16(lo), vmovl_u16(vget_low_u16(hi)), vmovl_high_u16(hi)};
}
static inline vec v_load_i8(const int8_t *p) { return from_i8(vld1q_s8(p)); }
static inline vec v_load_u16(const uint16_t *p) { return from_u16(vld1q_u16(p), vld1q_u16(p + 8)); }
static inline void v_store_u16(uint16_t *p, vec a)
{
    vst1q_u16(p, vuzp1q_u16((uint16x8_t)a.q0, (uint16x8_t)a.q1));
    vst1q_u16(p + 8, vuzp1q_u16((uint16x8_t)a.q2, (uint16x8_t)a.q3));
}
static inline void v_store_i8(int8_t *p, vec a) { vst1q_u8((uint8_t *)p, to_bytes(a)); }

BOTH(v_add, vaddq_u32)
BOTH(v_sub, vsubq_u32)
BOTH(v_mul, vmulq_u32)
BOTH(v_mul16, vmulq_u32)
BOTH(v_and, vandq_u32)
BOTH(v_or, vorrq_u32)
BOTH(v_xor, veorq_u32)
#define SIGNED_MIN(A, B) (uint32x4_t)vminq_s32((int32x4_t)(A), (int32x4_t)(B))
#define SIGNED_MAX(A, B) (uint32x4_t)vmaxq_s32((int32x4_t)(A), (int32x4_t)(B))
#define SIGNED_ABS(A) (uint32x4_t)vabsq_s32((int32x4_t)(A))
#define FLOAT_BITS(A) (uint32x4_t)vcvtq_f32_s32((int32x4_t)(A))
BOTH(v_min, SIGNED_MIN)
BOTH(v_max, SIGNED_MAX)
ONE(v_abs, SIGNED_ABS)
ONE(v_float_bits, FLOAT_BITS)
/* operators, so that a shift by a constant is one instruction and needs no register */
#define SHIFT(NAME, TYPE, OP)                                                                                          \
    static inline vec NAME(vec a, int n)                                                                               \
    {                                                                                                                  \
        return (vec){(uint32x4_t)((TYPE)a.q0 OP n), (uint32x4_t)((TYPE)a.q1 OP n), (uint32x4_t)((TYPE)a.q2 OP n),      \
                     (uint32x4_t)((TYPE)a.q3 OP n)};                                                                   \
    }
SHIFT(v_srl, uint32x4_t, >>)
SHIFT(v_sll, uint32x4_t, <<)
SHIFT(v_sra, int32x4_t, >>)

static inline uint32x4_t spread(mask m, int first)
{
    const uint32x4_t bit = {1u << first, 2u << first, 4u << first, 8u << first};
    return vtstq_u32(vdupq_n_u32(m), bit);
}
static inline vec v_blend(mask m, vec no, vec yes)
{
    return (vec){vbslq_u32(spread(m, 0), yes.q0, no.q0), vbslq_u32(spread(m, 4), yes.q1, no.q1),
                 vbslq_u32(spread(m, 8), yes.q2, no.q2), vbslq_u32(spread(m, 12), yes.q3, no.q3)};
}
/* a bit for every byte, all of whose bits are the same */
static inline mask bits_of(uint8x16_t bytes)
{
    static const uint8_t weight[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t sum = vandq_u8(bytes, vld1q_u8(weight));
    for (int i = 0; i < 3; i++)
        sum = vpaddq_u8(sum, sum);
    return vgetq_lane_u16((uint16x8_t)sum, 0);
}
static inline mask v_mask(const uint8_t *p) { return bits_of(vld1q_u8(p)); }
BOTH(lanes_less, vcltq_u32)
BOTH(lanes_equal, vceqq_u32)
static inline mask v_less(vec a, vec b) { return bits_of(to_bytes(lanes_less(a, b))); }
static inline mask v_equal(vec a, vec b) { return bits_of(to_bytes(lanes_equal(a, b))); }
#define FLOAT_TO_INT(A) (uint32x4_t)vcvtq_s32_f32((float32x4_t)(A))
ONE(v_float_to_int, FLOAT_TO_INT)
#define FLOAT_ADD(A, B) (uint32x4_t)vaddq_f32((float32x4_t)(A), (float32x4_t)(B))
#define FLOAT_MUL(A, B) (uint32x4_t)vmulq_f32((float32x4_t)(A), (float32x4_t)(B))
#define FLOAT_LESS(A, B) vcltq_f32((float32x4_t)(A), (float32x4_t)(B))
BOTH(v_float_add, FLOAT_ADD)
BOTH(v_float_mul, FLOAT_MUL)
BOTH(lanes_float_less, FLOAT_LESS)
static inline mask v_float_less(vec a, vec b) { return bits_of(to_bytes(lanes_float_less(a, b))); }

static inline uint32x4_t gather(const uint32_t *base, uint32x4_t at)
{
    uint32x4_t r = vld1q_dup_u32(base + vgetq_lane_u32(at, 0));
    r = vld1q_lane_u32(base + vgetq_lane_u32(at, 1), r, 1);
    r = vld1q_lane_u32(base + vgetq_lane_u32(at, 2), r, 2);
    return vld1q_lane_u32(base + vgetq_lane_u32(at, 3), r, 3);
}
static inline vec v_gather(const uint32_t *base, vec i)
{
    return (vec){gather(base, i.q0), gather(base, i.q1), gather(base, i.q2), gather(base, i.q3)};
}
/* four bytes from base + i on */
static inline uint32x4_t gather_bytes(const uint8_t *base, uint32x4_t at)
{
    uint32_t x[4];
    memcpy(x, base + vgetq_lane_u32(at, 0), 4);
    memcpy(x + 1, base + vgetq_lane_u32(at, 1), 4);
    memcpy(x + 2, base + vgetq_lane_u32(at, 2), 4);
    memcpy(x + 3, base + vgetq_lane_u32(at, 3), 4);
    return vld1q_u32(x);
}
static inline vec v_gather_bytes(const uint8_t *base, vec i)
{
    return (vec){gather_bytes(base, i.q0), gather_bytes(base, i.q1), gather_bytes(base, i.q2), gather_bytes(base, i.q3)};
}
static inline uint16x8_t gather16(const uint16_t *base, uint32x4_t lo, uint32x4_t hi)
{
    uint16x8_t r = vld1q_dup_u16(base + vgetq_lane_u32(lo, 0));
    r = vld1q_lane_u16(base + vgetq_lane_u32(lo, 1), r, 1);
    r = vld1q_lane_u16(base + vgetq_lane_u32(lo, 2), r, 2);
    r = vld1q_lane_u16(base + vgetq_lane_u32(lo, 3), r, 3);
    r = vld1q_lane_u16(base + vgetq_lane_u32(hi, 0), r, 4);
    r = vld1q_lane_u16(base + vgetq_lane_u32(hi, 1), r, 5);
    r = vld1q_lane_u16(base + vgetq_lane_u32(hi, 2), r, 6);
    return vld1q_lane_u16(base + vgetq_lane_u32(hi, 3), r, 7);
}
static inline vec v_gather16(const uint16_t *base, vec i)
{
    return from_u16(gather16(base, i.q0, i.q1), gather16(base, i.q2, i.q3));
}
/* only values that fit into a signed byte are shuffled: magnitudes and values of latents */
static inline vec v_shuffle(vec a, vec order, vec b)
{
    const uint8x16x2_t both = {{to_bytes(a), to_bytes(b)}};
    return from_i8((int8x16_t)vqtbl2q_u8(both, to_bytes(order)));
}
/* a table's number is below 128: the lower byte of its 16 bits */
static inline vec v_one_of_64(const uint16_t *row, vec i) { return v_gather16(row, i); }
static inline vec_table v_table_load(const uint16_t *table, int fractions)
{
    vec_table r;
    for (int i = 0; i < (fractions ? LS_FRACTIONS : 1); i++)
        for (int quarter = 0; quarter < 4; quarter++)
            r.part[i].val[quarter] = vld2q_u8((const uint8_t *)(table + 64 * i + 16 * quarter)).val[0];
    return r;
}
/* an index outside a part finds zero there */
static inline vec look_up(const vec_table *table, vec i, int fractions)
{
    const uint8x16_t at = to_bytes(i);
    uint8x16_t r = vqtbl4q_u8(table->part[0], at);
    for (int level = 1; level < (fractions ? LS_FRACTIONS : 1); level++)
        r = vorrq_u8(r, vqtbl4q_u8(table->part[level], vsubq_u8(at, vdupq_n_u8((uint8_t)(64 * level)))));
    return from_u16(vmovl_u8(vget_low_u8(r)), vmovl_high_u8(r));
}
/* by address: gcc copies a table given by value at every step */
#define v_lookup(TABLE, I, FRACTIONS) look_up(&(TABLE), I, FRACTIONS)
/* Where each stream reads its next word, and a bit for each that has read past its end. */
typedef struct {
    const uint8_t *word[16], *end[16];
    mask beyond;
    int lanes_log2; /* of a stream */
} reader;

static inline void reader_open(reader *r, const ls_stream *streams, int count)
{
    r->beyond = 0;
    r->lanes_log2 = 4 - __builtin_ctz((unsigned)count);
    for (int s = 0; s < count; s++) {
        r->word[s] = streams[s].words;
        r->end[s] = streams[s].words_end;
    }
}
static inline void reader_close(const reader *r, ls_stream *streams, int count)
{
    for (int s = 0; s < count; s++)
        streams[s].words = r->word[s];
}
static inline mask reader_beyond(const reader *r, const ls_stream *streams, int count)
{
    (void)streams, (void)count;
    return r->beyond;
}
/* the states that need one take a word of their stream, lane after lane */
static inline vec reader_refill(reader *r, vec state, mask need, int count)
{
    uint32_t x[16];
    (void)count;
    if (!need)
        return state;
    v_store(x, state);
    for (unsigned m = need; m; m &= m - 1) {
        const int k = __builtin_ctz(m), s = k >> r->lanes_log2;
        const uint8_t *w = r->word[s];
        x[k] = x[k] << 16 | (uint32_t)(w[0] | w[1] << 8);
        r->word[s] = w += 2;
        r->beyond |= (mask)((w > r->end[s]) << s);
    }
    return v_load(x);
}
