/* Python's view of a network's layer. Nothing but argument checks. */
#include "python/py_buffers.h"

#include "network/layer.h"

enum { OPTIONS, UNIT, CODES_IN, OFFSETS, WEIGHT, SCALE, BIAS, STREAM, CODES_OUT, COUNT };

/* options: first row, rows, added, bent. */
enum { FIRST, ROWS, ADDED, BENT, OPTION_COUNT };

static int bad(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

/* Whether an array (rows, outputs) has as many rows as codes_in, or none and is left out; -1 with an error. */
static int is_given(const Py_buffer *view, const char *name, Py_ssize_t rows, Py_ssize_t outputs)
{
    if (check_side(view, name, 1, outputs) < 0)
        return -1;
    if (view->shape[0] == 0)
        return 0;
    return check_side(view, name, 0, rows) < 0 ? -1 : 1;
}

static int take_layer(const Py_buffer *views, struct network_layer *layer, int *stream, int *codes_out)
{
    const int32_t *options = views[OPTIONS].buf, *offsets = views[OFFSETS].buf;
    const Py_ssize_t rows = views[CODES_IN].shape[0], taps = views[OFFSETS].shape[0];
    const Py_ssize_t outputs = views[CODES_OUT].shape[1], *shape = views[WEIGHT].shape;
    if (check_side(&views[OPTIONS], "options", 0, OPTION_COUNT) < 0 || check_side(&views[UNIT], "unit", 0, 1) < 0)
        return -1;
    if (taps < 1 || taps > LAYER_MAX_TAPS || outputs < 1 || shape[2] < 1)
        return bad("a layer has 1 to 9 taps, and one output and two inputs or more");
    const Py_ssize_t panels = (outputs + LAYER_PANEL - 1) / LAYER_PANEL;
    if (check_side(&views[WEIGHT], "weight", 0, panels) < 0 || check_side(&views[WEIGHT], "weight", 1, taps) < 0 ||
        check_side(&views[WEIGHT], "weight", 3, LAYER_PANEL) < 0 || check_side(&views[WEIGHT], "weight", 4, 2) < 0 ||
        check_side(&views[CODES_IN], "codes_in", 1, 2 * shape[2]) < 0 ||
        check_side(&views[SCALE], "scale", 0, panels * LAYER_PANEL) < 0 ||
        check_side(&views[BIAS], "bias", 0, panels * LAYER_PANEL) < 0)
        return -1;
    *stream = is_given(&views[STREAM], "stream", rows, outputs);
    *codes_out = is_given(&views[CODES_OUT], "codes_out", rows, outputs);
    if (*stream < 0 || *codes_out < 0)
        return -1;
    if (options[ADDED] && !*stream)
        return bad("nothing can be added without a stream");
    const int64_t first = options[FIRST], last = first + options[ROWS] - 1;
    if (first < 0 || options[ROWS] < 0 || last >= rows)
        return bad("the rows are not among those of codes_in");
    for (Py_ssize_t i = 0; i < taps && options[ROWS] > 0; i++)
        if (first + offsets[i] < 0 || last + offsets[i] >= rows)
            return bad("an offset leads out of codes_in");
    *layer = (struct network_layer){.taps = (size_t)taps,
                                    .pairs = (size_t)shape[2],
                                    .outputs = (size_t)outputs,
                                    .offsets = offsets,
                                    .weight = views[WEIGHT].buf,
                                    .scale = views[SCALE].buf,
                                    .bias = views[BIAS].buf,
                                    .added = options[ADDED] != 0,
                                    .bent = options[BENT] != 0,
                                    .unit = *(const float *)views[UNIT].buf};
    return 0;
}

static PyObject *py_network_layer(PyObject *module, PyObject *args)
{
    (void)module;
    static const struct argument arguments[COUNT] = {
        {"options", TYPE_INT32, 1, 0}, {"unit", TYPE_FLOAT32, 1, 0},  {"codes_in", TYPE_INT16, 2, 0},
        {"offsets", TYPE_INT32, 1, 0}, {"weight", TYPE_INT16, 5, 0},  {"scale", TYPE_FLOAT32, 1, 0},
        {"bias", TYPE_FLOAT32, 1, 0},  {"stream", TYPE_FLOAT32, 2, 1}, {"codes_out", TYPE_INT16, 2, 1},
    };
    Py_buffer views[COUNT];
    struct network_layer layer;
    int stream, codes_out;
    PyObject *result = NULL;
    if (take_arguments(args, arguments, COUNT, views) == 0 && take_layer(views, &layer, &stream, &codes_out) == 0) {
        const int32_t *options = views[OPTIONS].buf;
        Py_BEGIN_ALLOW_THREADS
        network_layer(&layer, views[CODES_IN].buf, (size_t)options[FIRST], (size_t)options[ROWS],
                      stream ? views[STREAM].buf : NULL, codes_out ? views[CODES_OUT].buf : NULL);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    release_arrays(views, COUNT);
    return result;
}

PyMethodDef network_methods[] = {
    {"network_layer", py_network_layer, METH_VARARGS,
     "network_layer(options, unit, codes_in, offsets, weight, scale, bias, stream, codes_out)\n\n"
     "One layer over rows of positions; options: first row, rows, added, bent. See codecs/kernel/network/layer.h."},
    {NULL, NULL, 0, NULL},
};
