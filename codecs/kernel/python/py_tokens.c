/* Python's view of the coder of tokens: a capsule of a model, and functions that take bytes. */
#include "python/py_blobs.h"

#include <stdlib.h>
#include <string.h>

#include "coder/coder.h"
#include "tokens/frame.h"
#include "tokens/tokens.h"

#define CAPSULE "latentstore.codecs._kernel.tokens"

static void capsule_free(PyObject *capsule)
{
    tok_model_free(PyCapsule_GetPointer(capsule, CAPSULE));
}

enum { BASE, EXTRA, FREQ, TABLE, SIZES, CODES, ARRAYS };

static const char tokens_new_doc[] =
    "tokens_new(bytes, shift, last, base int64 (t,), extra uint8 (t,), freq int32 (tables,t), table uint8 (c,),\n"
    "sizes int32 (1 + c,) or (0,), codes int32 (1 + c, last + 1) or (0, 0)) -> capsule. See codecs/kernel/tokens/tokens.h";

static PyObject *tokens_new(PyObject *self, PyObject *args)
{
    static const struct argument arrays[ARRAYS] = {
        [BASE] = {"base", TYPE_INT64, 1, 0},   [EXTRA] = {"extra", TYPE_UINT8, 1, 0},
        [FREQ] = {"freq", TYPE_INT32, 2, 0},   [TABLE] = {"table", TYPE_UINT8, 1, 0},
        [SIZES] = {"sizes", TYPE_INT32, 1, 0}, [CODES] = {"codes", TYPE_INT32, 2, 0}};
    int bytes, shift, status;
    long long last;
    PyObject *o[ARRAYS], *result = NULL;
    Py_buffer v[ARRAYS];
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "iiLOOOOOO", &bytes, &shift, &last, &o[0], &o[1], &o[2], &o[3], &o[4], &o[5]))
        return NULL;
    for (int i = 0; i < ARRAYS; i++)
        if (take_array(o[i], arrays[i].name, arrays[i].type, arrays[i].ndim, 0, &v[i]))
            goto done;
    const Py_ssize_t tokens = v[BASE].shape[0], tables = v[FREQ].shape[0], channels = v[TABLE].shape[0];
    const int ranked = v[SIZES].shape[0] != 0;
    if (last < 0 || last > UINT32_MAX || tokens > TOK_MAX_TOKENS || tables > TOK_MAX_TABLES || channels > 65536) {
        PyErr_SetString(PyExc_ValueError, "the tables of tokens have impossible sizes");
        goto done;
    }
    if (check_side(&v[EXTRA], "extra", 0, tokens) || check_side(&v[FREQ], "freq", 1, tokens) ||
        (ranked && (check_side(&v[SIZES], "sizes", 0, 1 + channels) || check_side(&v[CODES], "codes", 0, 1 + channels) ||
                    check_side(&v[CODES], "codes", 1, (Py_ssize_t)last + 1))))
        goto done;
    tok_model *m = tok_model_new(bytes, shift, (uint32_t)last, (int)tokens, v[BASE].buf, v[EXTRA].buf, (int)tables,
                                 v[FREQ].buf, (int)channels, v[TABLE].buf, ranked ? v[SIZES].buf : NULL,
                                 ranked ? v[CODES].buf : NULL, &status);
    if (!m && status == TOK_NO_MEMORY)
        PyErr_NoMemory();
    else if (!m)
        PyErr_SetString(PyExc_ValueError, "the tables of tokens hold a number outside its range");
    else if (!(result = PyCapsule_New(m, CAPSULE, capsule_free)))
        tok_model_free(m);
done:
    release_arrays(v, ARRAYS);
    return result;
}

/* The shape of an array of so many bytes; 0 or -1 with an error. */
static int take_shape(const tok_model *m, Py_ssize_t bytes, long long inner, tok_shape *shape)
{
    *shape = (tok_shape){(size_t)bytes / (size_t)m->bytes, (size_t)inner};
    if (inner >= 0 && bytes % m->bytes == 0 &&
        (inner == 0 || m->channels == 0 || (inner <= PY_SSIZE_T_MAX / m->channels &&
                                            shape->values % ((size_t)inner * (size_t)m->channels) == 0)))
        return 0;
    PyErr_SetString(PyExc_ValueError, "an array does not hold whole values, or whole channels");
    return -1;
}

