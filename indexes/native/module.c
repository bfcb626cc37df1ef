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

/* Rows as they come in: places [first, last) may be read afterwards; last < 0: all of them. */
static int rows_of(Rows *rows, const Py_buffer *indptr, const Py_buffer *terms,
                   const Py_buffer *weights, const Py_buffer *order, int64_t n_terms,
                   int64_t first, int64_t last) {
    *rows = (Rows){indptr->len / 8 - 1, n_terms, indptr->buf, terms->buf, weights->buf,
                   order ? order->buf : NULL};
    int64_t nnz = terms->len / 4;
    if (!fits(indptr, 1, 8, "indptr") || !fits(weights, nnz, 2, "weights")) return 0;
    if (rows->order && !fits(order, rows->n_rows, 4, "order")) return 0;
    if (last < 0) last = rows->n_rows;
    if (first < 0 || first > last || last > rows->n_rows) return garbled() != NULL;
    for (int64_t place = first; place < last; place++) {
        int64_t row = rows->order ? rows->order[place] : place;
        if (row >= rows->n_rows || rows->indptr[row] < 0 ||
            rows->indptr[row] > rows->indptr[row + 1] || rows->indptr[row + 1] > nnz)
            return garbled() != NULL;
    }
    return 1;
}

/* renumber(terms, numbers, renumbered): the least of the new numbers */
static PyObject *py_renumber(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[3] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*w*", &b[0], &b[1], &b[2])) return NULL;
    int64_t count = b[0].len / 4, least = 0;
    int ok = fits(&b[2], count, 4, "renumbered");
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        least = renumber(b[0].buf, count, b[1].buf, b[1].len / 4, b[2].buf);
        Py_END_ALLOW_THREADS
    }
    release(b, 3);
    if (!ok) return NULL;
    if (least == INT64_MIN) {
        PyErr_SetString(PyExc_IndexError, "a column is out of bounds");
        return NULL;
    }
    return PyLong_FromLongLong(least);
}

/* count_rows(terms, weights, frequency, tops) */
static PyObject *py_count_rows(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[4] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*w*w*", &b[0], &b[1], &b[2], &b[3])) return NULL;
    int64_t count = b[0].len / 4, n_terms = b[2].len / 8;
    int ok = fits(&b[1], count, 2, "weights") && fits(&b[3], n_terms, 2, "tops");
    int failed = 0;
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        failed = count_rows(b[0].buf, b[1].buf, count, n_terms, b[2].buf, b[3].buf);
        Py_END_ALLOW_THREADS
    }
    release(b, 4);
    if (!ok) return NULL;
    if (failed) return garbled();
    Py_RETURN_NONE;
}

/* place_rows(indptr, terms, weights, order, first, last, cursors, ids, lists_weights) */
static PyObject *py_place_rows(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[7] = {{0}};
    long long first, last;
    if (!PyArg_ParseTuple(args, "y*y*y*z*LLw*w*w*", &b[0], &b[1], &b[2], &b[3], &first, &last,
                          &b[4], &b[5], &b[6]))
        return NULL;
    Rows rows;
    int ok = rows_of(&rows, &b[0], &b[1], &b[2], &b[3], b[4].len / 8, first, last) &&
             fits(&b[5], b[1].len / 4, 2, "ids") && fits(&b[6], b[1].len / 4, 2, "weights");
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        place_rows(&rows, first, last, b[4].buf, b[5].buf, b[6].buf);
        Py_END_ALLOW_THREADS
    }
    release(b, 7);
    if (!ok) return NULL;
    Py_RETURN_NONE;
}

/* bound_lists(n_windows, ids, weights, ends, tops, windows, bounds) */
static PyObject *py_bound_lists(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[6] = {{0}};
    long long n_windows;
    if (!PyArg_ParseTuple(args, "Ly*y*y*z*w*w*", &n_windows, &b[0], &b[1], &b[2], &b[3], &b[4],
                          &b[5]))
        return NULL;
    int64_t n_parts = (n_windows + PART_WINDOWS - 1) / PART_WINDOWS;
    int64_t n_dense = b[2].len / 8 / (n_parts + 1);
    int ok = (!b[3].buf || fits(&b[3], n_dense, 2, "tops")) &&
             fits(&b[4], n_dense * (n_windows + 1), 4, "windows") &&
             fits(&b[5], n_dense * n_windows * BLOCKS, 1, "bounds");
    if (ok) {
        Dense dense = {n_dense, n_parts, n_windows, b[0].buf, b[1].buf,
                       b[2].buf, b[3].buf, b[4].buf, b[5].buf};
        Py_BEGIN_ALLOW_THREADS
        bound_lists(&dense);
        Py_END_ALLOW_THREADS
    }
    release(b, 6);
    if (!ok) return NULL;
    Py_RETURN_NONE;
}

/* distinct_terms(text, starts, numbers, distinct, sizes): how many different ones there are */
static PyObject *py_distinct_terms(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[5] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*w*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4])) return NULL;
    int64_t count = b[1].len / 8 - 1, made = 0;
    int ok = fits(&b[1], 1, 8, "starts") && fits(&b[2], count, 4, "numbers") &&
             fits(&b[3], b[0].len, 1, "distinct") && fits(&b[4], count, 8, "sizes");
    const int64_t *starts = b[1].buf;
    for (int64_t i = 0; ok && i < count; i++)
        if (starts[i] < 0 || starts[i] > starts[i + 1]) ok = garbled() != NULL;
    ok = ok && (starts[count] <= b[0].len || garbled() != NULL);
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        made = distinct_terms(b[0].buf, starts, count, b[2].buf, b[3].buf, b[4].buf);
        Py_END_ALLOW_THREADS
    }
    release(b, 5);
    if (!ok) return NULL;
    return made < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(made);
}

