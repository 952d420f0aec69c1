/* Python's view of what only adaptive coders do; for the rest see py_coder.c. */
#include "python/py_coder.h"

#include <stdlib.h>
#include <string.h>

static const char adaptive_new_doc[] =
    "adaptive_new(sha256, precision, own int32 (m,c,5), bias int32 (m,c), cross uint8 (m,c,c,2), taps int32 (m,c,14),\n"
    "source uint8 (m,c,2), rate uint8 (m,c), gain int32 (g,64), table uint8 (m,c,4,64), freq int32 (t,64)) -> capsule";

enum { OWN, BIAS, CROSS, TAPS, SOURCE, RATE, GAIN, TABLE, FREQ, ARRAYS };

static PyObject *adaptive_new(PyObject *self, PyObject *args)
{
    static const struct argument arrays[ARRAYS] = {
        [OWN] = {"own", TYPE_INT32, 3, 0},       [BIAS] = {"bias", TYPE_INT32, 2, 0},
        [CROSS] = {"cross", TYPE_UINT8, 4, 0},   [TAPS] = {"taps", TYPE_INT32, 3, 0},
        [SOURCE] = {"source", TYPE_UINT8, 3, 0}, [RATE] = {"rate", TYPE_UINT8, 2, 0},
        [GAIN] = {"gain", TYPE_INT32, 2, 0},     [TABLE] = {"table", TYPE_UINT8, 4, 0},
        [FREQ] = {"freq", TYPE_INT32, 2, 0}};
    const char *sha;
    Py_ssize_t sha_size;
    int precision, status;
    PyObject *o[ARRAYS], *result = NULL;
    Py_buffer v[ARRAYS];
    coder_handle *h = NULL;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "y#iOOOOOOOOO", &sha, &sha_size, &precision, &o[0], &o[1], &o[2], &o[3], &o[4], &o[5],
                          &o[6], &o[7], &o[8]))
        return NULL;
    for (int i = 0; i < ARRAYS; i++)
        if (take_array(o[i], arrays[i].name, arrays[i].type, arrays[i].ndim, 0, &v[i]))
            goto done;
    const Py_ssize_t m = v[OWN].shape[0], c = v[OWN].shape[1], g = v[GAIN].shape[0], t = v[FREQ].shape[0];
    if (g < 1 || g > LS_MAX_GAINS) {
        PyErr_SetString(PyExc_ValueError, "entropy tables have impossible sizes");
        goto done;
    }
    if (!(h = coder_handle_new(sha, sha_size, precision, m, c, t)))
        goto done;
    const Py_ssize_t expected[ARRAYS][4] = {
        [OWN] = {m, c, 5},
        [BIAS] = {m, c},
        [CROSS] = {m, c, c, 2},
        [TAPS] = {m, c, LS_TAPS},
        [SOURCE] = {m, c, LS_SOURCES},
        [RATE] = {m, c},
        [GAIN] = {g, LS_BUCKETS},
        [TABLE] = {m, c, LS_FRACTIONS, LS_BUCKETS},
        [FREQ] = {t, LS_SYMBOLS},
    };
    for (int i = 0; i < ARRAYS; i++)
        for (int d = 0; d < arrays[i].ndim; d++)
            if (check_side(&v[i], arrays[i].name, d, expected[i][d]))
                goto done;
    const ls_adaptive_weights weights = {v[OWN].buf,  v[BIAS].buf, v[CROSS].buf, v[TAPS].buf, v[SOURCE].buf,
                                         v[RATE].buf, v[GAIN].buf, v[TABLE].buf, (int)g};
    status = ls_coder_adaptive(h->tables, &weights);
    if (!status)
        status = ls_coder_tables(h->tables, v[FREQ].buf);
    result = coder_handle_capsule(h, status);
    h = NULL;
done:
    coder_handle_free(h);
    release_arrays(v, ARRAYS);
    return result;
}

/* models (n,) and an array (n, channels, 1, w) of an adaptive coder; 0 or -1 */
static int take_rows(PyObject *models, PyObject *rows, const char *name, enum value_type type, const coder_handle *h,
                     Py_buffer *v)
{
    if (take_array(models, "models", TYPE_INT32, 1, 0, &v[0]) || take_array(rows, name, type, 4, 0, &v[1]))
        return -1;
    if (!h->tables->adaptive) {
        PyErr_SetString(PyExc_ValueError, "a coder that adaptive_new made is expected");
        return -1;
    }
    if (check_side(&v[1], name, 0, v[0].shape[0]) || check_side(&v[1], name, 1, h->tables->channels) ||
        check_side(&v[1], name, 2, 1) || check_plane(name, 1, v[1].shape[3]))
        return -1;
    if (v[0].shape[0] > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "models: there are more than 2^31 - 1");
        return -1;
    }
    const int32_t *model = v[0].buf;
    for (Py_ssize_t i = 0; i < v[0].shape[0]; i++)
        if (check_model(h, model[i]))
            return -1;
    return 0;
}

