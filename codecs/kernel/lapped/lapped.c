#include "lapped/lapped.h"

#include "cpu/cpu.h"
#include "lapped/loops.h"
#include "wavelet/packet.h"

#include <stdlib.h>
#include <string.h>

#define GROUP (2 * INSTANTS) /* instants at a time: their mixed signal stays in L1 */

static const struct lapped_ops *lapped_ops(void)
{
    switch (kernel_path()) {
#if defined(__x86_64__)
    case PATH_AVX2:
        return &lapped_avx2;
    case PATH_AVX512:
        return &lapped_avx512;
#endif
    default:
        return &lapped_portable;
    }
}

static size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

/* Floats from row to row of `n`: whole vectors of any width. */
static size_t row_stride(size_t n)
{
    return (n + PANEL - 1) / PANEL * PANEL;
}

/* --- signal to channels --- */

struct analysis {
    const struct lapped_ops *ops;
    const struct lapped_panels *panels;
    const float *inverse, *rounding; /* no rounding: coefficients are wanted */
    size_t instants, outside;
    float *coefs;
    int8_t *latent;
    float *rows, *mixed; /* inputs rows of (GROUP + 1) * hop */
    size_t stride;
};

/* One panel for the `count` instants from `first` on, whose mixed signals are in a->mixed. */
static void analyse_panel(struct analysis *a, size_t panel, size_t first, size_t count)
{
    const struct lapped_panels *panels = a->panels;
    const int32_t *lanes = panels->lanes + panel * PANEL;
    float x[GROUP * PANEL], inverse[PANEL] = {0}, rounding[PANEL] = {0};
    int8_t symbols[GROUP * PANEL];
    int32_t outside[PANEL] = {0};
    for (size_t lane = 0; lane < PANEL; lane++)
        if (lanes[lane] >= 0) {
            inverse[lane] = a->inverse[lanes[lane]];
            rounding[lane] = a->rounding ? a->rounding[lanes[lane]] : 0.0f;
        }
    a->ops->correlate(panels->basis + panel * 2 * panels->hop * PANEL,
                      a->mixed + (size_t)panels->sources[panel] * a->stride, panels->hop, count, x);
    a->ops->scale(x, inverse, count);
    if (a->rounding)
        a->ops->quantise(x, rounding, count, symbols, outside);
    for (size_t lane = 0; lane < PANEL; lane++) {
        if (lanes[lane] < 0)
            continue;
        const size_t to = (size_t)lanes[lane] * a->instants + first;
        a->outside += (size_t)outside[lane];
        for (size_t i = 0; i < count; i++)
            if (a->rounding)
                a->latent[to + i] = symbols[i * PANEL + lane];
            else
                a->coefs[to + i] = x[i * PANEL + lane];
    }
}

static int check_panels(const struct lapped_panels *panels)
{
    for (size_t p = 0; p < panels->count; p++)
        if (panels->sources[p] < 0 || (size_t)panels->sources[p] >= panels->inputs)
            return FRONT_BAD_TABLE;
    for (size_t i = 0; i < panels->count * PANEL; i++)
        if (panels->lanes[i] < -1 || (panels->lanes[i] >= 0 && (size_t)panels->lanes[i] >= panels->channels))
            return FRONT_BAD_TABLE;
    return FRONT_OK;
}

static int analyse(const float *places, struct analysis *a)
{
    const struct lapped_panels *panels = a->panels;
    const size_t inputs = panels->inputs, hop = panels->hop;
    if (check_panels(panels) != FRONT_OK)
        return FRONT_BAD_TABLE;
    a->ops = lapped_ops();
    a->stride = row_stride((GROUP + 1) * hop);
    a->rows = calloc(2 * inputs * a->stride, sizeof(float)); /* what lies past the last instant is computed with, too */
    if (a->rows == NULL)
        return FRONT_NO_MEMORY;
    a->mixed = a->rows + inputs * a->stride;
    for (size_t first = 0; first < a->instants; first += GROUP) {
        const size_t count = at_most(a->instants - first, GROUP), n = (count + 1) * hop;
        a->ops->split(places + first * hop * inputs, inputs, n, a->rows, a->stride);
        a->ops->mix(panels->mix, inputs, 1, inputs, a->rows, a->stride, n, a->mixed);
        for (size_t p = 0; p < panels->count; p++)
            analyse_panel(a, p, first, count);
    }
    free(a->rows);
    return FRONT_OK;
}

