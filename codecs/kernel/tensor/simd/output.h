/* From integers to the types of outputs. */

/* The nearest number of the type, ties to the even one; never an infinity. */
static inline uint16_t half_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x477fe000u) /* 65504 */
        return (uint16_t)(sign | 0x7bffu);
    if (size < 0x38800000u) { /* subnormal: the addition rounds */
        float f;
        uint32_t sum;
        memcpy(&f, &size, 4);
        f += 0.5f;
        memcpy(&sum, &f, 4);
        return (uint16_t)(sign | (sum - 0x3f000000u));
    }
    return (uint16_t)(sign | ((size - 0x38000000u + 0xfffu + (size >> 13 & 1)) >> 13));
}

static inline uint16_t brain_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    const uint32_t rounded = (size + 0x7fffu + (size >> 16 & 1)) >> 16;
    return (uint16_t)(sign | (rounded > 0x7f7fu ? 0x7f7fu : rounded));
}

static inline float single_of(int32_t value, float step)
{
    const float x = (float)value * step;
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

#define SINGLE(V, STEP) single_of(V, STEP)
#define HALF(V, STEP) half_of((float)(V) * (STEP))
#define BRAIN(V, STEP) brain_of((float)(V) * (STEP))
#define SAME(V, STEP) (V)
/* a statement for each type: `to` is the output as that type */
#define BY_TYPE(EACH)                                                                                                  \
    switch (type) {                                                                                                    \
    case TENSOR_FLOAT32:                                                                                               \
        EACH(float, SINGLE);                                                                                           \
        break;                                                                                                         \
    case TENSOR_FLOAT16:                                                                                               \
        EACH(uint16_t, HALF);                                                                                          \
        break;                                                                                                         \
    case TENSOR_BFLOAT16:                                                                                              \
        EACH(uint16_t, BRAIN);                                                                                         \
        break;                                                                                                         \
    default:                                                                                                           \
        EACH(int32_t, SAME);                                                                                           \
    }

static void row_from(ptrdiff_t first, const int32_t *restrict even, const int32_t *restrict odd, ptrdiff_t width,
                     float step, enum tensor_type type, void *restrict out)
{
#define ROW(TYPE, OF)                                                                                                  \
    for (ptrdiff_t i = first; i < width; i++)                                                                          \
    ((TYPE *)out)[i] = (TYPE)OF((i & 1 ? odd : even)[i >> 1], step)
    BY_TYPE(ROW)
#undef ROW
    (void)step;
}

static void across_from(int first, const int32_t *restrict values, ptrdiff_t plane, const float *restrict steps,
                        int count, enum tensor_type type, void *restrict out)
{
#define ACROSS(TYPE, OF)                                                                                               \
    for (int c = first; c < count; c++)                                                                                \
    ((TYPE *)out)[c] = (TYPE)OF(values[c * plane], steps[c])
    BY_TYPE(ACROSS)
#undef ACROSS
}