static const char coder_encode_many_doc[] =
    "coder_encode_many(coder, models int32 (n,), code, latents int8 (n,c,1,w)) -> n group blobs; code: the step code";

static PyObject *coder_encode_many(PyObject *self, PyObject *args)
{
    PyObject *capsule, *o[2], *result = NULL;
    int code, status;
    Py_buffer v[2];
    ls_payload *payloads = NULL;
    Py_ssize_t n = 0;
    coder_handle *h;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OOiO", &capsule, &o[0], &code, &o[1]) || !(h = coder_handle_take(capsule)) ||
        take_rows(o[0], o[1], "latents", TYPE_INT8, h, v))
        goto done;
    if (code < 0 || code > LS_MAX_STEP_CODE) {
        PyErr_Format(PyExc_ValueError, "quality %d is not 0 to %d", code, LS_MAX_STEP_CODE);
        goto done;
    }
    n = v[0].shape[0];
    const int32_t *models = v[0].buf;
    const int width = (int)v[1].shape[3];
    payloads = calloc((size_t)n + 1, sizeof *payloads);
    if (!payloads) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    status = ls_encode_rows(h->tables, models, (int)n, width, v[1].buf, payloads);
    Py_END_ALLOW_THREADS
    result = status ? raise_status(status) : PyList_New(n);
    for (Py_ssize_t i = 0; result && i < n; i++) {
        ls_group group = {.model = models[i], .quality = code, .height = 1, .width = width};
        PyObject *blob = join_blob(h, &group, payloads + i);
        if (!blob || PyList_SetItem(result, i, blob) < 0) {
            Py_DECREF(result);
            result = NULL;
        }
    }
done:
    for (Py_ssize_t i = 0; payloads && i < n; i++)
        free(payloads[i].bytes);
    free(payloads);
    release_arrays(v, 2);
    return result;
}

static const char coder_optimise_many_doc[] =
    "coder_optimise_many(coder, models int32 (n,), coefficients float32 (n,c,1,w), weight float32 (n,c), lambda,\n"
    "delta float32 (n,c,2), out int8 (n,c,1,w))";

static PyObject *coder_optimise_many(PyObject *self, PyObject *args)
{
    PyObject *capsule, *o[5], *result = NULL;
    float lambda;
    Py_buffer v[5];
    coder_handle *h;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OOOOfOO", &capsule, &o[0], &o[1], &o[2], &lambda, &o[3], &o[4]) ||
        !(h = coder_handle_take(capsule)) || take_rows(o[0], o[1], "coefficients", TYPE_FLOAT32, h, v) ||
        take_array(o[2], "weight", TYPE_FLOAT32, 2, 0, &v[2]) || take_array(o[3], "delta", TYPE_FLOAT32, 3, 0, &v[3]) ||
        take_array(o[4], "out", TYPE_INT8, 4, 1, &v[4]) || check_side(&v[2], "weight", 0, v[0].shape[0]) ||
        check_side(&v[2], "weight", 1, h->tables->channels) || check_side(&v[3], "delta", 0, v[0].shape[0]) ||
        check_side(&v[3], "delta", 1, h->tables->channels) || check_side(&v[3], "delta", 2, 2))
        goto done;
    for (int d = 0; d < 4; d++)
        if (check_side(&v[4], "out", d, v[1].shape[d]))
            goto done;
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = ls_optimise_rows(h->tables, v[0].buf, (int)v[0].shape[0], (int)v[1].shape[3], v[1].buf, v[2].buf, lambda,
                              v[3].buf, v[4].buf);
    Py_END_ALLOW_THREADS
    if (status)
        raise_status(status);
    else
        result = Py_NewRef(Py_None);
done:
    release_arrays(v, 5);
    return result;
}

extern PyMethodDef adaptive_methods[];

PyMethodDef adaptive_methods[] = {
    {"adaptive_new", adaptive_new, METH_VARARGS, adaptive_new_doc},
    {"coder_encode_many", coder_encode_many, METH_VARARGS, coder_encode_many_doc},
    {"coder_optimise_many", coder_optimise_many, METH_VARARGS, coder_optimise_many_doc},
    {NULL, NULL, 0, NULL},
};
