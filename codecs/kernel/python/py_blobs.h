/* Blobs of tensors: a head that Python gives, the checksum, and a payload. */
#ifndef LATENTSTORE_PY_BLOBS_H
#define LATENTSTORE_PY_BLOBS_H

#include "python/py_buffers.h"

/* Buffers while a call holds them. */
typedef struct {
    Py_buffer *held;
    Py_ssize_t count;
} buffer_list;

/* 0, or -1 with an exception; what was taken is to be released even then. */
int hold_buffers(buffer_list *list, PyObject *buffers, int flags);
void release_buffers(buffer_list *list);

/* What stands before each payload of a call; nothing if there are no heads. */
typedef struct {
    buffer_list heads;
    Py_buffer crcs;
} blob_heads;

/* crcs: int64 (n,), the CRC-32C up to the checksum of each blob. 0, or -1 with an exception. */
int hold_heads(blob_heads *h, PyObject *heads, PyObject *crcs, Py_ssize_t count);
void release_heads(blob_heads *h);

/* A payload, malloc'd, and the checksum of its blob. */
typedef struct {
    uint8_t *bytes;
    size_t size;
    uint32_t crc;
} coded_payload;

/* Without Python's lock. */
void sum_payload(const blob_heads *h, Py_ssize_t number, coded_payload *payload);
/* The blob of a payload; NULL with an exception. */
PyObject *blob_of(const blob_heads *h, Py_ssize_t number, const coded_payload *payload);

#endif
