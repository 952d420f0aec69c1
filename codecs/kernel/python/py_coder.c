/* Python's view of the entropy coder: a capsule of tables, and functions that take arrays. */
#include "python/py_coder.h"

#include <stdlib.h>
#include <string.h>

#define CAPSULE "latentstore.codecs._kernel.coder"

void coder_handle_free(coder_handle *h)
{
    if (h)
        ls_coder_free(h->tables);
    free(h);
}

static void capsule_free(PyObject *capsule)
{
    coder_handle_free(PyCapsule_GetPointer(capsule, CAPSULE));
}

coder_handle *coder_handle_new(const char *sha256, Py_ssize_t sha256_size, int precision, Py_ssize_t models,
                               Py_ssize_t channels, Py_ssize_t tables)
{
    if (sha256_size != 32 || precision < 8 || precision > 12 || models < 1 || models > 256 || channels < 1 ||
        channels > LS_MAX_GROUP || tables < 1 || tables > LS_MAX_TABLES) {
        PyErr_SetString(PyExc_ValueError, "entropy tables have impossible sizes");
        return NULL;
    }
    coder_handle *h = calloc(1, sizeof *h);
    if (h)
        h->tables = ls_coder_new((int)models, (int)channels, (int)tables, precision);
    if (!h || !h->tables) {
        free(h);
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(h->sha256, sha256, 32);
    return h;
}

PyObject *coder_handle_capsule(coder_handle *h, int status)
{
    PyObject *capsule = NULL;
    if (status)
        PyErr_SetString(PyExc_ValueError, "entropy tables hold a weight or a frequency outside its range");
    else
        capsule = PyCapsule_New(h, CAPSULE, capsule_free);
    if (!capsule)
        coder_handle_free(h);
    return capsule;
}

coder_handle *coder_handle_take(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, CAPSULE);
}

PyObject *raise_status(int status)
{
    if (status == LS_NO_MEMORY)
        return PyErr_NoMemory();
    return PyErr_Format(PyExc_ValueError, "the entropy coder stopped with status %d", status);
}

static const char coder_new_doc[] =
    "coder_new(sha256, precision, own int32 (m,c,5), bias int32 (m,c), cross uint8 (m,c,c,2), predicted uint8 (m,c),\n"
    "signed_own int32 (m,c,4), signed_cross int32 (m,c,c,9), table uint8 (m,c,4,64), freq int32 (t,64),\n"
    "empty int32 (m,1024)) -> capsule";

static PyObject *coder_new(PyObject *self, PyObject *args)
{
    static const enum value_type types[9] = {TYPE_INT32, TYPE_INT32, TYPE_UINT8, TYPE_UINT8, TYPE_INT32,
                                             TYPE_INT32, TYPE_UINT8, TYPE_INT32, TYPE_INT32};
    static const char *const names[9] = {"own",          "bias",  "cross", "predicted", "signed_own",
                                         "signed_cross", "table", "freq",  "empty"};
    static const int dims[9] = {3, 2, 4, 2, 3, 4, 4, 2, 2};
    const char *sha;
    Py_ssize_t sha_size;
    int precision, status;
    PyObject *o[9], *result = NULL;
    Py_buffer v[9];
    coder_handle *h = NULL;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "y#iOOOOOOOOO", &sha, &sha_size, &precision, &o[0], &o[1], &o[2], &o[3], &o[4],
                          &o[5], &o[6], &o[7], &o[8]))
        return NULL;
    for (int i = 0; i < 9; i++)
        if (take_array(o[i], names[i], types[i], dims[i], 0, &v[i]))
            goto done;
    const Py_ssize_t models = v[0].shape[0], channels = v[0].shape[1], tables = v[7].shape[0];
    if (!(h = coder_handle_new(sha, sha_size, precision, models, channels, tables)))
        goto done;
    const Py_ssize_t expected[9][4] = {{models, channels, 5},         {models, channels},
                                       {models, channels, channels, 2}, {models, channels},
                                       {models, channels, 4},         {models, channels, channels, 9},
                                       {models, channels, LS_FRACTIONS, LS_BUCKETS}, {tables, LS_SYMBOLS},
                                       {models, LS_NEAR}};
    for (int i = 0; i < 9; i++)
        for (int d = 0; d < dims[i]; d++)
            if (check_side(&v[i], names[i], d, expected[i][d]))
                goto done;
    const ls_weights weights = {v[0].buf, v[1].buf, v[2].buf, v[3].buf, v[4].buf, v[5].buf, v[6].buf,
                                v[8].buf};
    status = ls_coder_channels(h->tables, &weights);
    if (!status)
        status = ls_coder_tables(h->tables, v[7].buf);
    result = coder_handle_capsule(h, status);
    h = NULL;
