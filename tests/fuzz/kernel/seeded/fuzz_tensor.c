/* The coder of tensors: random codings, tensors of any shape that come back, and payloads that were changed. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "cpu/cpu.h"
#include "tensor/tensor.h"

static uint16_t *random_frequencies(void)
{
    const size_t count = 2 * TENSOR_ENTRIES;
    uint16_t *freq = take(count * sizeof *freq);
    for (int b = 0; b < 2 * TENSOR_BUCKETS; b++) {
        int left = (1 << TENSOR_PRECISION) - 1;
        uint16_t *row = freq + b * TENSOR_SYMBOLS;
        for (int s = 1; s < TENSOR_SYMBOLS; s++)
            left -= row[s] = (uint16_t)between(0, left < 64 ? left : 64);
        row[TENSOR_ESCAPE] = (uint16_t)(left + 1);
    }
    return freq;
}

/* A coding of random numbers, of which a few lie outside their range; NULL where it was refused. */
static tensor_coder *random_tensor_coder(int channels)
{
    const size_t models = (size_t)channels * TENSOR_PHASES;
    uint8_t *count = take(models), *spiked = take((size_t)channels), *fine = take((size_t)channels);
    ptrdiff_t taps = 0;
    for (size_t i = 0; i < models; i++)
        taps += count[i] = (uint8_t)between(0, 3);
    uint16_t *back = take((size_t)taps * 2 + 1), *activity = take(models * TENSOR_SUMS * 2);
    int8_t *shift = take((size_t)taps * 2 + 1);
    int16_t *weight = take((size_t)taps * 2 + 1);
    int32_t *bias = take(models * 4), *means = take((size_t)channels * 4);
    float *steps = take((size_t)channels * 4);
    uint16_t *freq = random_frequencies();
    for (ptrdiff_t i = 0, model = 0, end = count[0]; i < taps; i++) {
        while (i == end)
            end += count[++model];
        back[i] = (uint16_t)(one_in(200) ? between(0, 65535) : between(0, model / TENSOR_PHASES));
        shift[2 * i] = (int8_t)(back[i] || model % TENSOR_PHASES == 2 ? between(-1, 1) : 0);
        shift[2 * i + 1] = (int8_t)(back[i] ? between(-1, 1) : 0);
        if (!back[i] && model % TENSOR_PHASES == 2)
            shift[2 * i] = one_in(2) ? -1 : 1;
        if (!back[i] && model % TENSOR_PHASES != 2) { /* nearly everything of its own is not known yet */
            back[i] = model >= TENSOR_PHASES;
            weight[i] = 0;
        }
        weight[i] = (int16_t)(one_in(50) ? between(-32768, 32767) : between(-2048, 2048));
    }
    for (size_t i = 0; i < models * TENSOR_SUMS; i++)
        activity[i] = (uint16_t)between(0, 6000);
    for (size_t i = 0; i < models; i++)
        bias[i] = (int32_t)(one_in(100) ? between(-2, 1 << 30) : between(0, 1 << 18));
    for (int i = 0; i < channels; i++) {
        spiked[i] = one_in(3);
        fine[i] = one_in(100) ? 2 : one_in(2);
        means[i] = spiked[i] ? 0 : (int32_t)(one_in(20) ? between(INT32_MIN, INT32_MAX) : between(-300, 300));
        steps[i] = ldexpf((float)between(1, 100), (int)between(-10, 3));
    }
    const tensor_parts parts = {channels, steps, means, spiked, fine, count, back, shift, weight, taps, activity, bias, freq};
    tensor_coder *coder;
    tensor_coder_new(&coder, &parts);
    free(count);
    free(spiked);
    free(fine);
    free(back);
    free(activity);
    free(shift);
    free(weight);
    free(bias);
    free(means);
    free(steps);
    free(freq);
    return coder;
}

static size_t bytes_of(enum tensor_type type)
{
    return type == TENSOR_FLOAT32 || type == TENSOR_INT32 ? 4 : 2;
}

