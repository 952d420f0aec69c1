/* Python's view of the front end. Nothing but argument checks: every size is compared before the GIL is released. */
#include "python/py_buffers.h"

#include "cpu/cpu.h"
#include "wavelet/packet.h"
#include "wavelet/projection.h"

#include <string.h>

/* Takes a call's arguments: the levels of the transform, then the arrays. What was taken is to be released even after
 * -1. */
static int take_call(PyObject *args, int *levels, const struct argument *arguments, Py_ssize_t count, Py_buffer *views)
{
    memset(views, 0, (size_t)count * sizeof *views);
    PyObject *first = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL;
    const long given = first != NULL && PyLong_Check(first) ? PyLong_AsLong(first) : 0;
    if (given < 1 || given > MAX_LEVELS) {
        PyErr_Clear(); /* there is an error already where the number is too large for a long */
        PyErr_Format(PyExc_ValueError, "levels must be a whole number from 1 to %d", MAX_LEVELS);
        return -1;
    }
    *levels = (int)given;
    PyObject *arrays = PyTuple_GetSlice(args, 1, PyTuple_Size(args));
    const int status = arrays == NULL ? -1 : take_arguments(arrays, arguments, count, views);
    Py_XDECREF(arrays);
    return status;
}

static int take_size(const Py_buffer *image, int levels, struct image_size *size)
{
    const Py_ssize_t *shape = image->shape;
    if (shape[0] < 1 || shape[1] < 1 || shape[2] < 1 || shape[2] > MAX_COLOURS) {
        PyErr_Format(PyExc_ValueError,
                     "image must be (height, width, colours) of at least one pixel and 1 to %d colours, not (%zd, %zd, %zd)",
                     MAX_COLOURS, shape[0], shape[1], shape[2]);
        return -1;
    }
    *size = (struct image_size){(size_t)shape[0], (size_t)shape[1], (int)shape[2], levels};
    return 0;
}

static Py_ssize_t plane_count(struct image_size size)
{
    return (Py_ssize_t)band_count(size.levels) * size.colours;
}

/* A (channels, h, w) array that goes with an image of this size. */
static int check_latent_shape(const Py_buffer *view, const char *name, struct image_size size)
{
    if (check_side(view, name, 1, (Py_ssize_t)latent_side(size.height, size.levels)) < 0)
        return -1;
    return check_side(view, name, 2, (Py_ssize_t)latent_side(size.width, size.levels));
}

static int raise_status(int status)
{
    if (status == FRONT_NO_MEMORY)
        PyErr_NoMemory();
    else if (status == FRONT_BAD_TABLE)
        PyErr_SetString(PyExc_ValueError, "projection tables contradict themselves: an index or a count is out of range");
    return status == FRONT_OK ? 0 : -1;
}

static PyObject *py_image_analysis(PyObject *module, PyObject *args)
{
    (void)module;
    static const struct argument arguments[] = {{"image", TYPE_UINT8, 3, 0}, {"out", TYPE_FLOAT32, 3, 1}};
    Py_buffer views[2];
    struct image_size size;
    int levels;
    PyObject *result = NULL;
    if (take_call(args, &levels, arguments, 2, views) == 0 && take_size(&views[0], levels, &size) == 0 &&
        check_side(&views[1], "out", 0, plane_count(size)) == 0 && check_latent_shape(&views[1], "out", size) == 0) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = image_analysis(views[0].buf, size, views[1].buf);
        Py_END_ALLOW_THREADS
        if (raise_status(status) == 0)
            result = Py_NewRef(Py_None);
    }
    release_arrays(views, 2);
    return result;
}

static PyObject *py_image_synthesis(PyObject *module, PyObject *args)
{
    (void)module;
    static const struct argument arguments[] = {{"planes", TYPE_FLOAT32, 3, 0}, {"out", TYPE_UINT8, 3, 1}};
    Py_buffer views[2];
    struct image_size size;
    int levels;
    PyObject *result = NULL;
    if (take_call(args, &levels, arguments, 2, views) == 0 && take_size(&views[1], levels, &size) == 0 &&
        check_side(&views[0], "planes", 0, plane_count(size)) == 0 &&
        check_latent_shape(&views[0], "planes", size) == 0) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = image_synthesis(views[0].buf, views[1].buf, size);
        Py_END_ALLOW_THREADS
        if (raise_status(status) == 0)
            result = Py_NewRef(Py_None);
    }
    release_arrays(views, 2);
    return result;
}

