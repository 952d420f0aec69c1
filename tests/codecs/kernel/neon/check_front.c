/* The front end: images of many sizes, tables of random numbers, in both directions. */
#include "check.h"

#include <stdlib.h>

#include "wavelet/projection.h"

static const size_t sizes[][2] = {{1, 1}, {1, 9}, {8, 8}, {33, 70}, {64, 48}, {7, 2100}, {190, 17}};

static int32_t *combinations(size_t count, size_t limit)
{
    int32_t *c = take(3 * count * sizeof *c);
    for (size_t i = 0; i < count; i++) {
        c[3 * i] = between(0, (int32_t)limit - 1);
        c[3 * i + 1] = one_in(2) ? -1 : between(0, (int32_t)limit - 1);
        c[3 * i + 2] = one_in(2) ? -1 : 1;
    }
    return c;
}

static void analyse(const uint8_t *pixels, struct image_size size, size_t positions)
{
    const size_t planes = band_count(size.levels) * (size_t)size.colours, entries = 50, channels = 11;
    int32_t runs[2 * 11];
    size_t used = 0, outside;
    for (size_t k = 0; k < channels; k++) {
        runs[2 * k] = between(0, 49);
        runs[2 * k + 1] = between(0, 50 - runs[2 * k]);
        used += (size_t)runs[2 * k + 1];
    }
    int32_t *basis = combinations(entries, planes);
    float *weights = floats(used), *inv_step = floats(channels), *rounding = floats(channels);
    inv_step[3] = 1000.0f; /* limited */
    const struct analysis_tables tables = {planes, entries, channels, used, basis, runs, weights};
    float *bands = take(planes * positions * sizeof *bands), *coefs = take(channels * positions * sizeof *coefs);
    int8_t *latent = take(channels * positions);
    expect("analysis", image_analysis(pixels, size, bands) == FRONT_OK);
    same("bands", bands, planes * positions * sizeof *bands);
    const size_t area = size.height * size.width * (size_t)size.colours;
    uint8_t *back = take(area);
    expect("an image of bands", image_synthesis(bands, back, size) == FRONT_OK);
    same("an image of bands", back, area);
    free(back);
    expect("coefficients", image_to_coefs(pixels, size, &tables, inv_step, coefs) == FRONT_OK);
    same("coefficients", coefs, channels * positions * sizeof *coefs);
    expect("a latent", image_to_latent(pixels, size, &tables, inv_step, rounding, latent, &outside) == FRONT_OK);
    same("a latent", latent, channels * positions);
    same("the number of limited values", &outside, sizeof outside);
    free(basis);
    free(weights);
    free(inv_step);
    free(rounding);
    free(bands);
    free(coefs);
    free(latent);
}

/* factor: from images of ordinary contrast to sums that overflow, which must end as the same pixels too */
static void synthesise(struct image_size size, size_t positions, float factor)
{
    const size_t planes = band_count(size.levels) * (size_t)size.colours, entries = 50, channels = 11, given = (size_t)between(0, 11);
    const size_t area = size.height * size.width * (size_t)size.colours;
    int32_t starts[51], list[50 * 11];
    size_t count = 0;
    for (size_t j = 0; j < entries; j++) {
        starts[j] = (int32_t)count;
        for (int32_t k = 0; k < (int32_t)channels; k++)
            if (one_in(2))
                list[count++] = k;
    }
    starts[entries] = (int32_t)count;
    int32_t *assembly = combinations(planes, entries);
    float *weights = floats(count), *step = floats(channels), *delta1 = floats(channels), *delta2 = floats(channels);
    for (size_t k = 0; k < channels; k++)
        step[k] *= factor;
    int8_t *latent = take(given * positions);
    uint8_t *pixels = take(area);
    for (size_t i = 0; i < given * positions; i++)
        latent[i] = (int8_t)(one_in(10) ? between(-128, 127) : between(-2, 2));
    const struct synthesis_tables tables = {planes, entries, channels, count, starts, list, weights, assembly};
    expect("an image", latent_to_image(latent, given, &tables, step, delta1, delta2, pixels, size) == FRONT_OK);
    same("an image", pixels, area);
    free(assembly);
    free(weights);
    free(step);
    free(delta1);
    free(delta2);
    free(latent);
    free(pixels);
}

void check_front(void)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int colours = 1; colours <= MAX_COLOURS; colours++) {
            const struct image_size size = {sizes[i][0], sizes[i][1], colours, 3 + (int)i % 2};
            const size_t area = size.height * size.width * (size_t)colours;
            const size_t positions = latent_side(size.height, size.levels) * latent_side(size.width, size.levels);
            uint8_t *pixels = take(area);
            for (size_t j = 0; j < area; j++)
                pixels[j] = (uint8_t)between(0, 255);
            doing("an image of %zux%zux%d, %d levels", size.height, size.width, colours, size.levels);
            analyse(pixels, size, positions);
            synthesise(size, positions, 1.0f);
            synthesise(size, positions, 3e37f);
            free(pixels);
        }
}