done:
    coder_handle_free(h);
    release_arrays(v, 9);
    return result;
}

int check_plane(const char *name, Py_ssize_t height, Py_ssize_t width)
{
    if (ls_plane_fits(height, width))
        return 0;
    PyErr_Format(PyExc_ValueError, "%s: a plane of %zd x %zd is empty, or beyond %d positions or %d on a side", name,
                 height, width, LS_MAX_AREA, LS_MAX_SIDE);
    return -1;
}

/* a (channels, height, width) array of the coder's group, of one row if that is adaptive; 0 or -1 */
static int take_group(PyObject *o, const char *name, enum value_type type, const coder_handle *h, int writable,
                      Py_buffer *v)
{
    if (take_array(o, name, type, 3, writable, v) || check_side(v, name, 0, h->tables->channels))
        return -1;
    if (!h->tables->adaptive || v->shape[1] == 1)
        return check_plane(name, v->shape[1], v->shape[2]);
    return check_side(v, name, 1, 1);
}

int check_model(const coder_handle *h, int model)
{
    if (model >= 0 && model < h->tables->models)
        return 0;
    PyErr_Format(PyExc_ValueError, "model %d is not one of the artifact's %d", model, h->tables->models);
    return -1;
}

PyObject *join_blob(const coder_handle *h, ls_group *group, const ls_payload *payload)
{
    uint8_t header[32];
    group->payload = payload->bytes;
    group->payload_size = payload->size;
    group->escapes = payload->escapes;
    const size_t size = ls_group_header(header, group, h->sha256);
    PyObject *blob = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size + payload->size));
    if (blob) {
        char *to = PyBytes_AsString(blob);
        memcpy(to, header, size);
        if (payload->size)
            memcpy(to + size, payload->bytes, payload->size);
    }
    return blob;
}

static PyObject *coder_encode(PyObject *self, PyObject *args)
{
    PyObject *capsule, *o, *result = NULL;
    int model, quality;
    Py_buffer v = {0};
    coder_handle *h;
    (void)self;
    if (!PyArg_ParseTuple(args, "OiiO", &capsule, &model, &quality, &o) || !(h = coder_handle_take(capsule)) ||
        check_model(h, model) || take_group(o, "latent", TYPE_INT8, h, 0, &v))
        goto done;
    const int highest = h->tables->adaptive ? LS_MAX_STEP_CODE : LS_MAX_QUALITY;
    if (quality < 0 || quality > highest) {
        PyErr_Format(PyExc_ValueError, "quality %d is not 0 to %d", quality, highest);
        goto done;
    }
    ls_group group = {.model = model, .quality = quality, .height = (int)v.shape[1], .width = (int)v.shape[2]};
    ls_payload payload = {0};
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = ls_encode_group(h->tables, &group, v.buf, &payload.bytes);
    Py_END_ALLOW_THREADS
    payload.size = group.payload_size;
    payload.escapes = group.escapes;
    result = status ? raise_status(status) : join_blob(h, &group, &payload);
    free(payload.bytes);
done:
    release_arrays(&v, 1);
    return result;
}

/* Buffers held while the blobs in them are decoded. */
typedef struct {
    Py_buffer *held;
    Py_ssize_t taken;
    ls_job *jobs;
} blob_list;

static void release_blobs(blob_list *list)
{
    for (Py_ssize_t i = 0; i < list->taken; i++)
        PyBuffer_Release(&list->held[i]);
    free(list->held);
    free(list->jobs);
}