/* Views 1 to 3: basis (entries, 3), runs (channels, 2), weights (n). */
static int take_analysis_tables(const Py_buffer *views, struct image_size size, struct analysis_tables *tables)
{
    if (check_side(&views[1], "basis", 1, 3) < 0 || check_side(&views[2], "runs", 1, 2) < 0)
        return -1;
    if (views[1].shape[0] > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "basis has too many entries");
        return -1;
    }
    *tables = (struct analysis_tables){.planes = (size_t)plane_count(size),
                                       .entries = (size_t)views[1].shape[0],
                                       .channels = (size_t)views[2].shape[0],
                                       .weight_count = (size_t)views[3].shape[0],
                                       .basis = views[1].buf,
                                       .runs = views[2].buf,
                                       .weights = views[3].buf};
    return 0;
}

static PyObject *py_image_to_coefs(PyObject *module, PyObject *args)
{
    (void)module;
    static const struct argument arguments[] = {{"image", TYPE_UINT8, 3, 0},   {"basis", TYPE_INT32, 2, 0},
                                                {"runs", TYPE_INT32, 2, 0},    {"weights", TYPE_FLOAT32, 1, 0},
                                                {"inv_step", TYPE_FLOAT32, 1, 0}, {"out", TYPE_FLOAT32, 3, 1}};
    Py_buffer views[6];
    struct image_size size;
    struct analysis_tables tables;
    int levels;
    PyObject *result = NULL;
    if (take_call(args, &levels, arguments, 6, views) == 0 && take_size(&views[0], levels, &size) == 0 &&
        take_analysis_tables(views, size, &tables) == 0 &&
        check_side(&views[4], "inv_step", 0, views[2].shape[0]) == 0 &&
        check_side(&views[5], "out", 0, views[2].shape[0]) == 0 && check_latent_shape(&views[5], "out", size) == 0) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = image_to_coefs(views[0].buf, size, &tables, views[4].buf, views[5].buf);
        Py_END_ALLOW_THREADS
        if (raise_status(status) == 0)
            result = Py_NewRef(Py_None);
    }
    release_arrays(views, 6);
    return result;
}

static PyObject *py_image_to_latent(PyObject *module, PyObject *args)
{
    (void)module;
    static const struct argument arguments[] = {
        {"image", TYPE_UINT8, 3, 0},      {"basis", TYPE_INT32, 2, 0},      {"runs", TYPE_INT32, 2, 0},
        {"weights", TYPE_FLOAT32, 1, 0},  {"inv_step", TYPE_FLOAT32, 1, 0}, {"rounding", TYPE_FLOAT32, 1, 0},
        {"out", TYPE_INT8, 3, 1}};
    Py_buffer views[7];
    struct image_size size;
    struct analysis_tables tables;
    int levels;
    PyObject *result = NULL;
    if (take_call(args, &levels, arguments, 7, views) == 0 && take_size(&views[0], levels, &size) == 0 &&
        take_analysis_tables(views, size, &tables) == 0 &&
        check_side(&views[4], "inv_step", 0, views[2].shape[0]) == 0 &&
        check_side(&views[5], "rounding", 0, views[2].shape[0]) == 0 &&
        check_side(&views[6], "out", 0, views[2].shape[0]) == 0 && check_latent_shape(&views[6], "out", size) == 0) {
        int status;
        size_t outside = 0;
        Py_BEGIN_ALLOW_THREADS
        status = image_to_latent(views[0].buf, size, &tables, views[4].buf, views[5].buf, views[6].buf, &outside);
        Py_END_ALLOW_THREADS
        if (raise_status(status) == 0)
            result = PyLong_FromSize_t(outside);
    }
    release_arrays(views, 7);
    return result;
}

