/* Arrays that Python hands to the kernel, through the buffer protocol: contiguous, of the expected type and shape. */
#ifndef LATENTSTORE_PY_BUFFERS_H
#define LATENTSTORE_PY_BUFFERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum value_type { TYPE_UINT8, TYPE_INT8, TYPE_INT16, TYPE_INT32, TYPE_INT64, TYPE_FLOAT32 };

/* Takes a C-contiguous view of `object` with `ndim` dimensions; 0, or -1 with a Python error that names `name`. */
int take_array(PyObject *object, const char *name, enum value_type type, int ndim, int writable, Py_buffer *view);

/* One array argument: where it is, what it must be. */
struct argument {
    const char *name;
    enum value_type type;
    int ndim, writable;
};

/* Takes the arrays of a call with `count` arguments; what was taken is to be released even after -1. */
int take_arguments(PyObject *args, const struct argument *arguments, Py_ssize_t count, Py_buffer *views);

/* Releases views, of which those never taken are all zero. */
void release_arrays(Py_buffer *views, size_t count);

/* Sets ValueError unless the array has this many entries along the dimension; 0 or -1. */
int check_side(const Py_buffer *view, const char *name, int dimension, Py_ssize_t expected);

#endif
