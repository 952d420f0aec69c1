/* Python's view of the coder of tensors: a capsule of its parts, and functions that take arrays. */
#include "python/py_blobs.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

#define CAPSULE "latentstore.codecs._kernel.tensor"

static void capsule_free(PyObject *capsule)
{
    tensor_coder_free(PyCapsule_GetPointer(capsule, CAPSULE));
}

enum { STEPS, MEANS, SPIKED, FINE, COUNT, BACK, SHIFT, WEIGHT, ACTIVITY, BIAS, FREQUENCIES, PARTS };

static const char tensor_new_doc[] =
    "tensor_new(steps float32 (c,), means int32 (c,), spiked uint8 (c,), fine uint8 (c,), tap_count uint8 (c,4),\n"
    "tap_back uint16 (t,) as int16, tap_shift int8 (t,2), tap_weight int16 (t,), activity uint16 (c,4,5) as int16, bias int32 (c,4),\n"
    "frequencies uint16 (2,72,64) as int16) -> capsule";

static PyObject *tensor_new(PyObject *self, PyObject *args)
{
    static const struct argument arguments[PARTS] = {
        {"steps", TYPE_FLOAT32, 1, 0},   {"means", TYPE_INT32, 1, 0},      {"spiked", TYPE_UINT8, 1, 0},
        {"fine", TYPE_UINT8, 1, 0},      {"tap_count", TYPE_UINT8, 2, 0},  {"tap_back", TYPE_INT16, 1, 0},
        {"tap_shift", TYPE_INT8, 2, 0},   {"tap_weight", TYPE_INT16, 1, 0},
        {"activity", TYPE_INT16, 3, 0},  {"bias", TYPE_INT32, 2, 0},       {"frequencies", TYPE_INT16, 3, 0},
    };
    Py_buffer v[PARTS];
    PyObject *result = NULL;
    (void)self;
    if (take_arguments(args, arguments, PARTS, v))
        goto done;
    const Py_ssize_t channels = v[STEPS].shape[0], taps = v[BACK].shape[0];
    if (channels < 1 || channels > TENSOR_MAX_CHANNELS) {
        PyErr_Format(PyExc_ValueError, "%zd channels are not 1 to %d", channels, TENSOR_MAX_CHANNELS);
        goto done;
    }
    const Py_ssize_t sides[][3] = {{MEANS, 0, channels},      {SPIKED, 0, channels},      {FINE, 0, channels},
                                   {COUNT, 0, channels},       {COUNT, 1, TENSOR_PHASES},
                                   {SHIFT, 0, taps},          {SHIFT, 1, 2},              {WEIGHT, 0, taps},
                                   {ACTIVITY, 0, channels},   {ACTIVITY, 1, TENSOR_PHASES}, {ACTIVITY, 2, TENSOR_SUMS},
                                   {BIAS, 0, channels},       {BIAS, 1, TENSOR_PHASES},   {FREQUENCIES, 0, 2},
                                   {FREQUENCIES, 1, TENSOR_BUCKETS}, {FREQUENCIES, 2, TENSOR_SYMBOLS}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        if (check_side(&v[sides[i][0]], arguments[sides[i][0]].name, (int)sides[i][1], sides[i][2]))
            goto done;
    const tensor_parts parts = {(int)channels,  v[STEPS].buf, v[MEANS].buf,  v[SPIKED].buf, v[FINE].buf, v[COUNT].buf,   v[BACK].buf,
                                v[SHIFT].buf,   v[WEIGHT].buf, taps,         v[ACTIVITY].buf, v[BIAS].buf,
                                v[FREQUENCIES].buf};
    tensor_coder *coder;
    const int status = tensor_coder_new(&coder, &parts);
    if (status == LS_NO_MEMORY)
        PyErr_NoMemory();
    else if (status)
        PyErr_SetString(PyExc_ValueError, "a number lies outside its range, or a sum is not what it must be");
    else if (!(result = PyCapsule_New(coder, CAPSULE, capsule_free)))
        tensor_coder_free(coder);
done:
    release_arrays(v, PARTS);
    return result;
}

static tensor_shape shape_at(const int64_t *numbers)
{
    return (tensor_shape){numbers[0], numbers[1], numbers[2], numbers[3]};
}

/* What a call of tensor_decode holds on to. */
typedef struct {
    buffer_list buffers, outputs;
    tensor_job *jobs;
} held;

static void let_go(held *h)
{
    release_buffers(&h->buffers);
    release_buffers(&h->outputs);
    free(h->jobs);
}

static int64_t values_of(const tensor_coder *coder, const tensor_shape *shape)
{
    return shape->frames * shape->height * shape->width * coder->channels;
}

/* Jobs of arrays whose shapes and types are given; 0, or -1 with an exception. */
static int take_sources(const buffer_list *arrays, const tensor_coder *coder, const Py_buffer *v,
                        tensor_source_job *jobs)
{
    const int64_t *shape = v[0].buf;
    const uint8_t *type = v[1].buf;
    for (Py_ssize_t i = 0; i < arrays->count; i++) {
        tensor_geometry g;
        jobs[i] = (tensor_source_job){{shape_at(shape + 4 * i), (int)i}, type[i], arrays->held[i].buf, NULL, 0};
        const int64_t bytes = type[i] == TENSOR_FLOAT32 ? 4 : 2;
        if (type[i] >= TENSOR_INT32 || tensor_geometry_make(&g, &jobs[i].item.shape, coder->channels, 1) ||
            arrays->held[i].len != values_of(coder, &jobs[i].item.shape) * bytes) {
            PyErr_Format(PyExc_ValueError, "array %zd has another size than its shape and type", i);
            return -1;
        }
    }
    return 0;
}

/* What jobs were coded to, with their sums; the memory is theirs from now on. */
static void sum_payloads(const blob_heads *heads, tensor_source_job *jobs, Py_ssize_t count, coded_payload *to)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        to[i] = (coded_payload){jobs[i].payload, jobs[i].size, 0};
        sum_payload(heads, i, to + i);
    }
}

