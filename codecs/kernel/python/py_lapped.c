/* Python's view of the lapped transform. Nothing but argument checks: every size is compared before the GIL is
 * released. */
#include "python/py_buffers.h"

#include "lapped/lapped.h"
#include "wavelet/packet.h"

static int raise_status(int status)
{
    if (status == FRONT_NO_MEMORY)
        PyErr_NoMemory();
    else if (status == FRONT_BAD_TABLE)
        PyErr_SetString(PyExc_ValueError, "a channel, a mixed signal or a span of instants or samples is out of range");
    return status == FRONT_OK ? 0 : -1;
}

/* mix (inputs, inputs), and a dimension of 2 * hop. */
static int take_sizes(const Py_buffer *mix, Py_ssize_t places, size_t *inputs, size_t *hop)
{
    if (mix->shape[0] < 1 || mix->shape[0] > MAX_INPUTS) {
        PyErr_Format(PyExc_ValueError, "mix must be of 1 to %d inputs, not %zd", MAX_INPUTS, mix->shape[0]);
        return -1;
    }
    if (places < 4 || places > 2 * MAX_HOP || places % 4 != 0) {
        PyErr_Format(PyExc_ValueError, "a basis spans two hops, each even and at most %d, not %zd samples", MAX_HOP,
                     places);
        return -1;
    }
    *inputs = (size_t)mix->shape[0];
    *hop = (size_t)(places / 2);
    return check_side(mix, "mix", 1, mix->shape[0]);
}

enum { PLACES, MIX, PANELS, LANES_OF, SOURCES, INVERSE, ANALYSIS_COUNT };
#define ANALYSIS_ARGUMENTS \
    {"places", TYPE_FLOAT32, 2, 0}, {"mix", TYPE_FLOAT32, 2, 0}, {"panels", TYPE_FLOAT32, 3, 0}, \
    {"lanes", TYPE_INT32, 2, 0}, {"sources", TYPE_INT32, 1, 0}, {"inverse", TYPE_FLOAT32, 1, 0}

/* `out` is (channels, instants). */
static int take_analysis(const Py_buffer *views, const Py_buffer *out, struct lapped_panels *panels, size_t *instants)
{
    size_t inputs, hop;
    if (take_sizes(&views[MIX], views[PANELS].shape[1], &inputs, &hop) < 0)
        return -1;
    const Py_ssize_t rows = views[PLACES].shape[0], count = views[PANELS].shape[0];
    if (rows < 2 * (Py_ssize_t)hop || rows % (Py_ssize_t)hop != 0) {
        PyErr_Format(PyExc_ValueError, "places are two or more times the hop of %zu samples, not %zd", hop, rows);
        return -1;
    }
    *instants = (size_t)rows / hop - 1;
    if (check_side(&views[PLACES], "places", 1, (Py_ssize_t)inputs) < 0 ||
        check_side(&views[PANELS], "panels", 2, PANEL) < 0 || check_side(&views[LANES_OF], "lanes", 0, count) < 0 ||
        check_side(&views[LANES_OF], "lanes", 1, PANEL) < 0 || check_side(&views[SOURCES], "sources", 0, count) < 0 ||
        check_side(out, "out", 0, views[INVERSE].shape[0]) < 0 || check_side(out, "out", 1, (Py_ssize_t)*instants) < 0)
        return -1;
    *panels = (struct lapped_panels){.inputs = inputs,
                                     .hop = hop,
                                     .channels = (size_t)views[INVERSE].shape[0],
                                     .count = (size_t)count,
                                     .mix = views[MIX].buf,
                                     .basis = views[PANELS].buf,
                                     .lanes = views[LANES_OF].buf,
                                     .sources = views[SOURCES].buf};
    return 0;
}

static PyObject *py_lapped_coefs(PyObject *module, PyObject *args)
{
    (void)module;
    enum { OUT = ANALYSIS_COUNT, COUNT };
    static const struct argument arguments[COUNT] = {ANALYSIS_ARGUMENTS, {"out", TYPE_FLOAT32, 2, 1}};
    Py_buffer views[COUNT];
    struct lapped_panels panels;
    size_t instants;
    PyObject *result = NULL;
    if (take_arguments(args, arguments, COUNT, views) == 0 &&
        take_analysis(views, &views[OUT], &panels, &instants) == 0) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = lapped_coefs(views[PLACES].buf, instants, &panels, views[INVERSE].buf, views[OUT].buf);
        Py_END_ALLOW_THREADS
        if (raise_status(status) == 0)
            result = Py_NewRef(Py_None);
    }
    release_arrays(views, COUNT);
    return result;
}