/* jobs of blobs i = buffers[source[i]][start[i] : start[i] + length[i]]; 0, or -1 with an exception */
static int take_blobs(blob_list *list, PyObject *buffers, const Py_buffer *v)
{
    const Py_ssize_t n = v[0].shape[0], count = PyList_Size(buffers);
    const int32_t *source = v[0].buf;
    const int64_t *start = v[1].buf, *length = v[2].buf;
    list->held = calloc((size_t)count + 1, sizeof *list->held);
    list->jobs = calloc((size_t)n + 1, sizeof *list->jobs);
    if (!list->held || !list->jobs) {
        PyErr_NoMemory();
        return -1;
    }
    for (; list->taken < count; list->taken++)
        if (PyObject_GetBuffer(PyList_GetItem(buffers, list->taken), &list->held[list->taken], PyBUF_SIMPLE))
            return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (source[i] < 0 || source[i] >= count || start[i] < 0 || length[i] < 0 ||
            start[i] > list->held[source[i]].len || length[i] > list->held[source[i]].len - start[i]) {
            PyErr_Format(PyExc_ValueError, "blob %zd lies outside its buffer", i);
            return -1;
        }
        list->jobs[i].blob = (const uint8_t *)list->held[source[i]].buf + start[i];
        list->jobs[i].size = (size_t)length[i];
        list->jobs[i].index = (int)i;
    }
    return 0;
}

static PyObject *decoded(int status, int failed)
{
    return status == LS_NO_MEMORY ? PyErr_NoMemory() : Py_BuildValue("ii", status, status ? failed : -1);
}

static const char coder_decode_doc[] =
    "coder_decode(coder, buffers, source int32 (n,), start int64 (n,), length int64 (n,), out int8 (n,c,h,w))\n"
    "-> (status, index): 0 where every blob was decoded, else what is wrong with blob `index`";

static PyObject *coder_decode(PyObject *self, PyObject *args)
{
    PyObject *capsule, *buffers, *o[4], *result = NULL;
    Py_buffer v[4];
    blob_list list = {0};
    coder_handle *h;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OO!OOOO", &capsule, &PyList_Type, &buffers, &o[0], &o[1], &o[2], &o[3]) ||
        !(h = coder_handle_take(capsule)) || take_array(o[0], "source", TYPE_INT32, 1, 0, &v[0]) ||
        take_array(o[1], "start", TYPE_INT64, 1, 0, &v[1]) || take_array(o[2], "length", TYPE_INT64, 1, 0, &v[2]) ||
        take_array(o[3], "out", TYPE_INT8, 4, 1, &v[3]))
        goto done;
    const Py_ssize_t n = v[0].shape[0], height = v[3].shape[2], width = v[3].shape[3];
    if (check_side(&v[1], "start", 0, n) || check_side(&v[2], "length", 0, n) || check_side(&v[3], "out", 0, n) ||
        check_side(&v[3], "out", 1, h->tables->channels))
        goto done;
    if (!ls_plane_fits(height, width) || n > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "out: planes are empty, or beyond 2^22 positions or 2^16 on a side");
        goto done;
    }
    if (take_blobs(&list, buffers, v))
        goto done;
    int failed = -1, status;
    Py_BEGIN_ALLOW_THREADS
    status = ls_decode_jobs(h->tables, h->sha256, list.jobs, (int)n, (int)height, (int)width, v[3].buf, &failed);
    Py_END_ALLOW_THREADS
    result = decoded(status, failed);
done:
    release_blobs(&list);
    release_arrays(v, 4);
    return result;
}

static const char coder_decode_rows_doc[] =
    "coder_decode_rows(coder, buffers, source int32 (n,), start int64 (n,), length int64 (n,), width int32 (n,),\n"
    "out int8 (sum of c * width,)) -> (status, index), as coder_decode: blobs of an adaptive coder, of any widths";