int lapped_coefs(const float *places, size_t instants, const struct lapped_panels *panels, const float *inverse,
                 float *coefs)
{
    struct analysis a = {.panels = panels, .inverse = inverse, .instants = instants, .coefs = coefs};
    return analyse(places, &a);
}

int lapped_latent(const float *places, size_t instants, const struct lapped_panels *panels, const float *inverse,
                  const float *rounding, int8_t *latent, size_t *outside)
{
    struct analysis a = {
        .panels = panels, .inverse = inverse, .rounding = rounding, .instants = instants, .latent = latent};
    int status = analyse(places, &a);
    *outside = a.outside;
    return status;
}

/* --- channels to signal --- */

struct synthesis {
    const struct lapped_ops *ops;
    const struct lapped_tables *tables;
    struct lapped_span span;
    const int8_t *latent;
    size_t given;
    uint32_t *order;    /* given: channels by mixed signal, ascending in each */
    size_t *sizes;      /* inputs: how many channels of `order` are of each mixed signal */
    struct term *terms; /* (GROUP + 1) x given: what adds to a signal at the instants of a group, in that order */
    size_t *ends;       /* (GROUP + 1) x (inputs + 1): where the terms of a mixed signal end and the next one's begin */
    float *mixed, *rows, *frame; /* inputs rows of one block of places; its samples */
    size_t stride;
};

static int order_channels(struct synthesis *s)
{
    const struct lapped_tables *tables = s->tables;
    size_t found = 0;
    for (size_t m = 0; m < tables->inputs; m++) {
        const size_t before = found;
        for (size_t k = 0; k < s->given; k++)
            if (tables->source[k] == (int)m)
                s->order[found++] = (uint32_t)k;
        s->sizes[m] = found - before;
    }
    return found == s->given ? FRONT_OK : FRONT_BAD_TABLE; /* else there is a source that is no mixed signal */
}

/* S6.1 for the instants from `first` on, which may be -1 and beyond the last: at those nothing adds. */
static void list_terms(struct synthesis *s, size_t first_plus_1, size_t count)
{
    const struct lapped_tables *tables = s->tables;
    const size_t columns = tables->inputs + 1;
    /* instants [from, to) of the group are at hand */
    const size_t low = s->span.first + 1, high = low + s->span.instants;
    const size_t from = low > first_plus_1 ? at_most(low - first_plus_1, count) : 0;
    const size_t to = high > first_plus_1 ? at_most(high - first_plus_1, count) : 0;
    const uint32_t *order = s->order;
    memset(s->ends, 0, (GROUP + 1) * columns * sizeof *s->ends);
    for (size_t m = 0; m < tables->inputs; m++) {
        for (size_t i = from; i < to; i++)
            s->ends[i * columns + m + 1] = s->ends[i * columns + m];
        for (size_t n = s->sizes[m]; n > 0; n--) {
            const uint32_t k = *order++;
            const float scale = tables->scale[k], delta1 = tables->delta[2 * k], delta2 = tables->delta[2 * k + 1];
            const int8_t *row = s->latent + k * s->span.instants + (first_plus_1 + from - low);
            for (size_t i = from; i < to; i++, row++) {
                if (*row == 0)
                    continue;
                const int size = *row < 0 ? -*row : *row;
                const float value = ((float)size - (size == 1 ? delta1 : delta2)) * scale;
                s->terms[i * s->given + s->ends[i * columns + m + 1]++] =
                    (struct term){k, *row < 0 ? -value : value};
            }
        }
    }
}

/* S6.3 within the first and the last block of places. */
static void fold_start(float *block, const float *fold, size_t half)
{
    for (size_t j = 0; j < half; j++)
        block[half + j] = fold[half + j] * block[half + j] - fold[half - 1 - j] * block[half - 1 - j];
}

static void fold_end(float *block, const float *fold, size_t half)
{
    for (size_t j = 0; j < half; j++)
        block[half - 1 - j] = fold[half + j] * block[half - 1 - j] + fold[half - 1 - j] * block[half + j];
}