/* Codes arrays to `before` and their payloads; outside: where a value of an array has no token, which has no payload. */
static int encode_all(const tok_model *m, const buffer_list *arrays, const tok_shape *shapes, const blob_heads *heads,
                      const char *before, size_t before_size, coded_payload *to, size_t *outside)
{
    tok_scratch scratch = {NULL, 0};
    int status = TOK_OK;
    for (Py_ssize_t i = 0; i < arrays->count && status != TOK_NO_MEMORY; i++) {
        tok_coded coded;
        status = tok_encode(m, shapes + i, arrays->held[i].buf, &coded, &scratch);
        outside[i] = coded.outside;
        if (status)
            continue;
        to[i].size = before_size + coded.size;
        if (!(to[i].bytes = malloc(to[i].size + 1))) {
            status = TOK_NO_MEMORY;
            break;
        }
        memcpy(to[i].bytes, before, before_size);
        tok_write(&coded, to[i].bytes + before_size);
        sum_payload(heads, i, to + i);
    }
    tok_scratch_free(&scratch);
    return status == TOK_NO_MEMORY ? TOK_NO_MEMORY : TOK_OK;
}

static PyObject *take_coded(const blob_heads *heads, const coded_payload *coded, const size_t *outside, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *one = coded[i].bytes ? blob_of(heads, i, coded + i) : PyLong_FromSize_t(outside[i]);
        if (!one || PyList_SetItem(list, i, one))
            Py_CLEAR(list);
    }
    return list;
}

/* The shapes of held arrays; NULL with an exception. */
static tok_shape *take_shapes(const tok_model *m, const buffer_list *arrays, const Py_buffer *inner)
{
    tok_shape *shapes = calloc((size_t)arrays->count + 1, sizeof *shapes);
    if (!shapes)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; shapes && i < arrays->count; i++)
        if (take_shape(m, arrays->held[i].len, ((const int64_t *)inner->buf)[i], shapes + i)) {
            free(shapes);
            return NULL;
        }
    return shapes;
}

static const char tokens_encode_doc[] =
    "tokens_encode(model, arrays: a list of buffers, inner int64 (n,), before, heads: a list of n buffers, or empty,\n"
    "crcs int64 (n,) or (0,)) -> for each array, before + its payload, or the position of a value that has no token.\n"
    "inner: how many values of a channel follow each other, or 0 for arrays that have not the model's channels.\n"
    "heads: what stands before, followed by the CRC-32C, which goes on from crcs, of all that comes after it";

static PyObject *tokens_encode(PyObject *self, PyObject *args)
{
    PyObject *capsule, *list, *o, *heads_list, *crcs, *result = NULL;
    const char *before;
    Py_ssize_t before_size;
    Py_buffer v = {0};
    buffer_list arrays = {0};
    blob_heads heads = {0};
    tok_shape *shapes = NULL;
    coded_payload *coded = NULL;
    size_t *outside = NULL;
    tok_model *m;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO!Oy#O!O", &capsule, &PyList_Type, &list, &o, &before, &before_size, &PyList_Type,
                          &heads_list, &crcs) ||
        !(m = PyCapsule_GetPointer(capsule, CAPSULE)) || take_array(o, "inner", TYPE_INT64, 1, 0, &v) ||
        check_side(&v, "inner", 0, PyList_Size(list)) || hold_buffers(&arrays, list, PyBUF_SIMPLE) ||
        hold_heads(&heads, heads_list, crcs, arrays.count) || !(shapes = take_shapes(m, &arrays, &v)))
        goto done;
    coded = calloc((size_t)arrays.count + 1, sizeof *coded);
    outside = calloc((size_t)arrays.count + 1, sizeof *outside);
    if (!coded || !outside) {
        PyErr_NoMemory();
        goto done;
    }
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = encode_all(m, &arrays, shapes, &heads, before, (size_t)before_size, coded, outside);
    Py_END_ALLOW_THREADS
    result = status ? PyErr_NoMemory() : take_coded(&heads, coded, outside, arrays.count);
    for (Py_ssize_t i = 0; i < arrays.count; i++)
        free(coded[i].bytes);
done:
    free(coded);
    free(outside);
    free(shapes);
    release_buffers(&arrays);
    release_heads(&heads);
    release_arrays(&v, 1);
    return result;
}

static const char tokens_repeats_doc[] =
    "tokens_repeats(arrays: a list of n buffers, width, rows int64 (n,), steps int64 (n,)) -> for each array how many of\n"
    "every `step`-th value of so many bytes, from the second row of `row` values on, are not 0 and equal the value a row\n"
    "before";

static Py_ssize_t repeats(const uint8_t *value, Py_ssize_t values, Py_ssize_t width, int64_t row, int64_t step)
{
    static const uint8_t zero[4];
    Py_ssize_t count = 0;
    for (int64_t i = row; i < values; i += step)
        count += !memcmp(value + i * width, value + (i - row) * width, (size_t)width) &&
                 memcmp(value + i * width, zero, (size_t)width);
    return count;
}

