/* Python's buffers, and what is said of those that do not fit. */
#ifndef BUFFERS_H
#define BUFFERS_H

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lists.h"

INLINE int fits(const Py_buffer *buffer, int64_t count, size_t size, const char *name) {
    if (buffer->buf && count >= 0 && (size_t)buffer->len / size >= (size_t)count) return 1;
    PyErr_Format(PyExc_ValueError, "%s is too short", name);
    return 0;
}

INLINE void release(Py_buffer *buffers, int count) {
    for (int i = 0; i < count; i++)
        if (buffers[i].obj) PyBuffer_Release(&buffers[i]);
}

INLINE PyObject *garbled(void) {
    PyErr_SetString(PyExc_ValueError, "offsets of posting lists are garbled");
    return NULL;
}

/* The type of `Lists` objects (see searcher.c). */
enum {
    LIST_SIZES, LIST_STARTS, DENSE, WINDOWS, IDS, WEIGHTS, LIST_PARTS, PART_STARTS,
    PART_NUMBERS, PART_SIZES, BOUNDS, TOPS, ORDER, COUNT
};

typedef struct {
    PyObject_HEAD
    Lists lists;
    Py_buffer buffers[COUNT];
    char *spare; /* the scratch memory of the last search, for the next one */
    size_t spare_size;
} ListsObject;

extern PyType_Spec lists_spec;

PyObject *lists_transpose(PyObject *self, PyObject *args);

#endif