static void add_instant(struct synthesis *s, size_t i, size_t m, size_t shift, float *sums)
{
    const struct lapped_tables *tables = s->tables;
    const size_t *ends = s->ends + i * (tables->inputs + 1) + m;
    s->ops->add_terms(sums, tables->hop, tables->basis + shift, 2 * tables->hop, s->terms + i * s->given + ends[0],
                      ends[1] - ends[0]);
}

/* Samples of one block of places, to s->frame. i: its place in the group. */
static void build_block(struct synthesis *s, size_t block, size_t i)
{
    const struct lapped_tables *tables = s->tables;
    const size_t inputs = tables->inputs, hop = tables->hop;
    memset(s->mixed, 0, inputs * s->stride * sizeof(float));
    for (size_t m = 0; m < inputs; m++) {
        float *sums = s->mixed + m * s->stride;
        add_instant(s, i, m, hop, sums); /* what the instant before adds comes first */
        add_instant(s, i + 1, m, 0, sums);
        if (block == 0)
            fold_start(sums, tables->fold, hop / 2);
        if (block == s->span.t)
            fold_end(sums, tables->fold, hop / 2);
    }
    s->ops->mix(tables->mix, 1, inputs, inputs, s->mixed, s->stride, hop, s->rows);
    s->ops->join(s->rows, s->stride, inputs, hop, s->frame);
}

static void synthesise(struct synthesis *s, size_t begin, size_t end, float *samples)
{
    const size_t inputs = s->tables->inputs, hop = s->tables->hop;
    const size_t start = s->span.start + hop / 2, stop = s->span.stop + hop / 2; /* places */
    for (size_t first = begin; first < end; first += GROUP) {
        const size_t count = at_most(end - first, GROUP);
        list_terms(s, first, count + 1); /* block b adds instants b - 1 and b */
        for (size_t i = 0; i < count; i++) {
            const size_t at = (first + i) * hop;
            const size_t from = start > at ? start - at : 0, to = at_most(stop - at, hop);
            build_block(s, first + i, i);
            memcpy(samples + (at + from - start) * inputs, s->frame + from * inputs,
                   (to - from) * inputs * sizeof(float));
        }
    }
}

int lapped_samples(const int8_t *latent, size_t given, struct lapped_span span, const struct lapped_tables *tables,
                   float *samples)
{
    const size_t inputs = tables->inputs, hop = tables->hop;
    if (span.t > SIZE_MAX / MAX_HOP - 2 || span.first > span.t || span.instants > span.t - span.first ||
        span.start > span.stop || span.stop > span.t * hop)
        return FRONT_BAD_TABLE;
    if (span.start == span.stop)
        return FRONT_OK;
    /* Blocks of places [begin, end); block b needs instants b - 1 and b, where they exist. */
    const size_t begin = (span.start + hop / 2) / hop, end = (span.stop - 1 + hop / 2) / hop + 1;
    if (span.first > (begin > 0 ? begin - 1 : 0) || span.first + span.instants < at_most(end, span.t))
        return FRONT_BAD_TABLE;
    struct synthesis s = {.ops = lapped_ops(),
                          .tables = tables,
                          .span = span,
                          .latent = latent,
                          .given = given,
                          .stride = row_stride(hop)};
    s.order = malloc((given + 1) * sizeof *s.order);
    s.terms = malloc(((GROUP + 1) * given + 1) * sizeof *s.terms);
    s.sizes = malloc((inputs + (GROUP + 1) * (inputs + 1)) * sizeof *s.sizes);
    s.mixed = calloc(3 * inputs * s.stride, sizeof(float));
    int status = s.order && s.terms && s.sizes && s.mixed ? order_channels(&s) : FRONT_NO_MEMORY;
    if (status == FRONT_OK) {
        s.ends = s.sizes + inputs;
        s.rows = s.mixed + inputs * s.stride;
        s.frame = s.rows + inputs * s.stride;
        synthesise(&s, begin, end, samples);
    }
    free(s.order);
    free(s.terms);
    free(s.sizes);
    free(s.mixed);
    return status;
}