static PyObject *take_blobs(const blob_heads *heads, const coded_payload *coded, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *blob = blob_of(heads, i, coded + i);
        if (!blob || PyList_SetItem(list, i, blob))
            Py_CLEAR(list);
    }
    return list;
}

static const char tensor_encode_doc[] =
    "tensor_encode(coder, arrays: a list of buffers, channel after channel, shapes int64 (n,4): frames, height, width,\n"
    "inner, types uint8 (n,): 0 float32, 1 float16, 2 bfloat16, heads: a list of n buffers, or empty, crcs int64 (n,) or\n"
    "(0,)) -> (0, -1, payloads), or (status, index, []): array `index` has NaN or an infinity (-4), or a value that lies\n"
    "beyond int32 in its channel's steps (-7). heads, crcs: see tokens_encode";

static PyObject *tensor_encode_many(PyObject *self, PyObject *args)
{
    PyObject *capsule, *list, *heads_list, *crcs, *o[2], *result = NULL;
    Py_buffer v[2];
    buffer_list arrays = {0};
    blob_heads heads = {0};
    tensor_coder *coder;
    tensor_source_job *jobs = NULL;
    coded_payload *coded = NULL;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OO!OOO!O", &capsule, &PyList_Type, &list, &o[0], &o[1], &PyList_Type, &heads_list,
                          &crcs) ||
        !(coder = PyCapsule_GetPointer(capsule, CAPSULE)) || take_array(o[0], "shapes", TYPE_INT64, 2, 0, &v[0]) ||
        take_array(o[1], "types", TYPE_UINT8, 1, 0, &v[1]))
        goto done;
    const Py_ssize_t n = PyList_Size(list);
    if (n > INT32_MAX || check_side(&v[0], "shapes", 0, n) || check_side(&v[0], "shapes", 1, 4) ||
        check_side(&v[1], "types", 0, n) || hold_buffers(&arrays, list, PyBUF_SIMPLE) ||
        hold_heads(&heads, heads_list, crcs, n))
        goto done;
    jobs = calloc((size_t)n + 1, sizeof *jobs);
    coded = calloc((size_t)n + 1, sizeof *coded);
    if (!jobs || !coded) {
        PyErr_NoMemory();
        goto done;
    }
    if (take_sources(&arrays, coder, v, jobs))
        goto done;
    int failed = -1, status;
    Py_BEGIN_ALLOW_THREADS
    status = tensor_encode(coder, jobs, (int)n, &failed);
    if (!status)
        sum_payloads(&heads, jobs, n, coded);
    Py_END_ALLOW_THREADS
    if (status == LS_NO_MEMORY) {
        PyErr_NoMemory();
        goto done;
    }
    PyObject *blobs = status ? PyList_New(0) : take_blobs(&heads, coded, n);
    if (blobs)
        result = Py_BuildValue("iiN", status, failed, blobs);
    for (Py_ssize_t i = 0; i < n; i++)
        free(coded[i].bytes);
done:
    free(jobs);
    free(coded);
    release_buffers(&arrays);
    release_heads(&heads);
    release_arrays(v, 2);
    return result;
}