static PyObject *py_lapped_latent(PyObject *module, PyObject *args)
{
    (void)module;
    enum { ROUNDING = ANALYSIS_COUNT, OUT, COUNT };
    static const struct argument arguments[COUNT] = {
        ANALYSIS_ARGUMENTS, {"rounding", TYPE_FLOAT32, 1, 0}, {"out", TYPE_INT8, 2, 1}};
    Py_buffer views[COUNT];
    struct lapped_panels panels;
    size_t instants;
    PyObject *result = NULL;
    if (take_arguments(args, arguments, COUNT, views) == 0 &&
        take_analysis(views, &views[OUT], &panels, &instants) == 0 &&
        check_side(&views[ROUNDING], "rounding", 0, (Py_ssize_t)panels.channels) == 0) {
        int status;
        size_t outside = 0;
        Py_BEGIN_ALLOW_THREADS
        status = lapped_latent(views[PLACES].buf, instants, &panels, views[INVERSE].buf, views[ROUNDING].buf,
                               views[OUT].buf, &outside);
        Py_END_ALLOW_THREADS
        if (raise_status(status) == 0)
            result = PyLong_FromSize_t(outside);
    }
    release_arrays(views, COUNT);
    return result;
}

static PyObject *py_lapped_samples(PyObject *module, PyObject *args)
{
    (void)module;
    enum { LATENT, MIXES, SOURCE, BASIS, FOLD, SCALE, DELTA, OUT, COUNT };
    static const struct argument arguments[COUNT] = {
        {"latent", TYPE_INT8, 2, 0},  {"mix", TYPE_FLOAT32, 2, 0},   {"source", TYPE_INT8, 1, 0},
        {"basis", TYPE_FLOAT32, 2, 0}, {"fold", TYPE_FLOAT32, 1, 0}, {"scale", TYPE_FLOAT32, 1, 0},
        {"delta", TYPE_FLOAT32, 2, 0}, {"out", TYPE_FLOAT32, 2, 1}};
    Py_buffer views[COUNT] = {0};
    Py_ssize_t first, t, start;
    struct lapped_tables tables = {0};
    PyObject *result = NULL, *arrays = PyTuple_GetSlice(args, 1, PyTuple_Size(args));
    if (arrays == NULL)
        return NULL;
    if (PyTuple_Size(args) < 1 || !PyTuple_Check(PyTuple_GetItem(args, 0))) {
        PyErr_SetString(PyExc_TypeError, "the span must be a tuple (first, t, start)");
        goto done;
    }
    if (!PyArg_ParseTuple(PyTuple_GetItem(args, 0), "nnn", &first, &t, &start) ||
        take_arguments(arrays, arguments, COUNT, views) < 0 ||
        take_sizes(&views[MIXES], views[BASIS].shape[1], &tables.inputs, &tables.hop) < 0)
        goto done;
    const Py_ssize_t channels = views[SOURCE].shape[0];
    if (check_side(&views[BASIS], "basis", 0, channels) < 0 ||
        check_side(&views[FOLD], "fold", 0, (Py_ssize_t)tables.hop) < 0 ||
        check_side(&views[SCALE], "scale", 0, channels) < 0 || check_side(&views[DELTA], "delta", 0, channels) < 0 ||
        check_side(&views[DELTA], "delta", 1, 2) < 0 ||
        check_side(&views[OUT], "out", 1, (Py_ssize_t)tables.inputs) < 0)
        goto done;
    if (first < 0 || t < 0 || start < 0 || start > PY_SSIZE_T_MAX - views[OUT].shape[0]) {
        PyErr_SetString(PyExc_ValueError, "the span of instants and samples is out of range");
        goto done;
    }
    if (views[LATENT].shape[0] > channels) {
        PyErr_Format(PyExc_ValueError, "latent has %zd channels where the tables know %zd", views[LATENT].shape[0],
                     channels);
        goto done;
    }
    tables.channels = (size_t)channels;
    tables.mix = views[MIXES].buf;
    tables.source = views[SOURCE].buf;
    tables.basis = views[BASIS].buf;
    tables.fold = views[FOLD].buf;
    tables.scale = views[SCALE].buf;
    tables.delta = views[DELTA].buf;
    const struct lapped_span span = {.start = (size_t)start,
                                     .stop = (size_t)(start + views[OUT].shape[0]),
                                     .first = (size_t)first,
                                     .instants = (size_t)views[LATENT].shape[1],
                                     .t = (size_t)t};
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = lapped_samples(views[LATENT].buf, (size_t)views[LATENT].shape[0], span, &tables, views[OUT].buf);
    Py_END_ALLOW_THREADS
    if (raise_status(status) == 0)
        result = Py_NewRef(Py_None);
done:
    release_arrays(views, COUNT);
    Py_DECREF(arrays);
    return result;
}

PyMethodDef lapped_methods[] = {
    {"lapped_coefs", py_lapped_coefs, METH_VARARGS,
     "lapped_coefs(places, mix, panels, lanes, sources, inverse, out): coefficients times inverse as float32 (c, r)."},
    {"lapped_latent", py_lapped_latent, METH_VARARGS,
     "lapped_latent(places, mix, panels, lanes, sources, inverse, rounding, out) -> int: quantised channels as int8 "
     "(c, r); returns how many values were outside +-127 and limited."},
    {"lapped_samples", py_lapped_samples, METH_VARARGS,
     "lapped_samples((first, t, start), latent, mix, source, basis, fold, scale, delta, out): samples float32 "
     "(stop - start, inputs) from int8 (c' <= c, r), the instants from `first` on of t."},
    {NULL, NULL, 0, NULL},
};
