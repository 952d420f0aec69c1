/* The lapped transform: signals of some lengths, tables of random numbers, in both directions. */
#include "check.h"

#include <stdlib.h>

#include "lapped/lapped.h"
#include "wavelet/packet.h"

/* hop, inputs, instants */
static const size_t sizes[][3] = {{8, 1, 1}, {10, 3, 25}, {32, 2, 24}, {74, 5, 13}, {256, 2, 60}, {1024, 1, 3}};

static void analyse(size_t hop, size_t inputs, size_t instants)
{
    enum { CHANNELS = 40, PANELS = 4 };
    int32_t lanes[PANELS * PANEL], sources[PANELS];
    for (int i = 0; i < PANELS * PANEL; i++)
        lanes[i] = i < CHANNELS ? i : between(-1, CHANNELS - 1);
    for (int i = 0; i < PANELS; i++)
        sources[i] = between(0, (int32_t)inputs - 1);
    float *places = floats((instants + 1) * hop * inputs), *mix = floats(inputs * inputs);
    float *basis = floats(PANELS * 2 * hop * PANEL), *inverse = floats(CHANNELS), *rounding = floats(CHANNELS);
    for (int k = 0; k < CHANNELS; k++)
        rounding[k] *= rounding[k];
    const struct lapped_panels panels = {inputs, hop, CHANNELS, PANELS, mix, basis, lanes, sources};
    float *coefs = take(CHANNELS * instants * sizeof *coefs);
    int8_t *latent = take(CHANNELS * instants);
    size_t outside;
    expect("coefficients", lapped_coefs(places, instants, &panels, inverse, coefs) == FRONT_OK);
    same("coefficients", coefs, CHANNELS * instants * sizeof *coefs);
    expect("a latent", lapped_latent(places, instants, &panels, inverse, rounding, latent, &outside) == FRONT_OK);
    same("a latent", latent, CHANNELS * instants);
    same("the number of limited values", &outside, sizeof outside);
    free(places);
    free(mix);
    free(basis);
    free(inverse);
    free(rounding);
    free(coefs);
    free(latent);
}

static void synthesise(size_t hop, size_t inputs, size_t instants)
{
    enum { CHANNELS = 40 };
    const size_t given = (size_t)between(0, CHANNELS), n = hop * instants - (size_t)between(0, (int32_t)hop - 1);
    int8_t source[CHANNELS], *latent = take(given * instants);
    for (int k = 0; k < CHANNELS; k++)
        source[k] = (int8_t)between(0, (int32_t)inputs - 1);
    for (size_t i = 0; i < given * instants; i++)
        latent[i] = (int8_t)(one_in(3) ? between(-128, 127) : 0);
    float *mix = floats(inputs * inputs), *basis = floats(CHANNELS * 2 * hop), *fold = floats(hop);
    float *scale = floats(CHANNELS), *delta = floats(2 * CHANNELS), *samples = take(n * inputs * sizeof *samples);
    const struct lapped_tables tables = {inputs, hop, CHANNELS, mix, source, basis, fold, scale, delta};
    const struct lapped_span span = {.stop = n, .instants = instants, .t = instants};
    expect("samples", lapped_samples(latent, given, span, &tables, samples) == FRONT_OK);
    same("samples", samples, n * inputs * sizeof *samples);
    free(latent);
    free(mix);
    free(basis);
    free(fold);
    free(scale);
    free(delta);
    free(samples);
}

void check_lapped(void)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        doing("the lapped transform of hop %zu, %zu inputs, %zu instants", sizes[i][0], sizes[i][1], sizes[i][2]);
        analyse(sizes[i][0], sizes[i][1], sizes[i][2]);
        synthesise(sizes[i][0], sizes[i][1], sizes[i][2]);
    }
}
