/* From values to a payload: everything is known, so predictions and contexts of all phases come first, and rANS goes
 * through them backwards. */
#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

/* The residuals and contexts of one sample, in the order of decoding. */
typedef struct {
    int32_t *residual;
    uint8_t *bucket;
    int64_t count;
    int64_t *ends; /* where each phase of each channel ends */
} symbols;

/* High parts that no table has, from the last to be decoded to the first. */
typedef struct {
    int32_t *high;
    size_t count, room;
} escapes;

static int quantise_channel(tensor_work *w, const tensor_coder *coder, const tensor_path *path, const float *values,
                            int channel)
{
    const tensor_geometry *g = &w->g;
    const tensor_shape s = g->shape;
    const ptrdiff_t plane = tensor_value_plane(g);
    int good = 1;
    for (int64_t row = 0; row < s.frames * s.height; row++) {
        const int64_t z = row / s.height, y = row % s.height;
        const ptrdiff_t at = (z * g->h + (y >> 1)) * g->w;
        const int even = y & 1 ? 2 : 0, odd = y & 1 ? 1 : 3;
        int32_t *odd_value = w->residual; /* where there is none, nothing is written */
        int16_t *odd_narrow = w->prediction;
        if (g->order[odd] >= 0) {
            odd_value = w->value + g->order[odd] * plane + at;
            odd_narrow = tensor_plane(w, channel, odd) + at;
        }
        good &= path->quantise(values + row * s.width, s.width, coder->steps[channel], coder->means[channel],
                               w->value + g->order[even] * plane + at, odd_value, tensor_plane(w, channel, even) + at,
                               odd_narrow);
    }
    return good;
}

static int take_phase(tensor_work *w, const tensor_coder *coder, const tensor_path *path, int channel, int phase,
                       symbols *out)
{
    const tensor_geometry *g = &w->g;
    const tensor_phase *p = g->phase + phase;
    tensor_run run;
    tensor_activity activity;
    tensor_run_make(&run, w, coder, channel, phase);
    path->predict(&run, g->size, w->prediction);
    tensor_activity_make(&activity, w, coder, channel, phase);
    path->contexts(&activity, g->size, w->bucket);
    int16_t *magnitude = tensor_near(w, w->magnitude, phase);
    const int32_t *value = w->value + g->order[phase] * tensor_value_plane(g);
    path->subtract(value, w->prediction, g->size, w->residual, magnitude);
    for (ptrdiff_t i = 0; coder->spiked[channel] && i < g->size; i++) {
        if (w->residual[i] == TENSOR_SPIKED)
            return LS_WRONG_SHAPE;
        w->residual[i] = value[i] ? w->residual[i] : TENSOR_SPIKED;
    }
    for (int64_t z = 0; z < g->shape.frames; z++)
        for (int64_t y = 0; y < g->h; y++) {
            const int64_t at = (z * g->h + y) * g->w, columns = y < p->rows ? p->columns : 0;
            memcpy(out->residual + out->count, w->residual + at, (size_t)columns * 4);
            memcpy(out->bucket + out->count, w->bucket + at, (size_t)columns);
            out->count += columns;
            for (int64_t x = columns; x < g->w; x++)
                magnitude[at + x] = 0;
        }
    return LS_OK;
}

/* Every residual of a sample, and its context. */
static int make_symbols(tensor_work *w, const tensor_coder *coder, const float *values, symbols *out)
{
    const tensor_geometry *g = &w->g;
    const tensor_path *path = tensor_current_path();
    const int64_t positions = g->shape.frames * g->shape.height * g->shape.width;
    for (int channel = 0; channel < coder->channels; channel++) {
        if (!quantise_channel(w, coder, path, values + channel * positions, channel))
            return LS_WRONG_SHAPE;
        for (int phase = 0; phase < TENSOR_PHASES; phase++) {
            if (g->order[phase] >= 0 && take_phase(w, coder, path, channel, phase, out))
                return LS_WRONG_SHAPE;
            out->ends[channel * TENSOR_PHASES + phase] = out->count;
        }
        for (int phase = 0; phase < TENSOR_PHASES; phase++)
            if (g->order[phase] >= 0)
                path->settle(tensor_near(w, w->magnitude, phase), g->size, tensor_near(w, w->activity, phase));
    }
    return LS_OK;
}

static int add_escape(escapes *e, int32_t high)
{
    if (e->count == e->room) {
        const size_t room = 2 * e->room + 64;
        int32_t *more = realloc(e->high, room * sizeof *more);
        if (!more)
            return LS_NO_MEMORY;
        e->high = more;
        e->room = room;
    }
    e->high[e->count++] = high;
    return LS_OK;
}

/* Writes the low word of a state, which counts only if it is needed: no branch can guess that. */
static inline void put_word(uint8_t **end, uint32_t *x, int needed)
{
    uint8_t *to = *end - 2;
    to[0] = (uint8_t)*x;
    to[1] = (uint8_t)(*x >> 8);
    *end = needed ? to : *end;
    *x = needed ? *x >> 16 : *x;
}

/* Codes a phase backwards. A decoder takes a word, where a lane needs one, after the high part and again after the low
 * bits. begin: of each lane, where its words begin so far. */
