/* Python's view of the entropy coder. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef coder_methods[];

PyMethodDef coder_methods[] = {
    {NULL, NULL, 0, NULL},
};