static PyObject *tokens_repeats(PyObject *self, PyObject *args)
{
    PyObject *list, *o[2], *result = NULL;
    Py_ssize_t width;
    Py_buffer v[2];
    buffer_list arrays = {0};
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "O!nOO", &PyList_Type, &list, &width, &o[0], &o[1]) ||
        take_array(o[0], "rows", TYPE_INT64, 1, 0, &v[0]) || take_array(o[1], "steps", TYPE_INT64, 1, 0, &v[1]) ||
        check_side(&v[0], "rows", 0, PyList_Size(list)) || check_side(&v[1], "steps", 0, PyList_Size(list)) ||
        hold_buffers(&arrays, list, PyBUF_SIMPLE) || !(result = PyList_New(arrays.count)))
        goto done;
    const int64_t *rows = v[0].buf, *steps = v[1].buf;
    for (Py_ssize_t i = 0; result && i < arrays.count; i++) {
        const Py_ssize_t bytes = arrays.held[i].len;
        if (width < 1 || width > 4 || rows[i] < 1 || rows[i] > bytes || steps[i] < 1 || steps[i] > bytes) {
            PyErr_SetString(PyExc_ValueError, "width, rows and steps are at least 1, and not beyond the array");
            Py_CLEAR(result);
            break;
        }
        PyObject *count = PyLong_FromSsize_t(repeats(arrays.held[i].buf, bytes / width, width, rows[i], steps[i]));
        if (!count || PyList_SetItem(result, i, count))
            Py_CLEAR(result);
    }
done:
    release_buffers(&arrays);
    release_arrays(v, 2);
    return result;
}

static int check_blobs(const buffer_list *buffers, const Py_buffer *v)
{
    const int32_t *source = v[0].buf;
    const int64_t *start = v[1].buf, *length = v[2].buf;
    for (Py_ssize_t i = 0; i < v[0].shape[0]; i++)
        if (source[i] < 0 || source[i] >= buffers->count || start[i] < 0 || length[i] < 0 ||
            start[i] > buffers->held[source[i]].len || length[i] > buffers->held[source[i]].len - start[i]) {
            PyErr_Format(PyExc_ValueError, "blob %zd lies outside its buffer", i);
            return -1;
        }
    return 0;
}

static int decode_all(const tok_model *m, const buffer_list *buffers, const Py_buffer *v, const buffer_list *outputs,
                      const tok_shape *shapes, Py_ssize_t *failed)
{
    const int32_t *source = v[0].buf;
    const int64_t *start = v[1].buf, *length = v[2].buf;
    tok_scratch scratch = {NULL, 0};
    int status = TOK_OK;
    for (Py_ssize_t i = 0; i < outputs->count && !status; i++) {
        const uint8_t *payload = (const uint8_t *)buffers->held[source[i]].buf + start[i];
        status = tok_decode(m, shapes + i, payload, (size_t)length[i], outputs->held[i].buf, &scratch);
        *failed = i;
    }
    tok_scratch_free(&scratch);
    return status;
}

static const char tokens_decode_doc[] =
    "tokens_decode(model, buffers, source int32 (n,), start int64 (n,), length int64 (n,), inner int64 (n,), outputs)\n"
    "-> (status, index): 0 where every payload was decoded to its output, a list of n buffers, else what is wrong with\n"
    "payload `index`";

static PyObject *tokens_decode(PyObject *self, PyObject *args)
{
    PyObject *capsule, *list, *outputs_list, *o[4], *result = NULL;
    Py_buffer v[4];
    buffer_list buffers = {0}, outputs = {0};
    tok_shape *shapes = NULL;
    tok_model *m;
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "OO!OOOOO!", &capsule, &PyList_Type, &list, &o[0], &o[1], &o[2], &o[3], &PyList_Type,
                          &outputs_list) ||
        !(m = PyCapsule_GetPointer(capsule, CAPSULE)) || take_array(o[0], "source", TYPE_INT32, 1, 0, &v[0]) ||
        take_array(o[1], "start", TYPE_INT64, 1, 0, &v[1]) || take_array(o[2], "length", TYPE_INT64, 1, 0, &v[2]) ||
        take_array(o[3], "inner", TYPE_INT64, 1, 0, &v[3]))
        goto done;
    const Py_ssize_t n = PyList_Size(outputs_list);
    if (check_side(&v[0], "source", 0, n) || check_side(&v[1], "start", 0, n) || check_side(&v[2], "length", 0, n) ||
        check_side(&v[3], "inner", 0, n) || hold_buffers(&buffers, list, PyBUF_SIMPLE) || check_blobs(&buffers, v) ||
        hold_buffers(&outputs, outputs_list, PyBUF_WRITABLE))
        goto done;
    if (!(shapes = take_shapes(m, &outputs, &v[3])))
        goto done;
    Py_ssize_t failed = -1;
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = decode_all(m, &buffers, v, &outputs, shapes, &failed);
    Py_END_ALLOW_THREADS
    result = status == TOK_NO_MEMORY ? PyErr_NoMemory() : Py_BuildValue("in", status, status ? failed : (Py_ssize_t)-1);
