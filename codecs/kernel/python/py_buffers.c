#include "python/py_buffers.h"

#include <string.h>

static const struct {
    const char *name;
    const char *formats; /* what the struct module calls it, on any platform */
    Py_ssize_t bytes;
} types[] = {
    [TYPE_UINT8] = {"uint8", "B", 1},
    [TYPE_INT8] = {"int8", "b", 1},
    [TYPE_INT16] = {"int16", "h", 2},
    [TYPE_INT32] = {"int32", "il", 4},
    [TYPE_INT64] = {"int64", "lq", 8},
    [TYPE_FLOAT32] = {"float32", "f", 4},
};

int take_array(PyObject *object, const char *name, enum value_type type, int ndim, int writable, Py_buffer *view)
{
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    memset(view, 0, sizeof *view);
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return -1;
    const char *format = view->format ? view->format : "B";
    if (strlen(format) != 1 || strchr(types[type].formats, format[0]) == NULL || view->itemsize != types[type].bytes) {
        PyErr_Format(PyExc_ValueError, "%s must hold %s values, not format '%s' of %zd bytes", name, types[type].name,
                     format, view->itemsize);
    } else if (view->ndim != ndim) {
        PyErr_Format(PyExc_ValueError, "%s must have %d dimensions, not %d", name, ndim, view->ndim);
    } else {
        return 0;
    }
    PyBuffer_Release(view);
    memset(view, 0, sizeof *view);
    return -1;
}

int take_arguments(PyObject *args, const struct argument *arguments, Py_ssize_t count, Py_buffer *views)
{
    memset(views, 0, (size_t)count * sizeof *views);
    if (PyTuple_Size(args) != count) {
        PyErr_Format(PyExc_TypeError, "%zd arrays are expected, not %zd", count, PyTuple_Size(args));
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const struct argument *a = &arguments[i];
        if (take_array(PyTuple_GetItem(args, i), a->name, a->type, a->ndim, a->writable, &views[i]) < 0)
            return -1;
    }
    return 0;
}

void release_arrays(Py_buffer *views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (views[i].obj != NULL)
            PyBuffer_Release(&views[i]);
}

int check_side(const Py_buffer *view, const char *name, int dimension, Py_ssize_t expected)
{
    if (view->shape[dimension] == expected)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has %zd entries along dimension %d where %zd are expected", name,
                 view->shape[dimension], dimension, expected);
    return -1;
}
