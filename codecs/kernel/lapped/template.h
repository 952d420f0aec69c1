/* The loops of lapped_loops.h for vectors of LANES floats; included once per path after rows_template.h, whose vectors
 * these are. LAPPED_NAME is defined. */
#include "lapped/loops.h"

static void split(const float *restrict samples, size_t inputs, size_t n, float *restrict rows, size_t stride)
{
    if (inputs == 1) {
        memcpy(rows, samples, n * sizeof *rows);
    } else if (inputs == 2) { /* a stride that the compiler knows becomes shuffles */
        float *restrict left = rows, *restrict right = rows + stride;
        for (size_t x = 0; x < n; x++)
            left[x] = samples[2 * x], right[x] = samples[2 * x + 1];
    } else {
        for (size_t i = 0; i < inputs; i++)
            for (size_t x = 0; x < n; x++)
                rows[i * stride + x] = samples[x * inputs + i];
    }
}

static void join(const float *restrict rows, size_t stride, size_t inputs, size_t n, float *restrict samples)
{
    if (inputs == 1) {
        memcpy(samples, rows, n * sizeof *rows);
    } else if (inputs == 2) {
        const float *restrict left = rows, *restrict right = rows + stride;
        for (size_t x = 0; x < n; x++)
            samples[2 * x] = left[x], samples[2 * x + 1] = right[x];
    } else {
        for (size_t i = 0; i < inputs; i++)
            for (size_t x = 0; x < n; x++)
                samples[x * inputs + i] = rows[i * stride + x];
    }
}

static void mix(const float *matrix, size_t down, size_t right, size_t inputs, const float *rows, size_t stride, size_t n,
                float *out)
{
    for (size_t j = 0; j < inputs; j++)
        for (size_t x = 0; x < n; x += LANES) {
            vec sum = {0};
            for (size_t i = 0; i < inputs; i++)
                sum += matrix[j * down + i * right] * LOAD(rows + i * stride + x);
            STORE(out + j * stride + x, sum);
        }
}

#define VECTORS (PANEL / LANES)
#define AT_ONCE (LANES == 16 ? 12 : LANES == 8 ? 4 : 2) /* divides INSTANTS; sums that fit the registers */

static void correlate(const float *panel, const float *mixed, size_t hop, size_t count, float *out)
{
    for (size_t first = 0; first < count; first += AT_ONCE) {
        const float *from = mixed + first * hop;
        vec sums[AT_ONCE][VECTORS] = {0};
        for (size_t j = 0; j < 2 * hop; j++)
            for (size_t i = 0; i < AT_ONCE; i++)
                for (size_t v = 0; v < VECTORS; v++)
                    sums[i][v] += LOAD(panel + j * PANEL + v * LANES) * from[i * hop + j];
        for (size_t i = 0; i < AT_ONCE; i++)
            for (size_t v = 0; v < VECTORS; v++)
                STORE(out + (first + i) * PANEL + v * LANES, sums[i][v]);
    }
}

static void quantise_lanes(const float *x, const float *rounding, size_t count, int8_t *out, int32_t *outside)
{
    const ivec magnitude_bits = (ivec){0} + 0x7fffffff;
    const vec largest = (vec){0} + 127.0f;
    for (size_t at = 0; at < count * PANEL; at += LANES) {
        ivec bits = (ivec)LOAD(x + at);
        ivec negative = bits >> 31;
        vec t = (vec)(bits & magnitude_bits) + LOAD(rounding + at % PANEL);
        ivec fits = t < 128.0f;
        ivec q = __builtin_convertvector(select(fits, t, largest), ivec);
        *(bvec *)(out + at) = __builtin_convertvector((q ^ negative) - negative, bvec);
        *(ivec *)(outside + at % PANEL) -= ~fits;
    }
}

static void scale_lanes(float *x, const float *factor, size_t count)
{
    for (size_t at = 0; at < count * PANEL; at += LANES)
        STORE(x + at, LOAD(x + at) * LOAD(factor + at % PANEL));
}

static void add_terms(float *sums, size_t n, const float *basis, size_t stride, const struct term *terms, size_t count)
{
    size_t x = 0;
    for (; x + 4 * LANES <= n; x += 4 * LANES) {
        vec a = LOAD(sums + x), b = LOAD(sums + x + LANES);
        vec c = LOAD(sums + x + 2 * LANES), d = LOAD(sums + x + 3 * LANES);
        for (size_t i = 0; i < count; i++) {
            const float *row = basis + terms[i].channel * stride + x;
            const float value = terms[i].value;
            a += value * LOAD(row), b += value * LOAD(row + LANES);
            c += value * LOAD(row + 2 * LANES), d += value * LOAD(row + 3 * LANES);
        }
        STORE(sums + x, a), STORE(sums + x + LANES, b);
        STORE(sums + x + 2 * LANES, c), STORE(sums + x + 3 * LANES, d);
    }
    for (; x < n; x++)
        for (size_t i = 0; i < count; i++)
            sums[x] += terms[i].value * basis[terms[i].channel * stride + x];
}

const struct lapped_ops LAPPED_NAME = {split, join, mix, correlate, quantise_lanes, scale_lanes, add_terms};
