/* What the two files of Python's view of the entropy coder share. */
#ifndef LATENTSTORE_PY_CODER_H
#define LATENTSTORE_PY_CODER_H

#include "python/py_buffers.h"

#include "coder/coder.h"

typedef struct {
    ls_coder *tables;
    uint8_t sha256[32];
} coder_handle;

/* A handle with room for such tables, or NULL with a Python error. */
coder_handle *coder_handle_new(const char *sha256, Py_ssize_t sha256_size, int precision, Py_ssize_t models,
                               Py_ssize_t channels, Py_ssize_t tables);
/* Its capsule, which owns it; status: of filling the tables. NULL, with a Python error and without the handle, where
 * that or this failed. */
PyObject *coder_handle_capsule(coder_handle *h, int status);
void coder_handle_free(coder_handle *h); /* NULL too */
/* The handle in a capsule, or NULL with a Python error. */
coder_handle *coder_handle_take(PyObject *capsule);

/* Sets ValueError unless the coder has such a model; 0 or -1. */
int check_model(const coder_handle *h, int model);
/* Sets ValueError unless planes may be of this size; 0 or -1. */
int check_plane(const char *name, Py_ssize_t height, Py_ssize_t width);

/* The Python error of a status; NULL. */
PyObject *raise_status(int status);
/* A blob of header and payload. */
PyObject *join_blob(const coder_handle *h, ls_group *group, const ls_payload *payload);

#endif
