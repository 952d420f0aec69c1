/* From values to multiples of a step. */

/* The nearest integer, ties to the even one: doubles of this size have no fraction. 0 for what lies beyond. */
static inline int32_t nearest(float q)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    return q > -TENSOR_BEYOND && q < TENSOR_BEYOND ? (int32_t)((double)q + magic - magic) : 0;
}

/* The same, and what is left of each value, in 1/8192 of the step. */
static int part_from(ptrdiff_t first, const float *restrict values, ptrdiff_t width, float step, int32_t mean,
                     int32_t *restrict even, int32_t *restrict odd, int16_t *restrict even_part,
                     int16_t *restrict odd_part)
{
    int good = 1;
    for (ptrdiff_t i = first; i < width; i++) {
        const float q = values[i] / step;
        const int32_t whole = nearest(q);
        good &= q > -TENSOR_BEYOND && q < TENSOR_BEYOND;
        (i & 1 ? odd : even)[i >> 1] = (int32_t)((uint32_t)whole - (uint32_t)mean);
        (i & 1 ? odd_part : even_part)[i >> 1] = (int16_t)nearest((q - (float)whole) * (1 << TENSOR_PART_BITS));
    }
    return good;
}

static int quantise_from(ptrdiff_t first, const float *restrict values, ptrdiff_t width, float step, int32_t mean,
                         int32_t *restrict even, int32_t *restrict odd, int16_t *restrict even_narrow,
                         int16_t *restrict odd_narrow)
{
    int good = 1;
    for (ptrdiff_t i = first; i < width; i++) {
        const float q = values[i] / step;
        const int32_t v = (int32_t)((uint32_t)nearest(q) - (uint32_t)mean);
        good &= q > -TENSOR_BEYOND && q < TENSOR_BEYOND;
        (i & 1 ? odd : even)[i >> 1] = v;
        (i & 1 ? odd_narrow : even_narrow)[i >> 1] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
    }
    return good;
}