static PyObject *coder_decode_rows(PyObject *self, PyObject *args)
{
    PyObject *capsule, *buffers, *o[5], *result = NULL;
    Py_buffer v[5];
    blob_list list = {0};
    coder_handle *h;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OO!OOOOO", &capsule, &PyList_Type, &buffers, &o[0], &o[1], &o[2], &o[3], &o[4]) ||
        !(h = coder_handle_take(capsule)) || take_array(o[0], "source", TYPE_INT32, 1, 0, &v[0]) ||
        take_array(o[1], "start", TYPE_INT64, 1, 0, &v[1]) || take_array(o[2], "length", TYPE_INT64, 1, 0, &v[2]) ||
        take_array(o[3], "width", TYPE_INT32, 1, 0, &v[3]) || take_array(o[4], "out", TYPE_INT8, 1, 1, &v[4]))
        goto done;
    const Py_ssize_t n = v[0].shape[0];
    if (check_side(&v[1], "start", 0, n) || check_side(&v[2], "length", 0, n) || check_side(&v[3], "width", 0, n) ||
        take_blobs(&list, buffers, v))
        goto done;
    const int32_t *width = v[3].buf;
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (width[i] < 1 || width[i] > LS_MAX_SIDE) {
            PyErr_Format(PyExc_ValueError, "width %d of blob %zd is not 1 to %d", width[i], i, LS_MAX_SIDE);
            goto done;
        }
        list.jobs[i].width = width[i];
        list.jobs[i].out_at = (size_t)total;
        total += (Py_ssize_t)h->tables->channels * width[i];
    }
    if (!h->tables->adaptive || n > INT32_MAX || check_side(&v[4], "out", 0, total)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "rows of many widths are of adaptive coders");
        goto done;
    }
    int failed = -1, status;
    Py_BEGIN_ALLOW_THREADS
    status = ls_decode_rows(h->tables, h->sha256, list.jobs, (int)n, v[4].buf, &failed);
    Py_END_ALLOW_THREADS
    result = decoded(status, failed);
done:
    release_blobs(&list);
    release_arrays(v, 5);
    return result;
}

static PyObject *coder_cost(PyObject *self, PyObject *args)
{
    PyObject *capsule, *o, *result = NULL;
    int model, status;
    double bits = 0;
    Py_buffer v = {0};
    coder_handle *h;
    (void)self;
    if (!PyArg_ParseTuple(args, "OiO", &capsule, &model, &o) || !(h = coder_handle_take(capsule)) ||
        check_model(h, model) || take_group(o, "latent", TYPE_INT8, h, 0, &v))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    status = ls_cost_group(h->tables, model, (int)v.shape[1], (int)v.shape[2], v.buf, &bits);
    Py_END_ALLOW_THREADS
    result = status ? raise_status(status) : PyFloat_FromDouble(bits);
done:
    release_arrays(&v, 1);
    return result;
}

static const char coder_optimise_doc[] =
    "coder_optimise(coder, model, coefficients float32 (c,h,w), weight float32 (c,), lambda, delta float32 (c,2),\n"
    "out int8 (c,h,w)) -> bits";

static PyObject *coder_optimise(PyObject *self, PyObject *args)
{
    PyObject *capsule, *o[4], *result = NULL;
    int model, status;
    float lambda;
    double bits = 0;
    Py_buffer v[4];
    coder_handle *h;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OiOOfOO", &capsule, &model, &o[0], &o[1], &lambda, &o[2], &o[3]) ||
        !(h = coder_handle_take(capsule)) || check_model(h, model) ||
        take_group(o[0], "coefficients", TYPE_FLOAT32, h, 0, &v[0]) ||
        take_array(o[1], "weight", TYPE_FLOAT32, 1, 0, &v[1]) || take_array(o[2], "delta", TYPE_FLOAT32, 2, 0, &v[2]) ||
        take_group(o[3], "out", TYPE_INT8, h, 1, &v[3]) || check_side(&v[1], "weight", 0, h->tables->channels) ||
        check_side(&v[2], "delta", 0, h->tables->channels) || check_side(&v[2], "delta", 1, 2) ||
        check_side(&v[3], "out", 1, v[0].shape[1]) || check_side(&v[3], "out", 2, v[0].shape[2]))
        goto done;
    if (h->tables->adaptive) {
        PyErr_SetString(PyExc_ValueError, "what an adaptive coder is to code, coder_optimise_many makes");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    status = ls_optimise_group(h->tables, model, (int)v[0].shape[1], (int)v[0].shape[2], v[0].buf, v[1].buf, lambda,
                               v[2].buf, v[3].buf, &bits);
    Py_END_ALLOW_THREADS
    result = status ? raise_status(status) : PyFloat_FromDouble(bits);
done:
    release_arrays(v, 4);
    return result;
}