/* Decodes payloads of one or two shapes in one call, the first of which may have been changed; on two paths. */
static void decode(const tensor_coder *coder, const uint8_t *payload, size_t size, const tensor_shape *shape, int copies,
                   int changed, const float *values)
{
    const size_t count = (size_t)(shape->frames * shape->height * shape->width) * (size_t)coder->channels;
    const enum tensor_type type = values ? TENSOR_INT32 : (enum tensor_type)between(0, TENSOR_TYPES - 1);
    uint8_t *forged = take(size), *out[2] = {take(count * (size_t)copies * 4), take(count * (size_t)copies * 4)};
    int status[2], failed;
    if (size)
        memcpy(forged, payload, size);
    for (int i = 0; i < changed && size; i++)
        forged[between(0, (int64_t)size - 1)] = (uint8_t)chance();
    const size_t cut = changed && one_in(3) ? (size_t)between(0, (int64_t)size) : size;
    uint8_t *exact = take(cut);
    if (cut)
        memcpy(exact, forged, cut);
    const int path = kernel_path();
    for (int pass = 0; pass < 2; pass++) {
        tensor_job *jobs = take((size_t)copies * sizeof *jobs);
        for (int i = 0; i < copies; i++)
            jobs[i] = (tensor_job){{*shape, i}, i ? payload : exact, i ? size : cut, type,
                                   out[pass] + count * (size_t)i * bytes_of(type)};
        if (pass)
            force_path(PATH_PORTABLE);
        status[pass] = tensor_decode(coder, jobs, copies, &failed);
        EXPECT(status[pass] ? failed == 0 : failed == -1);
        free(jobs);
    }
    force_path(path);
    EXPECT(!status[0] == !status[1]);
    EXPECT(changed || !status[0]);
    if (!status[0])
        EXPECT(memcmp(out[0], out[1], count * (size_t)copies * bytes_of(type)) == 0);
    if (values && !status[0] && !changed)
        for (size_t i = 0; i < count; i++) {
            const size_t inner = (size_t)shape->inner;
            const size_t channel = i / (count / (size_t)coder->channels), position = i % (count / (size_t)coder->channels);
            const size_t at = (position / inner * (size_t)coder->channels + channel) * inner + position % inner;
            const double multiple = (double)(values[i] / coder->steps[channel]);
            EXPECT(coder->fine[channel] ? fabs(((int32_t *)out[0])[at] - multiple) <= 4.001
                                        : ((int32_t *)out[0])[at] == (int32_t)rint(multiple));
        }
    free(exact);
    free(forged);
    free(out[0]);
    free(out[1]);
}

/* Codes copies of a tensor, some of another type, in one call on two paths; the payload of the first, or NULL where a
 * value lies beyond. */
static uint8_t *encode(const tensor_coder *coder, const tensor_shape *shape, const float *values, size_t count,
                       size_t *size)
{
    const int copies = (int)between(1, 20), path = kernel_path();
    tensor_source_job *jobs[2];
    uint8_t *brains = take(count * 2), *payload = NULL;
    for (size_t i = 0; i < 2 * count; i++)
        brains[i] = ((const uint8_t *)values)[i / 2 * 4 + 2 + i % 2];
    const uint32_t drawn = (uint32_t)chance();
    int status[2], failed[2];
    for (int pass = 0; pass < 2; pass++) {
        jobs[pass] = take((size_t)copies * sizeof *jobs[pass]);
        for (int i = 0; i < copies; i++) {
            const int brain = i && drawn >> i & 1;
            jobs[pass][i] = (tensor_source_job){{*shape, i}, brain ? TENSOR_BFLOAT16 : TENSOR_FLOAT32,
                                                brain ? (const void *)brains : values, NULL, 0};
        }
        if (pass)
            force_path(PATH_PORTABLE);
        status[pass] = tensor_encode(coder, jobs[pass], copies, &failed[pass]);
    }
    force_path(path);
    EXPECT(status[0] == status[1] && failed[0] == failed[1]);
    EXPECT(!status[0] || status[0] == LS_WRONG_SHAPE || status[0] == LS_BAD_ARGUMENT);
    for (int i = 0; i < copies; i++) {
        EXPECT(jobs[0][i].size == jobs[1][i].size && !jobs[0][i].payload == !jobs[1][i].payload);
        if (jobs[0][i].size)
            EXPECT(!memcmp(jobs[0][i].payload, jobs[1][i].payload, jobs[0][i].size));
    }
    *size = jobs[0]->size;
    if (!status[0])
        payload = take(*size);
    if (!status[0] && *size)
        memcpy(payload, jobs[0]->payload, *size);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < copies; i++)
            free(jobs[pass][i].payload);
        free(jobs[pass]);
    }
    free(brains);
    return payload;
}

void fuzz_tensor(void)
{
    const int channels = (int)between(1, at_most(20, 4));
    tensor_coder *coder = random_tensor_coder(channels);
    if (!coder)
        return;
    const int64_t most = at_most(one_in(20) ? 60 : 12, 6);
    tensor_shape shape = {between(0, 3), between(0, most), between(0, most), 1};
    if (one_in(2)) /* channels first, or before the last axis of two, or last */
        shape.inner = shape.frames * shape.height * shape.width;
    else if (one_in(2))
        shape.inner = shape.width;
    if (shape.inner < 1)
        shape.inner = 1;
    const size_t count = (size_t)(shape.frames * shape.height * shape.width) * (size_t)channels;
    float *values = floats(count, 0);
    for (size_t i = 0; i < count; i++)
        values[i] *= one_in(100) ? 1e6f : one_in(3) ? 0 : 10;
    size_t size;
    uint8_t *payload = encode(coder, &shape, values, count, &size);
    if (payload) {
        decode(coder, payload, size, &shape, (int)between(1, 20), 0, values);
        decode(coder, payload, size, &shape, (int)between(1, 3), (int)between(1, 3), NULL);
    }
    free(payload);
    free(values);
    tensor_coder_free(coder);
}