static PyObject *py_latent_to_image(PyObject *module, PyObject *args)
{
    (void)module;
    enum { LATENT, STARTS, LIST, WEIGHTS, ASSEMBLY, STEP, DELTA1, DELTA2, ADDED, OUT, COUNT };
    static const struct argument arguments[COUNT] = {
        {"latent", TYPE_INT8, 3, 0},     {"starts", TYPE_INT32, 1, 0},   {"channel_list", TYPE_INT32, 1, 0},
        {"weights", TYPE_FLOAT32, 1, 0}, {"assembly", TYPE_INT32, 2, 0}, {"step", TYPE_FLOAT32, 1, 0},
        {"delta1", TYPE_FLOAT32, 1, 0},  {"delta2", TYPE_FLOAT32, 1, 0}, {"added", TYPE_FLOAT32, 3, 0},
        {"out", TYPE_UINT8, 3, 1}};
    Py_buffer views[COUNT];
    struct image_size size;
    int levels;
    PyObject *result = NULL;
    if (take_call(args, &levels, arguments, COUNT, views) < 0 || take_size(&views[OUT], levels, &size) < 0 ||
        check_latent_shape(&views[LATENT], "latent", size) < 0 ||
        check_side(&views[ASSEMBLY], "assembly", 0, plane_count(size)) < 0 ||
        check_side(&views[ASSEMBLY], "assembly", 1, 3) < 0 ||
        check_side(&views[WEIGHTS], "weights", 0, views[LIST].shape[0]) < 0 ||
        check_side(&views[DELTA1], "delta1", 0, views[STEP].shape[0]) < 0 ||
        check_side(&views[DELTA2], "delta2", 0, views[STEP].shape[0]) < 0)
        goto done;
    const int is_added = views[ADDED].shape[0] > 0;
    if (is_added && (check_latent_shape(&views[ADDED], "added", size) < 0 ||
                     check_side(&views[ADDED], "added", 0, plane_count(size)) < 0))
        goto done;
    if (views[STARTS].shape[0] < 1 || views[STARTS].shape[0] > INT32_MAX || views[LIST].shape[0] > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "starts must hold one number more than there are basis entries");
        goto done;
    }
    if (views[LATENT].shape[0] > views[STEP].shape[0]) {
        PyErr_Format(PyExc_ValueError, "latent has %zd channels where the tables know %zd", views[LATENT].shape[0],
                     views[STEP].shape[0]);
        goto done;
    }
    const struct synthesis_tables tables = {.planes = (size_t)plane_count(size),
                                            .entries = (size_t)views[STARTS].shape[0] - 1,
                                            .channels = (size_t)views[STEP].shape[0],
                                            .list_count = (size_t)views[LIST].shape[0],
                                            .starts = views[STARTS].buf,
                                            .list = views[LIST].buf,
                                            .weights = views[WEIGHTS].buf,
                                            .assembly = views[ASSEMBLY].buf};
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = latent_to_image(views[LATENT].buf, (size_t)views[LATENT].shape[0], &tables, views[STEP].buf,
                               views[DELTA1].buf, views[DELTA2].buf, is_added ? views[ADDED].buf : NULL, views[OUT].buf, size);
    Py_END_ALLOW_THREADS
    if (raise_status(status) == 0)
        result = Py_NewRef(Py_None);
done:
    release_arrays(views, COUNT);
    return result;
}

static PyObject *py_kernel_path(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    return PyUnicode_FromString(path_name(kernel_path()));
}

static PyObject *py_kernel_paths(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    PyObject *names = PyList_New(0);
    for (int path = 0; names != NULL && path < PATH_COUNT; path++) {
        if (!path_available(path))
            continue;
        PyObject *name = PyUnicode_FromString(path_name(path));
        if (name == NULL || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *py_force_path(PyObject *module, PyObject *args)
{
    (void)module;
    const char *name = NULL;
    if (!PyArg_ParseTuple(args, "z", &name))
        return NULL;
    int path = -1;
    for (int i = 0; name != NULL && i < PATH_COUNT; i++)
        if (strcmp(name, path_name(i)) == 0)
            path = i;
    if ((name != NULL && path < 0) || force_path(path) < 0) {
        PyErr_Format(PyExc_ValueError, "this machine cannot run the vector path '%s'; kernel_paths() lists those it can",
                     name);
        return NULL;
    }
    return Py_NewRef(Py_None);
}

PyMethodDef frontend_methods[] = {
    {"image_analysis", py_image_analysis, METH_VARARGS,
     "image_analysis(levels, image, out): packet transform of uint8 (H, W, C) into float32 (4**levels * C, h, w)."},
    {"image_synthesis", py_image_synthesis, METH_VARARGS,
     "image_synthesis(levels, planes, out): the inverse of image_analysis, float32 (4**levels * C, h, w) into uint8 "
     "(H, W, C)."},
    {"image_to_coefs", py_image_to_coefs, METH_VARARGS,
     "image_to_coefs(levels, image, basis, runs, weights, inv_step, out): channels / step as float32 (K, h, w)."},
    {"image_to_latent", py_image_to_latent, METH_VARARGS,
     "image_to_latent(levels, image, basis, runs, weights, inv_step, rounding, out) -> int: quantised channels as "
     "int8 (K, h, w); returns how many values were outside +-127 and limited."},
    {"latent_to_image", py_latent_to_image, METH_VARARGS,
     "latent_to_image(levels, latent, starts, channel_list, weights, assembly, step, delta1, delta2, added, "
     "out): uint8 (H, W, C) from int8 (K' <= K, h, w). added, float32 (planes, h, w) or of no planes, is added to the "
     "planes."},
    {"kernel_path", py_kernel_path, METH_NOARGS, "kernel_path() -> str: the vector path in use."},
    {"kernel_paths", py_kernel_paths, METH_NOARGS, "kernel_paths() -> list of str: the paths this machine can run."},
    {"force_path", py_force_path, METH_VARARGS,
     "force_path(name): uses this vector path from now on, for tests; None goes back to the best one."},
    {NULL, NULL, 0, NULL},
};
