/* The front end: images of any size, tables of any numbers, floats of any kind. */
#include "fuzz.h"

#include <string.h>

#include "wavelet/projection.h"

static int32_t index_below(int64_t limit, int wild)
{
    return (int32_t)(wild && one_in(50) ? between(INT32_MIN, INT32_MAX) : between(0, limit > 0 ? limit - 1 : 0));
}

/* steps and rounding: anything but negative, which artifacts are refused for */
static float *positive(size_t count, int wild)
{
    float *f = floats(count, wild);
    for (size_t i = 0; i < count; i++)
        f[i] = f[i] < 0 ? -f[i] : f[i];
    return f;
}

static int32_t *combinations(size_t count, int64_t limit, int wild)
{
    int32_t *c = take(3 * count * sizeof *c);
    for (size_t i = 0; i < count; i++) {
        c[3 * i] = index_below(limit, wild);
        c[3 * i + 1] = one_in(2) ? -1 : index_below(limit, wild);
        c[3 * i + 2] = one_in(2) ? -1 : 1;
    }
    return c;
}

static void analyse(const uint8_t *pixels, struct image_size size, size_t positions, int wild)
{
    const size_t planes = band_count(size.levels) * (size_t)size.colours, entries = (size_t)between(1, at_most(40, 5));
    const size_t channels = (size_t)between(0, at_most(12, 3));
    int32_t *runs = take(2 * channels * sizeof *runs);
    size_t used = 0, outside;
    for (size_t k = 0; k < channels; k++) {
        runs[2 * k] = index_below((int64_t)entries, wild);
        runs[2 * k + 1] = wild && one_in(50) ? index_below(1 << 30, 1)
                                             : (int32_t)between(0, (int64_t)entries - runs[2 * k] > 0
                                                                       ? (int64_t)entries - runs[2 * k]
                                                                       : 0);
        used += runs[2 * k + 1] > 0 && runs[2 * k + 1] < 1000 ? (size_t)runs[2 * k + 1] : 0;
    }
    int32_t *basis = combinations(entries, (int64_t)planes, wild);
    float *weights = floats(used, wild), *inv_step = positive(channels, wild), *rounding = positive(channels, wild);
    const struct analysis_tables tables = {planes, entries, channels, used, basis, runs, weights};
    if (one_in(3)) {
        float *coefs = take(channels * positions * sizeof *coefs);
        const int status = image_to_coefs(pixels, size, &tables, inv_step, coefs);
        EXPECT(status == FRONT_OK || (wild && status == FRONT_BAD_TABLE));
        free(coefs);
    } else {
        int8_t *latent = take(channels * positions);
        const int status = image_to_latent(pixels, size, &tables, inv_step, rounding, latent, &outside);
        EXPECT(status == FRONT_OK || (wild && status == FRONT_BAD_TABLE));
        free(latent);
    }
    free(runs);
    free(basis);
    free(weights);
    free(inv_step);
    free(rounding);
}

static void synthesise(uint8_t *pixels, struct image_size size, size_t positions, int wild)
{
    const size_t planes = band_count(size.levels) * (size_t)size.colours, entries = (size_t)between(1, at_most(40, 5));
    const size_t channels = (size_t)between(1, at_most(12, 3)), given = (size_t)between(0, (int64_t)channels);
    int32_t *starts = take((entries + 1) * sizeof *starts), *list = take(entries * channels * sizeof *list);
    size_t count = 0;
    for (size_t j = 0; j < entries; j++) {
        starts[j] = (int32_t)count;
        for (size_t k = 0; k < channels; k++)
            if (one_in(2))
                list[count++] = wild && one_in(200) ? index_below(1 << 30, 1) : (int32_t)k;
    }
    starts[entries] = (int32_t)count;
    if (wild && one_in(4))
        starts[between(0, (int64_t)entries)] = index_below((int64_t)count, 1);
    int32_t *assembly = combinations(planes, (int64_t)entries, wild);
    float *weights = floats(count, wild), *step = floats(channels, wild);
    float *delta1 = floats(channels, wild), *delta2 = floats(channels, wild);
    int8_t *latent = take(given * positions);
    for (size_t i = 0; i < given * positions; i++)
        latent[i] = (int8_t)chance();
    int32_t *exact = take(count * sizeof *exact);
    memcpy(exact, list, count * sizeof *exact);
    const struct synthesis_tables tables = {planes, entries, channels, count, starts, exact, weights, assembly};
    float *added = one_in(2) ? floats(planes * positions, wild) : NULL;
    const int status = latent_to_image(latent, given, &tables, step, delta1, delta2, added, pixels, size);
    EXPECT(status == FRONT_OK || (wild && status == FRONT_BAD_TABLE));
    free(starts);
    free(list);
    free(exact);
    free(assembly);
    free(weights);
    free(step);
    free(delta1);
    free(delta2);
    free(added);
    free(latent);
}

void fuzz_front(void)
{
    struct image_size size = {(size_t)between(1, at_most(40, 9)), (size_t)between(1, at_most(40, 9)),
                              (int)between(1, at_most(MAX_COLOURS, 1)), (int)between(1, MAX_LEVELS)};
    if (one_in(10))
        size.width = (size_t)between(1, at_most(2600, 40));
    const size_t area = size.height * size.width * (size_t)size.colours;
    const size_t positions = latent_side(size.height, size.levels) * latent_side(size.width, size.levels);
    uint8_t *pixels = take(area);
    const int wild = one_in(2);
    for (size_t i = 0; i < area; i++)
        pixels[i] = (uint8_t)chance();
    if (one_in(2)) {
        analyse(pixels, size, positions, wild);
    } else {
        synthesise(pixels, size, positions, wild);
    }
    if (one_in(8)) {
        float *planes = take(band_count(size.levels) * (size_t)size.colours * positions * sizeof *planes);
        EXPECT(image_analysis(pixels, size, planes) == FRONT_OK);
        if (wild)
            for (size_t i = 0; i < band_count(size.levels) * (size_t)size.colours * positions; i++)
                planes[i] *= one_in(3) ? 1e38f : 1.0f;
        EXPECT(image_synthesis(planes, pixels, size) == FRONT_OK);
        free(planes);
    }
    free(pixels);
}