done:
    free(shapes);
    release_buffers(&buffers);
    release_buffers(&outputs);
    release_arrays(v, 4);
    return result;
}

static const char tensor_frames_doc[] =
    "tensor_frames(first, sha256, checked, buffers, source int32 (n,), start int64 (n,), length int64 (n,),\n"
    "ranks uint8 (n,), sides int64 (n, 8), offsets int64 (n,)) -> (status, index): what blobs say in their frames goes to\n"
    "ranks, sides and offsets of payloads; 0, or what is wrong with blob `index`. first: the byte they begin with";

static PyObject *tensor_frames(PyObject *self, PyObject *args)
{
    static const struct argument arrays[6] = {{"source", TYPE_INT32, 1, 0}, {"start", TYPE_INT64, 1, 0},
                                              {"length", TYPE_INT64, 1, 0}, {"ranks", TYPE_UINT8, 1, 1},
                                              {"sides", TYPE_INT64, 2, 1},  {"offsets", TYPE_INT64, 1, 1}};
    int first, checked, status = FRAME_OK;
    const char *sha256;
    Py_ssize_t sha256_size, failed = -1;
    PyObject *list, *o[6], *result = NULL;
    Py_buffer v[6];
    buffer_list buffers = {0};
    (void)self;
    memset(v, 0, sizeof v);
    if (!PyArg_ParseTuple(args, "iy#pO!OOOOOO", &first, &sha256, &sha256_size, &checked, &PyList_Type, &list, &o[0],
                          &o[1], &o[2], &o[3], &o[4], &o[5]))
        return NULL;
    for (int i = 0; i < 6; i++)
        if (take_array(o[i], arrays[i].name, arrays[i].type, arrays[i].ndim, arrays[i].writable, &v[i]) ||
            check_side(&v[i], arrays[i].name, 0, v[0].shape[0]))
            goto done;
    if (check_side(&v[4], "sides", 1, FRAME_MAX_RANK) || hold_buffers(&buffers, list, PyBUF_SIMPLE) || check_blobs(&buffers, v))
        goto done;
    const int32_t *source = v[0].buf;
    const int64_t *start = v[1].buf, *length = v[2].buf;
    uint8_t *ranks = v[3].buf;
    int64_t *sides = v[4].buf, *offsets = v[5].buf;
    Py_BEGIN_ALLOW_THREADS
    const uint32_t seed = ls_crc32c(0, (const uint8_t *)sha256, (size_t)sha256_size);
    for (Py_ssize_t i = 0; i < v[0].shape[0] && !status; i++) {
        tok_frame frame;
        status = tok_split_frame((const uint8_t *)buffers.held[source[i]].buf + start[i], (size_t)length[i],
                                 (uint8_t)first, checked ? &seed : NULL, &frame);
        failed = i;
        if (status)
            break;
        ranks[i] = (uint8_t)frame.rank;
        offsets[i] = (int64_t)frame.payload;
        memcpy(sides + FRAME_MAX_RANK * i, frame.sides, (size_t)frame.rank * sizeof *sides);
    }
    Py_END_ALLOW_THREADS
    result = Py_BuildValue("in", status, status ? failed : (Py_ssize_t)-1);
done:
    release_buffers(&buffers);
    release_arrays(v, 6);
    return result;
}

PyMethodDef token_methods[] = {
    {"tokens_new", tokens_new, METH_VARARGS, tokens_new_doc},
    {"tokens_encode", tokens_encode, METH_VARARGS, tokens_encode_doc},
    {"tokens_repeats", tokens_repeats, METH_VARARGS, tokens_repeats_doc},
    {"tokens_decode", tokens_decode, METH_VARARGS, tokens_decode_doc},
    {"tensor_frames", tensor_frames, METH_VARARGS, tensor_frames_doc},
    {NULL, NULL, 0, NULL},
};
