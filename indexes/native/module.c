/* The kernels as a Python module: arrays come in as buffers, results go out in buffers.

   Functions that build posting lists (their callers are in inversion.py), and the type `Lists`. */
#include "buffers.h"

#include <stdlib.h>

#include "build.h"

/* encode_weights(values, kind, stored): the place of the first illegal weight, or -1 */
static PyObject *py_encode_weights(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[2] = {{0}};
    int kind;
    if (!PyArg_ParseTuple(args, "y*iw*", &b[0], &kind, &b[1])) return NULL;
    int64_t count = b[0].len / 4, illegal = -1;
    int ok = fits(&b[1], count, 2, "stored");
    if (ok) illegal = encode_weights(b[0].buf, count, kind, b[1].buf);
    release(b, 2);
    return ok ? PyLong_FromLongLong(illegal) : NULL;
}

static int rows_of(Rows *rows, const Py_buffer *indptr, const Py_buffer *terms,
                   const Py_buffer *weights, const Py_buffer *order, int64_t n_terms) {
    *rows = (Rows){indptr->len / 8 - 1, n_terms, indptr->buf, terms->buf, weights->buf,
                   order ? order->buf : NULL};
    if (!fits(indptr, 1, 8, "indptr")) return 0;
    int64_t nnz = rows->indptr[rows->n_rows];
    if (order && order->buf && !fits(order, rows->n_rows, 4, "order")) return 0;
    for (int64_t i = 0; i < rows->n_rows; i++)
        if (rows->indptr[i] < 0 || rows->indptr[i] > rows->indptr[i + 1]) return garbled() != NULL;
    if (rows->order)
        for (int64_t i = 0; i < rows->n_rows; i++)
            if (rows->order[i] >= rows->n_rows) return garbled() != NULL;
    return fits(terms, nnz, 4, "terms") && fits(weights, nnz, 2, "weights");
}

/* count_rows(indptr, terms, weights, order, frequency, parts, tops) */
static PyObject *py_count_rows(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[7] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*z*w*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6]))
        return NULL;
    int64_t n_terms = b[4].len / 8;
    Rows rows;
    int ok = rows_of(&rows, &b[0], &b[1], &b[2], &b[3], n_terms) &&
             fits(&b[5], n_terms, 8, "parts") && fits(&b[6], n_terms, 2, "tops");
    int32_t *last = ok ? malloc(sizeof *last * (size_t)(n_terms + 1)) : NULL;
    int failed = 0;
    if (last) {
        Py_BEGIN_ALLOW_THREADS
        failed = count_rows(&rows, b[4].buf, b[5].buf, b[6].buf, last);
        Py_END_ALLOW_THREADS
    }
    release(b, 7);
    if (!ok) return NULL;
    if (!last) return PyErr_NoMemory();
    free(last);
    if (failed) return garbled();
    Py_RETURN_NONE;
}

/* fill_lists(indptr, terms, weights, order, place, cursors, part_cursors, tops,
              n_windows, windows, ids, lists_weights, part_numbers, part_sizes, bounds) */
static PyObject *py_fill_lists(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[14] = {{0}};
    long long n_windows;
    if (!PyArg_ParseTuple(args, "y*y*y*z*y*y*z*z*Lw*w*w*w*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4],
                          &b[5], &b[6], &b[7], &n_windows, &b[8], &b[9], &b[10], &b[11], &b[12],
                          &b[13]))
        return NULL;
    int64_t n_terms = b[4].len / 4;
    Rows rows;
    int ok = rows_of(&rows, &b[0], &b[1], &b[2], &b[3], n_terms) &&
             fits(&b[5], n_terms, 8, "cursors") &&
             fits(&b[9], rows.indptr[rows.n_rows], 2, "ids") &&
             fits(&b[10], rows.indptr[rows.n_rows], 2, "weights");
    int failed = 0;
    if (ok) {
        Room room = {
            .place = b[4].buf, .cursors = b[5].buf, .part_cursors = b[6].buf, .tops = b[7].buf,
            .n_windows = n_windows, .windows = b[8].buf, .ids = b[9].buf, .weights = b[10].buf,
            .part_numbers = b[11].buf, .part_sizes = b[12].buf, .bounds = b[13].buf,
        };
        Py_BEGIN_ALLOW_THREADS
        failed = fill_lists(&rows, &room);
        Py_END_ALLOW_THREADS
    }
    release(b, 14);
    if (!ok) return NULL;
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* order_rows(indptr, terms, weights, n_terms, order) */
static PyObject *py_order_rows(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[4] = {{0}};
    long long n_terms;
    if (!PyArg_ParseTuple(args, "y*y*y*Lw*", &b[0], &b[1], &b[2], &n_terms, &b[3])) return NULL;
    Rows rows;
    int ok = rows_of(&rows, &b[0], &b[1], &b[2], NULL, n_terms) && fits(&b[3], rows.n_rows, 4, "order");
    int failed = 0;
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        failed = order_rows(&rows, b[3].buf);
        Py_END_ALLOW_THREADS
    }
    release(b, 4);
    if (!ok) return NULL;
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* find_slots(known, terms, columns, slots): known[terms[column]] of each column; False where one
   is not known */
static PyObject *py_find_slots(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *known, *terms;
    Py_buffer b[2] = {{0}};
    if (!PyArg_ParseTuple(args, "O!Oy*w*", &PyDict_Type, &known, &terms, &b[0], &b[1])) return NULL;
    const int32_t *columns = b[0].buf;
    int64_t count = b[0].len / 4, i = 0;
    int ok = fits(&b[1], count, 4, "slots"), list = PyList_CheckExact(terms);
    for (; ok && i < count; i++) {
        PyObject *term, *slot;
        if (columns[i] < 0) PyErr_SetString(PyExc_IndexError, "a column below 0");
        if (columns[i] < 0 || !(term = list ? Py_XNewRef(PyList_GetItem(terms, columns[i]))
                                            : PySequence_GetItem(terms, columns[i]))) {
            ok = 0;
            break;
        }
        slot = PyDict_GetItemWithError(known, term);
        Py_DECREF(term);
        if (!slot) break;
        ((int32_t *)b[1].buf)[i] = (int32_t)PyLong_AsLong(slot);
    }
    release(b, 2);
    if (!ok || PyErr_Occurred()) return NULL;
    return PyBool_FromLong(i == count);
}

static PyMethodDef functions[] = {
    {"find_slots", py_find_slots, METH_VARARGS, "Terms of queries as known."},
    {"encode_weights", py_encode_weights, METH_VARARGS, "Weights as stored."},
    {"count_rows", py_count_rows, METH_VARARGS, "Sizes of posting lists."},
    {"fill_lists", py_fill_lists, METH_VARARGS, "Posting lists from rows."},
    {"order_rows", py_order_rows, METH_VARARGS, "Rows in order of similarity."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "Kernels of the inverted file (see indexes/native).", -1,
    functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    PyObject *type = PyType_FromSpec(&lists_spec);
    if (!type || PyModule_AddObjectRef(module, "Lists", type) < 0) {
        Py_XDECREF(type);
        Py_DECREF(module);
        return NULL;
    }
    Py_DECREF(type);
    return module;
}