/* find_terms(text, sizes, width, starts, wanted, ends, numbers): -1 for terms that are not there */
static PyObject *py_find_terms(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[6] = {{0}};
    int width;
    if (!PyArg_ParseTuple(args, "y*y*iy*y*y*w*", &b[0], &b[1], &width, &b[2], &b[3], &b[4], &b[5]))
        return NULL;
    int64_t wanted = b[4].len / 8, *ends = b[4].buf;
    int ok = (width == 1 || width == 2 || width == 4 || garbled() != NULL) &&
             fits(&b[5], wanted, 4, "numbers");
    Terms terms = {b[0].buf, b[0].len, {b[2].buf, b[1].buf, width}, ok ? b[1].len / width : 0,
                   b[2].len / 4};
    ok = ok && ((terms.count + STRIDE - 1) / STRIDE + 1 == terms.n_starts || garbled() != NULL);
    for (int64_t i = 0; ok && i < wanted; i++)
        if (ends[i] < (i ? ends[i - 1] : 0) || ends[i] > b[3].len) ok = garbled() != NULL;
    for (int64_t i = 0; ok && i < wanted; i++) {
        int64_t begin = i ? ends[i - 1] : 0;
        ((int32_t *)b[5].buf)[i] =
            (int32_t)find_term(&terms, (const uint8_t *)b[3].buf + begin, ends[i] - begin);
    }
    release(b, 6);
    if (!ok) return NULL;
    Py_RETURN_NONE;
}

/* order_rows(indptr, terms, weights, n_terms, order) */
static PyObject *py_order_rows(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[4] = {{0}};
    long long n_terms;
    if (!PyArg_ParseTuple(args, "y*y*y*Lw*", &b[0], &b[1], &b[2], &n_terms, &b[3])) return NULL;
    Rows rows;
    int ok = rows_of(&rows, &b[0], &b[1], &b[2], NULL, n_terms, 0, -1) && fits(&b[3], rows.n_rows, 4, "order");
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

/* weigh(known, terms, columns, values, multipliers, n_segments, table, numbers, factors): of each
   column of a query the slot known[terms[column]], so its numbers in the segments, table[:, slot],
   and its value times the slot's multiplier, where there are such; False where a term is not
   known */
static PyObject *py_weigh(PyObject *module, PyObject *args) {
    (void)module;
    enum { COLUMNS, VALUES, MULTIPLIERS, TABLE, NUMBERS, FACTORS, BUFFERS };
    PyObject *known, *terms;
    Py_buffer b[BUFFERS] = {{0}};
    int n_segments;
    if (!PyArg_ParseTuple(args, "O!Oy*y*z*iy*w*w*", &PyDict_Type, &known, &terms, &b[COLUMNS],
                          &b[VALUES], &b[MULTIPLIERS], &n_segments, &b[TABLE], &b[NUMBERS],
                          &b[FACTORS]))
        return NULL;
    const int32_t *columns = b[COLUMNS].buf, *table = b[TABLE].buf;
    const float *values = b[VALUES].buf;
    const double *multipliers = b[MULTIPLIERS].buf;
    int32_t *numbers = b[NUMBERS].buf;
    float *factors = b[FACTORS].buf;
    int64_t count = b[COLUMNS].len / 4, i = 0;
    int64_t width = n_segments > 0 ? b[TABLE].len / 4 / n_segments : 0, room = width;
    if (multipliers && b[MULTIPLIERS].len / 8 < room) room = b[MULTIPLIERS].len / 8;
    int ok = n_segments >= 0 && fits(&b[VALUES], count, 4, "values") &&
             fits(&b[NUMBERS], count * n_segments, 4, "numbers") &&
             fits(&b[FACTORS], count, 4, "factors");
    int list = PyList_CheckExact(terms);
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
        long place = PyLong_AsLong(slot);
        if (place < 0 || (n_segments && place >= room)) {
            ok = garbled() != NULL;
            break;
        }
        for (int s = 0; s < n_segments; s++)
            numbers[s * count + i] = table[s * width + place];
        factors[i] = n_segments && multipliers ? (float)(values[i] * multipliers[place]) : values[i];
    }
    release(b, BUFFERS);
    if (!ok || PyErr_Occurred()) return NULL;
    return PyBool_FromLong(i == count);
}

static PyMethodDef functions[] = {
    {"weigh", py_weigh, METH_VARARGS, "Terms of queries as known, and what they weigh."},
    {"encode_weights", py_encode_weights, METH_VARARGS, "Weights as stored."},
    {"count_rows", py_count_rows, METH_VARARGS, "Sizes of posting lists."},
    {"renumber", py_renumber, METH_VARARGS, "Terms by other numbers."},
    {"place_rows", py_place_rows, METH_VARARGS, "Posting lists from rows."},
    {"bound_lists", py_bound_lists, METH_VARARGS, "Windows and bounds of dense lists."},
    {"distinct_terms", py_distinct_terms, METH_VARARGS, "Terms sorted."},
    {"find_terms", py_find_terms, METH_VARARGS, "The numbers of terms."},
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
