#include "python/py_blobs.h"

#include <stdlib.h>
#include <string.h>

#include "coder/coder.h"

int hold_buffers(buffer_list *list, PyObject *buffers, int flags)
{
    const Py_ssize_t count = PyList_Size(buffers);
    list->held = calloc((size_t)count + 1, sizeof *list->held);
    if (!list->held) {
        PyErr_NoMemory();
        return -1;
    }
    for (; list->count < count; list->count++)
        if (PyObject_GetBuffer(PyList_GetItem(buffers, list->count), &list->held[list->count], flags))
            return -1;
    return 0;
}

void release_buffers(buffer_list *list)
{
    for (Py_ssize_t i = 0; i < list->count; i++)
        PyBuffer_Release(&list->held[i]);
    free(list->held);
}

int hold_heads(blob_heads *h, PyObject *heads, PyObject *crcs, Py_ssize_t count)
{
    if (take_array(crcs, "crcs", TYPE_INT64, 1, 0, &h->crcs) || hold_buffers(&h->heads, heads, PyBUF_SIMPLE))
        return -1;
    if (!h->heads.count)
        return 0;
    if (h->heads.count != count) {
        PyErr_SetString(PyExc_ValueError, "there must be one head for each array, or none");
        return -1;
    }
    return check_side(&h->crcs, "crcs", 0, count);
}

void release_heads(blob_heads *h)
{
    release_buffers(&h->heads);
    release_arrays(&h->crcs, 1);
}

void sum_payload(const blob_heads *h, Py_ssize_t number, coded_payload *payload)
{
    if (h->heads.count)
        payload->crc =
            ls_crc32c((uint32_t)((const int64_t *)h->crcs.buf)[number], payload->bytes, payload->size);
}

PyObject *blob_of(const blob_heads *h, Py_ssize_t number, const coded_payload *payload)
{
    const Py_buffer *head = h->heads.count ? h->heads.held + number : NULL;
    const Py_ssize_t before = head ? head->len + 4 : 0;
    PyObject *blob = PyBytes_FromStringAndSize(NULL, before + (Py_ssize_t)payload->size);
    if (!blob)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AsString(blob);
    if (head) {
        memcpy(to, head->buf, (size_t)head->len);
        for (int byte = 0; byte < 4; byte++)
            to[head->len + byte] = (uint8_t)(payload->crc >> 8 * byte);
    }
    if (payload->size)
        memcpy(to + before, payload->bytes, payload->size);
    return blob;
}
