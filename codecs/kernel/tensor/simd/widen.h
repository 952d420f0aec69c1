/* From the types of tensors to floats: plain C, which compilers turn into vectors. */

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* most: the largest value before the `first` one, as bits without its sign. */
static int widen_from(ptrdiff_t first, uint32_t most, const void *values, ptrdiff_t count, enum tensor_type type,
                      float *restrict out)
{
    uint32_t infinite = 0x7f800000;
    if (type == TENSOR_FLOAT16) {
        const uint16_t *v = values;
        infinite = 0x7c00;
        for (ptrdiff_t i = first; i < count; i++) {
            const uint32_t size = v[i] & 0x7fffu;
            most = most > size ? most : size;
            /* the product is exact, and gives subnormal numbers their value, too */
            const float x = float_of(size << 13) * 0x1p112f;
            uint32_t bits;
            memcpy(&bits, &x, 4);
            out[i] = float_of(bits | (v[i] & 0x8000u) << 16);
        }
    } else if (type == TENSOR_BFLOAT16) {
        const uint16_t *v = values;
        for (ptrdiff_t i = first; i < count; i++) {
            const uint32_t bits = (uint32_t)v[i] << 16, size = bits & 0x7fffffffu;
            most = most > size ? most : size;
            out[i] = float_of(bits);
        }
    } else {
        const uint32_t *v = values;
        for (ptrdiff_t i = first; i < count; i++) {
            const uint32_t size = v[i] & 0x7fffffffu;
            most = most > size ? most : size;
        }
    }
    return most < infinite;
}
