/* The lapped transform: signals and latents of any length, tables and spans of any numbers. */
#include "fuzz.h"

#include "lapped/lapped.h"
#include "wavelet/packet.h"

static void analyse(size_t inputs, size_t hop, int wild)
{
    const size_t channels = (size_t)between(1, at_most(40, 4)), count = (size_t)between(0, at_most(6, 2));
    const size_t instants = (size_t)between(1, at_most(60, 3));
    int32_t *lanes = take(count * PANEL * sizeof *lanes), *sources = take(count * sizeof *sources);
    for (size_t i = 0; i < count * PANEL; i++)
        lanes[i] = (int32_t)(wild && one_in(500) ? between(INT32_MIN, INT32_MAX) : between(-1, (int64_t)channels - 1));
    for (size_t i = 0; i < count; i++)
        sources[i] = (int32_t)(wild && one_in(50) ? between(INT32_MIN, INT32_MAX) : between(0, (int64_t)inputs - 1));
    float *places = floats((instants + 1) * hop * inputs, wild), *mix = floats(inputs * inputs, wild);
    float *basis = floats(count * 2 * hop * PANEL, wild), *inverse = floats(channels, wild);
    float *rounding = floats(channels, wild);
    const struct lapped_panels panels = {inputs, hop, channels, count, mix, basis, lanes, sources};
    if (one_in(3)) {
        float *coefs = take(channels * instants * sizeof *coefs);
        const int status = lapped_coefs(places, instants, &panels, inverse, coefs);
        EXPECT(status == FRONT_OK || (wild && status == FRONT_BAD_TABLE));
        free(coefs);
    } else {
        int8_t *latent = take(channels * instants);
        size_t outside;
        for (size_t k = 0; k < channels; k++) /* anything but negative, which the caller refuses */
            rounding[k] = rounding[k] < 0 ? -rounding[k] : rounding[k];
        const int status = lapped_latent(places, instants, &panels, inverse, rounding, latent, &outside);
        EXPECT(status == FRONT_OK || (wild && status == FRONT_BAD_TABLE));
        EXPECT(outside <= count * PANEL * instants);
        free(latent);
    }
    free(lanes);
    free(sources);
    free(places);
    free(mix);
    free(basis);
    free(inverse);
    free(rounding);
}

/* Samples of t instants, and at least the instants that they take. */
static struct lapped_span any_span(size_t t, size_t hop)
{
    const int64_t n = (int64_t)(t * hop), half = (int64_t)hop / 2, start = between(0, n), stop = between(start, n);
    const int64_t begin = (start + half) / (int64_t)hop, end = (stop - 1 + half) / (int64_t)hop + 1;
    const int64_t first = between(0, begin > 1 ? begin - 1 : 0);
    const int64_t last = between(end < (int64_t)t ? end : (int64_t)t, (int64_t)t);
    return (struct lapped_span){.start = (size_t)start,
                                .stop = (size_t)stop,
                                .first = (size_t)first,
                                .instants = (size_t)(last > first ? last - first : 0),
                                .t = t};
}

static void synthesise(size_t inputs, size_t hop, int wild)
{
    const size_t channels = (size_t)between(0, at_most(40, 4)), given = (size_t)between(0, (int64_t)channels);
    struct lapped_span span = any_span((size_t)between(1, at_most(80, 4)), hop);
    const size_t samples = span.stop - span.start;
    if (wild && one_in(4)) { /* a wish for as many samples, elsewhere */
        size_t *const numbers[] = {&span.start, &span.first, &span.t};
        size_t *number = numbers[between(0, 2)];
        *number = one_in(2) ? (size_t)chance() : *number + (size_t)between(-3, 3);
        span.stop = span.start + samples;
    }
    int8_t *latent = take(given * span.instants), *source = take(channels);
    for (size_t i = 0; i < given * span.instants; i++)
        latent[i] = (int8_t)(one_in(3) ? chance() : 0);
    for (size_t k = 0; k < channels; k++)
        source[k] = (int8_t)(wild && one_in(200) ? between(-128, 127) : between(0, (int64_t)inputs - 1));
    float *mix = floats(inputs * inputs, wild), *basis = floats(channels * 2 * hop, wild), *fold = floats(hop, wild);
    float *scale = floats(channels, wild), *delta = floats(2 * channels, wild);
    float *out = take(samples * inputs * sizeof *out);
    const struct lapped_tables tables = {inputs, hop, channels, mix, source, basis, fold, scale, delta};
    const int status = lapped_samples(latent, given, span, &tables, out);
    EXPECT(status == FRONT_OK || (wild && status == FRONT_BAD_TABLE));
    free(latent);
    free(source);
    free(mix);
    free(basis);
    free(fold);
    free(scale);
    free(delta);
    free(out);
}

void fuzz_lapped(void)
{
    const size_t inputs = (size_t)(one_in(2) ? between(1, 2) : between(1, at_most(MAX_INPUTS, 3)));
    const size_t hop = 2 * (size_t)(one_in(10) ? between(1, at_most(MAX_HOP / 2, 9)) : between(1, at_most(40, 4)));
    if (one_in(2))
        analyse(inputs, hop, one_in(2));
    else
        synthesise(inputs, hop, one_in(2));
}
