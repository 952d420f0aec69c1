/* The inner loops in plain C, and which path runs. */
#include "cpu/cpu.h"
#include "tensor/tensor.h"

#include <float.h>
#include <string.h>

#include "tensor/simd/block_portable.h"
#include "tensor/simd/output.h"
#include "tensor/simd/quantise.h"
#include "tensor/simd/trellis.h"
#include "tensor/simd/trellis_portable.h"
#include "tensor/simd/widen.h"

int tensor_read_escape(tensor_lanes_state *lanes, int sample, int32_t *high)
{
    uint64_t z = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        if (lanes->escape[sample] == lanes->escape_end[sample])
            return LS_CORRUPT;
        const uint8_t byte = *--lanes->escape[sample];
        z |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            if (z >> 32 || (shift && !byte)) /* only the shortest spelling is one */
                return LS_CORRUPT;
            *high = (int32_t)((uint32_t)(z >> 1) ^ (0u - (uint32_t)(z & 1)));
            return LS_OK;
        }
    }
    return LS_CORRUPT;
}

static inline uint32_t refilled(const uint8_t *base, uint32_t state, int32_t *at)
{
    if (state >= LS_STATE_LOW)
        return state;
    state = state << 16 | (uint32_t)(base[*at] | base[*at + 1] << 8);
    *at += 2;
    return state;
}

int tensor_read_plain(const tensor_coder *coder, tensor_lanes_state *lanes, int spiked, ptrdiff_t first,
                      ptrdiff_t count, const uint8_t *bucket, int32_t *residual, int *failed)
{
    for (ptrdiff_t t = first; t < count; t += lanes->lanes)
        for (int sample = 0; sample < lanes->samples; sample++)
            for (int lane = 0; lane < lanes->lanes && t + lane < count; lane++) {
                const int k = sample * lanes->lanes + lane, b = bucket[sample * count + t + lane];
                const int shift = tensor_shift(b);
                uint32_t state = lanes->state[k];
                const uint32_t slot = state & ((1u << TENSOR_PRECISION) - 1);
                const uint32_t entry = coder->slots[spiked][((uint32_t)b << TENSOR_PRECISION) + slot];
                int32_t high = (int32_t)entry >> 24;
                state = (entry >> 12 & 0xfff) * (state >> TENSOR_PRECISION) + (entry & 0xfff);
                state = refilled(lanes->base, state, lanes->at + k);
                if (high == TENSOR_ESCAPE - TENSOR_CENTRE && tensor_read_escape(lanes, sample, &high)) {
                    *failed = sample;
                    return LS_CORRUPT;
                }
                if (spiked && (int32_t)entry >> 24 == TENSOR_SPIKE - TENSOR_CENTRE)
                    high = TENSOR_SPIKED;
                else if (shift) {
                    high = (int32_t)((uint32_t)high << shift | (state & ((1u << shift) - 1)));
                    state = refilled(lanes->base, state >> shift, lanes->at + k);
                }
                lanes->state[k] = state;
                residual[sample * count + t + lane] = high;
                if (lanes->at[k] > lanes->end[k]) {
                    *failed = sample;
                    return LS_TRUNCATED;
                }
            }
    return LS_OK;
}

static int quantise(const float *values, ptrdiff_t width, float step, int32_t mean, int32_t *even, int32_t *odd,
                    int16_t *even_narrow, int16_t *odd_narrow)
{
    return quantise_from(0, values, width, step, mean, even, odd, even_narrow, odd_narrow);
}

static int quantise_finely(const float *values, ptrdiff_t width, float step, int32_t mean, int32_t *even, int32_t *odd,
                           int16_t *even_part, int16_t *odd_part)
{
    return part_from(0, values, width, step, mean, even, odd, even_part, odd_part);
}

static int widen(const void *values, ptrdiff_t count, enum tensor_type type, float *out)
{
    return widen_from(0, 0, values, count, type, out);
}

static int read_residuals(const tensor_coder *coder, tensor_lanes_state *lanes, int spiked, ptrdiff_t count,
                          const uint8_t *bucket, int32_t *residual, int *failed)
{
    return tensor_read_plain(coder, lanes, spiked, 0, count, bucket, residual, failed);
}

static int code_residuals(const tensor_coder *coder, tensor_writers *writers, int spiked, ptrdiff_t count,
                          const uint8_t *bucket, const int32_t *residual)
{
    return tensor_code_plain(coder, writers, spiked, 0, count, count, bucket, residual);
}

static void write_row(const int32_t *even, const int32_t *odd, ptrdiff_t width, float step, enum tensor_type type,
                      void *out)
{
    row_from(0, even, odd, width, step, type, out);
}

static void write_across(const int32_t *values, ptrdiff_t plane, const float *steps, int count, enum tensor_type type,
                         void *out)
{
    across_from(0, values, plane, steps, count, type, out);
}

const tensor_path tensor_path_portable = {
    predict, contexts,       rebuild,        settle, subtract,  quantise,     quantise_finely,
    choose,  unfold,         read_residuals, code_residuals,    widen,        write_row,       write_across,
};

/* AVX-512 runs the loops of AVX2, which wait for tables and not for lanes; NEON those that a compiler makes. */
const tensor_path *tensor_current_path(void)
{
    switch (kernel_path()) {
#if defined(__x86_64__) && defined(__GNUC__)
    case PATH_AVX512:
    case PATH_AVX2:
        return &tensor_path_avx2;
#endif
    default:
        return &tensor_path_portable;
    }
}