/* Jobs of payloads i = buffers[source[i]][start[i] : start[i] + length[i]]; 0, or -1 with an exception. */
static int take_jobs(held *h, const tensor_coder *coder, const Py_buffer *v)
{
    const Py_ssize_t n = v[0].shape[0];
    const int32_t *source = v[0].buf;
    const int64_t *start = v[1].buf, *length = v[2].buf, *shape = v[3].buf;
    const uint8_t *type = v[4].buf;
    if (!(h->jobs = calloc((size_t)n + 1, sizeof *h->jobs))) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        tensor_geometry g;
        if (source[i] < 0 || source[i] >= h->buffers.count || start[i] < 0 || length[i] < 0 ||
            start[i] > h->buffers.held[source[i]].len || length[i] > h->buffers.held[source[i]].len - start[i]) {
            PyErr_Format(PyExc_ValueError, "payload %zd lies outside its buffer", i);
            return -1;
        }
        tensor_job *job = h->jobs + i;
        job->payload = (const uint8_t *)h->buffers.held[source[i]].buf + start[i];
        job->size = (size_t)length[i];
        job->item = (tensor_item){shape_at(shape + 4 * i), (int)i};
        job->type = type[i];
        job->out = h->outputs.held[i].buf;
        const int64_t bytes = type[i] == TENSOR_FLOAT32 || type[i] == TENSOR_INT32 ? 4 : 2;
        if (type[i] >= TENSOR_TYPES || tensor_geometry_make(&g, &job->item.shape, coder->channels, 1) ||
            h->outputs.held[i].len != values_of(coder, &job->item.shape) * bytes) {
            PyErr_Format(PyExc_ValueError, "output %zd has another size than its shape and type", i);
            return -1;
        }
    }
    return 0;
}

static const char tensor_decode_doc[] =
    "tensor_decode(coder, buffers, source int32 (n,), start int64 (n,), length int64 (n,), shapes int64 (n,4): frames,\n"
    "height, width, inner, types uint8 (n,): 0 float32, 1 float16, 2 bfloat16, 3 int32 without steps, outputs: writable\n"
    "buffers) -> (status, index): 0 where every payload was decoded, else what is wrong with payload `index`";

static PyObject *tensor_decode_many(PyObject *self, PyObject *args)
{
    PyObject *capsule, *buffers, *outputs, *o[5], *result = NULL;
    Py_buffer v[5];
    held h = {0};
    tensor_coder *coder;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OO!OOOOOO!", &capsule, &PyList_Type, &buffers, &o[0], &o[1], &o[2], &o[3], &o[4],
                          &PyList_Type, &outputs) ||
        !(coder = PyCapsule_GetPointer(capsule, CAPSULE)) || take_array(o[0], "source", TYPE_INT32, 1, 0, &v[0]) ||
        take_array(o[1], "start", TYPE_INT64, 1, 0, &v[1]) || take_array(o[2], "length", TYPE_INT64, 1, 0, &v[2]) ||
        take_array(o[3], "shapes", TYPE_INT64, 2, 0, &v[3]) || take_array(o[4], "types", TYPE_UINT8, 1, 0, &v[4]))
        goto done;
    const Py_ssize_t n = v[0].shape[0];
    if (n > INT32_MAX || PyList_Size(outputs) != n) {
        PyErr_SetString(PyExc_ValueError, "there must be one output for each payload");
        goto done;
    }
    if (check_side(&v[1], "start", 0, n) || check_side(&v[2], "length", 0, n) || check_side(&v[3], "shapes", 0, n) ||
        check_side(&v[3], "shapes", 1, 4) || check_side(&v[4], "types", 0, n) ||
        hold_buffers(&h.buffers, buffers, PyBUF_SIMPLE) ||
        hold_buffers(&h.outputs, outputs, PyBUF_WRITABLE) || take_jobs(&h, coder, v))
        goto done;
    int failed = -1, status;
    Py_BEGIN_ALLOW_THREADS
    status = tensor_decode(coder, h.jobs, (int)n, &failed);
    Py_END_ALLOW_THREADS
    result = status == LS_NO_MEMORY ? PyErr_NoMemory() : Py_BuildValue("ii", status, status ? failed : -1);
done:
    let_go(&h);
    release_arrays(v, 5);
    return result;
}

extern PyMethodDef tensor_methods[];

PyMethodDef tensor_methods[] = {
    {"tensor_new", tensor_new, METH_VARARGS, tensor_new_doc},
    {"tensor_encode", tensor_encode_many, METH_VARARGS, tensor_encode_doc},
    {"tensor_decode", tensor_decode_many, METH_VARARGS, tensor_decode_doc},
    {NULL, NULL, 0, NULL},
};