static int write_phase(const tensor_coder *coder, const symbols *s, int spiked, int64_t first, int64_t count, int lanes,
                       uint32_t *states, uint8_t **begin, escapes *e)
{
    const uint8_t *bucket = s->bucket + first;
    const int32_t *residual = s->residual + first;
    for (int64_t i = count - 1; i >= 0; i--) {
        const int k = (int)(i & (lanes - 1));
        int shift = tensor_shift(bucket[i]);
        const int32_t high = residual[i] >> shift;
        const tensor_symbol *symbol = coder->symbols[spiked] + bucket[i] * TENSOR_SYMBOLS;
        const uint32_t code = (uint32_t)high + TENSOR_CENTRE;
        if (spiked && residual[i] == TENSOR_SPIKED && symbol[TENSOR_SPIKE].freq) {
            symbol += TENSOR_SPIKE;
            shift = 0;
        } else if (code - 1 < TENSOR_SYMBOLS - 1 && symbol[code].freq && !(spiked && code == TENSOR_SPIKE))
            symbol += code;
        else if (add_escape(e, high))
            return LS_NO_MEMORY;
        uint32_t x = states[k];
        if (shift) {
            put_word(begin + k, &x, x >> (32 - shift) != 0);
            x = x << shift | ((uint32_t)residual[i] & ((1u << shift) - 1));
        }
        const uint32_t freq = symbol->freq;
        put_word(begin + k, &x, x >> (32 - TENSOR_PRECISION) >= freq);
        uint32_t quotient = (uint32_t)((uint64_t)x * symbol->reciprocal >> 32), rest = x - quotient * freq;
        quotient += rest >= freq;
        rest -= rest >= freq ? freq : 0;
        states[k] = (quotient << TENSOR_PRECISION) + rest + symbol->start;
    }
    return LS_OK;
}

static size_t put_varint(uint8_t *to, uint32_t number)
{
    size_t size = 0;
    for (; number >= 128; number >>= 7)
        to[size++] = (uint8_t)(number | 128);
    to[size++] = (uint8_t)number;
    return size;
}

/* States, sizes of all lanes but the last, words of all lanes, and escapes, the first of them at the very end. */
static int join(const escapes *e, int lanes, const uint32_t *states, uint8_t *const *begin, uint8_t *const *end,
                uint8_t **payload, size_t *size)
{
    size_t total = 9 * (size_t)lanes + 5 * e->count;
    for (int k = 0; k < lanes; k++)
        total += (size_t)(end[k] - begin[k]);
    uint8_t *to = malloc(total);
    if (!(*payload = to))
        return LS_NO_MEMORY;
    for (int k = 0; k < lanes; k++)
        for (int byte = 0; byte < 4; byte++)
            *to++ = (uint8_t)(states[k] >> 8 * byte);
    for (int k = 0; k + 1 < lanes; k++)
        to += put_varint(to, (uint32_t)((end[k] - begin[k]) / 2));
    for (int k = 0; k < lanes; k++) {
        memcpy(to, begin[k], (size_t)(end[k] - begin[k]));
        to += end[k] - begin[k];
    }
    for (size_t i = 0; i < e->count; i++) {
        uint8_t varint[5];
        const int32_t high = e->high[i];
        const size_t length = put_varint(varint, (uint32_t)high << 1 ^ (0u - ((uint32_t)high >> 31)));
        for (size_t byte = length; byte-- > 0;)
            *to++ = varint[byte];
    }
    *size = (size_t)(to - *payload);
    return LS_OK;
}

static int write_payload(const tensor_coder *coder, const symbols *s, int lanes, uint8_t **payload, size_t *size)
{
    /* a value takes two words at most, and a lane the first value of each step */
    size_t each = 2;
    for (int i = 0; i < coder->channels * TENSOR_PHASES; i++)
        each += 4 * (size_t)((s->ends[i] - (i ? s->ends[i - 1] : 0) + lanes - 1) / lanes);
    uint8_t *memory = malloc(each * (size_t)lanes), *begin[LS_MAX_LANES], *end[LS_MAX_LANES];
    uint32_t states[LS_MAX_LANES];
    escapes e = {0};
    if (!memory)
        return LS_NO_MEMORY;
    for (int k = 0; k < lanes; k++) {
        states[k] = LS_STATE_LOW;
        begin[k] = end[k] = memory + each * (size_t)(k + 1);
    }
    int status = LS_OK;
    for (int i = coder->channels * TENSOR_PHASES - 1; i >= 0 && !status; i--) {
        const int64_t first = i ? s->ends[i - 1] : 0;
        status = write_phase(coder, s, coder->spiked[i / TENSOR_PHASES], first, s->ends[i] - first, lanes, states, begin, &e);
    }
    if (!status)
        status = join(&e, lanes, states, begin, end, payload, size);
    free(memory);
    free(e.high);
    return status;
}

int tensor_encode(const tensor_coder *coder, const tensor_shape *shape, const float *values, uint8_t **payload,
                  size_t *size)
{
    tensor_geometry g;
    tensor_work work = {0};
    symbols s = {0};
    *payload = NULL;
    *size = 0;
    int status = tensor_geometry_make(&g, shape, coder->channels, 1);
    if (status || !g.grid)
        return status;
    const size_t count = (size_t)(g.shape.frames * g.shape.height * g.shape.width) * (size_t)coder->channels;
    status = tensor_work_make(&work, &g, coder->channels);
    s.residual = malloc(count * 4);
    s.bucket = malloc(count);
    s.ends = malloc((size_t)coder->channels * TENSOR_PHASES * sizeof *s.ends);
    if (!status && (!s.residual || !s.bucket || !s.ends))
        status = LS_NO_MEMORY;
    if (!status)
        status = make_symbols(&work, coder, values, &s);
    if (!status)
        status = write_payload(coder, &s, g.lanes, payload, size);
    tensor_work_free(&work);
    free(s.residual);
    free(s.bucket);
    free(s.ends);
    return status;
}
