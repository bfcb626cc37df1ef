/* The object of the type `Lists`: one term field's posting lists, held open. */
#ifndef SEARCHER_H
#define SEARCHER_H

#include "buffers.h"

enum {
    LIST_SIZES, LIST_STARTS, DENSE, WINDOWS, LIST_IDS, LIST_WEIGHTS, LIST_PARTS, PART_STARTS,
    PART_NUMBERS, PART_SIZES, BOUNDS, TOPS, ORDER, COUNT
};

typedef struct {
    PyObject_HEAD
    Lists lists;
    Py_buffer buffers[COUNT];
    char *spare; /* the scratch memory of the last search, for the next one */
    size_t spare_size;
} ListsObject;

PyObject *lists_search(PyObject *self, PyObject *args);    /* see searching.c */
PyObject *lists_transpose(PyObject *self, PyObject *args); /* see transpose.c */

#endif