typedef int contexts_of(const ls_coder *coder, int model, int height, int width, const int8_t *latent, uint16_t *codes);

static int dense_contexts(const ls_coder *coder, int model, int height, int width, const int8_t *latent, uint16_t *codes)
{
    return ls_group_codes(coder, model, height, width, latent, 1, codes);
}

static PyObject *contexts(PyObject *args, contexts_of *codes_of)
{
    PyObject *capsule, *o, *result = NULL;
    int model, status = LS_NO_MEMORY;
    Py_buffer v = {0};
    coder_handle *h;
    if (!PyArg_ParseTuple(args, "OiO", &capsule, &model, &o) || !(h = coder_handle_take(capsule)) ||
        check_model(h, model) || take_group(o, "latent", TYPE_INT8, h, 0, &v))
        goto done;
    const Py_ssize_t symbols = v.shape[0] * v.shape[1] * v.shape[2];
    uint16_t *codes = malloc((size_t)symbols * 2 + 64);
    if (codes) {
        Py_BEGIN_ALLOW_THREADS
        status = codes_of(h->tables, model, (int)v.shape[1], (int)v.shape[2], v.buf, codes);
        Py_END_ALLOW_THREADS
    }
    result = status ? raise_status(status) : PyBytes_FromStringAndSize((const char *)codes, symbols * 2);
    free(codes);
done:
    release_arrays(&v, 1);
    return result;
}

static PyObject *coder_contexts(PyObject *self, PyObject *args)
{
    (void)self;
    return contexts(args, dense_contexts);
}

static PyObject *coder_sparse_contexts(PyObject *self, PyObject *args)
{
    (void)self;
    return contexts(args, ls_sparse_codes);
}

static PyObject *crc32c(PyObject *self, PyObject *args)
{
    Py_buffer v;
    unsigned int seed = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*|I", &v, &seed))
        return NULL;
    uint32_t crc;
    Py_BEGIN_ALLOW_THREADS
    crc = ls_crc32c(seed, v.buf, (size_t)v.len);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&v);
    return PyLong_FromUnsignedLong(crc);
}

static PyObject *coder_lanes(PyObject *self, PyObject *args)
{
    int height, width;
    (void)self;
    if (!PyArg_ParseTuple(args, "ii", &height, &width))
        return NULL;
    return PyLong_FromLong(ls_lanes(height, width));
}

extern PyMethodDef coder_methods[];

PyMethodDef coder_methods[] = {
    {"coder_new", coder_new, METH_VARARGS, coder_new_doc},
    {"coder_encode", coder_encode, METH_VARARGS, "coder_encode(coder, model, quality, latent int8 (c,h,w)) -> group blob"},
    {"coder_decode", coder_decode, METH_VARARGS, coder_decode_doc},
    {"coder_decode_rows", coder_decode_rows, METH_VARARGS, coder_decode_rows_doc},
    {"coder_cost", coder_cost, METH_VARARGS, "coder_cost(coder, model, latent int8 (c,h,w)) -> ideal bits"},
    {"coder_optimise", coder_optimise, METH_VARARGS, coder_optimise_doc},
    {"coder_contexts", coder_contexts, METH_VARARGS,
     "coder_contexts(coder, model, latent int8 (c,h,w)) -> uint16 (c,h,w): (fraction level * 64 + bucket) * 64 + symbol"},
    {"coder_sparse_contexts", coder_sparse_contexts, METH_VARARGS,
     "coder_sparse_contexts(coder, model, latent int8 (c,h,w)) -> uint16 (c,h,w): the same of the sparse form, of a model "
     "without predicted channels; 0xffff where no symbol stands"},
    {"coder_lanes", coder_lanes, METH_VARARGS, "coder_lanes(height, width) -> lanes of a plane"},
    {"crc32c", crc32c, METH_VARARGS, "crc32c(data, seed=0) -> int"},
    {NULL, NULL, 0, NULL},
};
