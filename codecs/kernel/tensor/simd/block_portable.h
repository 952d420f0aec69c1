/* Whole blocks of 16 values in plain C, which compilers turn into vectors of whatever width there is. */
#define BLOCK 16

static void predict(const tensor_run *run, ptrdiff_t size, int16_t *restrict prediction)
{
    for (ptrdiff_t at = 0; at < size; at += BLOCK) {
        int32_t sum[BLOCK];
        for (int i = 0; i < BLOCK; i++)
            sum[i] = 1 << (TENSOR_WEIGHT_BITS - 1);
        for (int t = 0; t < run->masks; t++) {
            const int16_t *value = run->masked[t].value + at, *mask = run->masked[t].mask + at;
            const int32_t weight = run->masked_weight[t];
            for (int i = 0; i < BLOCK; i++)
                sum[i] += weight * (value[i] & mask[i]);
        }
        for (int t = 0; t < run->insides; t++) {
            const int32_t weight = run->inside_weight[t];
            for (int i = 0; i < BLOCK; i++)
                sum[i] += weight * run->inside[t][at + i];
        }
        for (int i = 0; i < BLOCK; i++) {
            const int32_t p = sum[i] >> TENSOR_WEIGHT_BITS;
            prediction[at + i] = (int16_t)(p > 32767 ? 32767 : p < -32768 ? -32768 : p);
        }
    }
}

static void contexts(const tensor_activity *a, ptrdiff_t size, uint8_t *restrict bucket)
{
    for (ptrdiff_t at = 0; at < size; at += BLOCK) {
        int32_t expected[BLOCK];
        for (int i = 0; i < BLOCK; i++)
            expected[i] = a->bias;
        for (int j = 0, t = 0; j < TENSOR_SUMS; j++) {
            int32_t sum[BLOCK] = {0};
            if (t == a->end[j])
                continue;
            for (; t < a->inside[j]; t++)
                for (int i = 0; i < BLOCK; i++)
                    sum[i] += a->source[t].value[at + i];
            for (; t < a->end[j]; t++) {
                const int16_t *value = a->source[t].value + at, *mask = a->source[t].mask + at;
                for (int i = 0; i < BLOCK; i++)
                    sum[i] += value[i] & mask[i];
            }
            for (int i = 0; i < BLOCK; i++)
                expected[i] += a->weight[j] * (sum[i] > 32767 ? 32767 : sum[i]);
        }
        for (int i = 0; i < BLOCK; i++) {
            const float f = (float)(expected[i] >> TENSOR_ACTIVITY_BITS);
            int32_t bits;
            memcpy(&bits, &f, 4);
            bits = (bits >> 21) - (130 << 2); /* quarters of an octave, from 8 on */
            bucket[at + i] = (uint8_t)(bits < 0 ? 0 : bits >= TENSOR_BUCKETS ? TENSOR_BUCKETS - 1 : bits);
        }
    }
}

static void rebuild(const int32_t *restrict residual, const int16_t *restrict prediction, int32_t mean, int spiked,
                    int unit, ptrdiff_t size, int32_t *restrict value, int16_t *restrict narrow, int16_t *restrict magnitude)
{
    const uint32_t most = (uint32_t)tensor_most(unit);
    for (ptrdiff_t i = 0; i < size; i++) {
        const int spike = spiked && residual[i] == TENSOR_SPIKED;
        const uint32_t r = spike ? (uint32_t)-prediction[i] : (uint32_t)residual[i], m = r >> 31 ? 0u - r : r;
        const int32_t v = (int32_t)(r + (uint32_t)(int32_t)prediction[i]);
        value[i] = (int32_t)((uint32_t)v + (uint32_t)mean);
        narrow[i] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
        magnitude[i] = (int16_t)((m > most ? most : m) * (uint32_t)unit);
    }
}

static void settle(const int16_t *restrict magnitude, ptrdiff_t size, int16_t *restrict activity)
{
    for (ptrdiff_t i = 0; i < size; i++)
        activity[i] = (int16_t)(activity[i] + ((magnitude[i] - activity[i]) >> 3));
}

static void subtract(const int32_t *restrict value, const int16_t *restrict prediction, int unit, ptrdiff_t size,
                     int32_t *restrict residual, int16_t *restrict magnitude)
{
    const uint32_t most = (uint32_t)tensor_most(unit);
    for (ptrdiff_t i = 0; i < size; i++) {
        const uint32_t r = (uint32_t)value[i] - (uint32_t)(int32_t)prediction[i], m = r >> 31 ? 0u - r : r;
        residual[i] = (int32_t)r;
        if (magnitude)
            magnitude[i] = (int16_t)((m > most ? most : m) * (uint32_t)unit);
    }
}
