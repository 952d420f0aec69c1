/* A network's layer: any shape, on every path the same bits. */
#include "fuzz.h"

#include <string.h>

#include "cpu/cpu.h"
#include "network/layer.h"

static int16_t *codes(size_t count, int64_t largest)
{
    int16_t *made = take(count * sizeof *made);
    for (size_t i = 0; i < count; i++)
        made[i] = (int16_t)between(-largest, largest);
    return made;
}

void fuzz_network(void)
{
    const size_t taps = (size_t)between(1, LAYER_MAX_TAPS), pairs = (size_t)between(1, at_most(12, 2));
    const size_t outputs = (size_t)between(1, at_most(40, 17)), rows = (size_t)between(1, at_most(220, 20));
    const size_t panels = (outputs + LAYER_PANEL - 1) / LAYER_PANEL;
    const size_t first = (size_t)between(0, (int64_t)rows - 1), count = (size_t)between(0, (int64_t)(rows - first));
    int32_t *offsets = take(taps * sizeof *offsets);
    for (size_t i = 0; i < taps; i++)
        offsets[i] = count == 0 ? 0 : (int32_t)between(-(int64_t)first, (int64_t)(rows - first - count));
    int16_t *in = codes(rows * 2 * pairs, LAYER_CODE), *weight = codes(panels * taps * pairs * LAYER_PANEL * 2, 127);
    float *scale = floats(panels * LAYER_PANEL, 0), *bias = floats(panels * LAYER_PANEL, 0);
    const int kept = one_in(2), given = !kept || one_in(2);
    const struct network_layer layer = {taps, pairs, outputs, offsets, weight, scale, bias,
                                        kept && one_in(2), one_in(2), (float)between(1, 1000) / 8};
    const size_t values = rows * outputs;
    float *before = floats(values, 0), *stream[2];
    int16_t *out[2];
    for (int i = 0; i < 2; i++) {
        stream[i] = take(values * sizeof *stream[i]);
        memcpy(stream[i], before, values * sizeof *before);
        out[i] = take(values * sizeof *out[i]);
        memset(out[i], 0, values * sizeof *out[i]);
    }
    network_layer(&layer, in, first, count, kept ? stream[0] : NULL, given ? out[0] : NULL);
    layer_portable(&layer, in, first, count, kept ? stream[1] : NULL, given ? out[1] : NULL);
    EXPECT(memcmp(stream[0], stream[1], values * sizeof *before) == 0);
    EXPECT(memcmp(out[0], out[1], values * sizeof *out[0]) == 0);
    for (int i = 0; i < 2; i++) {
        free(stream[i]);
        free(out[i]);
    }
    free(before);
    free(offsets);
    free(in);
    free(weight);
    free(scale);
    free(bias);
}
