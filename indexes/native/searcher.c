/* `Lists`: the posting lists of one term field as a Python object, searched through its methods.

   The Python side checks shapes and types (postings.py, traversal.py); here is checked what memory
   safety needs: sizes now, offsets wherever they are followed. */
#include "searcher.h"

#include <stdlib.h>

#include "rows.h"

static int wide_enough(int64_t bytes, int64_t count) {
    return !count ? 1 : bytes >= 4 * count ? 4 : bytes >= 2 * count ? 2 : 1;
}

/* Lists(n_rows, n_terms, kind, list_sizes, list_starts, dense, windows, ids, weights,
   list_parts, part_starts, part_numbers, part_sizes, bounds, tops, order); those of parts, tops
   and order may be None. */
static int lists_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    Py_buffer *b = ((ListsObject *)self)->buffers;
    long long n, m;
    int kind;
    if (b[0].obj || kwargs) {
        PyErr_SetString(PyExc_TypeError, "Lists takes positional arguments, once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "LLiy*y*y*y*y*y*z*z*z*z*y*z*z*", &n, &m, &kind, &b[LIST_SIZES],
                          &b[LIST_STARTS], &b[DENSE], &b[WINDOWS], &b[LIST_IDS], &b[LIST_WEIGHTS],
                          &b[LIST_PARTS], &b[PART_STARTS], &b[PART_NUMBERS], &b[PART_SIZES],
                          &b[BOUNDS], &b[TOPS], &b[ORDER]))
        return -1;
    if (n < 0 || m < 0 || n > INT32_MAX || m > INT32_MAX || kind < HALF || kind > SHORT) {
        PyErr_SetString(PyExc_ValueError, "illegal numbers of rows, terms or kind");
        return -1;
    }
    Lists *lists = &((ListsObject *)self)->lists;
    *lists = (Lists){
        .n_rows = n, .n_terms = m, .kind = kind,
        .n_windows = (n + WINDOW - 1) / WINDOW, .n_parts = (n + PART - 1) / PART,
        .lists = {b[LIST_STARTS].buf, b[LIST_SIZES].buf, wide_enough(b[LIST_SIZES].len, m)},
        .parts = {b[PART_STARTS].buf, b[LIST_PARTS].buf, wide_enough(b[LIST_PARTS].len, m)},
        .dense = b[DENSE].buf, .n_dense = b[DENSE].len / 4, .windows = b[WINDOWS].buf,
        .ids = b[LIST_IDS].buf, .n_postings = b[LIST_IDS].len / 2,
        .weights = b[LIST_WEIGHTS].buf, .part_numbers = b[PART_NUMBERS].buf,
        .part_sizes = b[PART_SIZES].buf, .n_part_entries = b[PART_NUMBERS].len / 2,
        .bounds = b[BOUNDS].buf, .tops = b[TOPS].buf, .order = b[ORDER].buf,
    };
    if (lists->n_parts <= 1) lists->parts.starts = NULL;
    int64_t strides = (m + STRIDE - 1) / STRIDE + 1;
    int64_t offsets = lists->n_dense * (lists->n_windows + 1);
    if (!fits(&b[WINDOWS], offsets, 4, "windows")) return -1;
    lists->skip = offsets ? lists->windows[offsets - 1] : 0;
    return fits(&b[LIST_SIZES], m, 1, "list_sizes") && fits(&b[LIST_STARTS], strides, 4, "list_starts") &&
           fits(&b[LIST_WEIGHTS], lists->n_postings, kind == BYTE ? 1 : 2, "weights") &&
           fits(&b[BOUNDS], lists->n_dense * lists->n_windows * BLOCKS, 1, "bounds") &&
           (kind != HALF || fits(&b[TOPS], m, 2, "tops")) &&
           (lists->n_parts <= 1 || (fits(&b[LIST_PARTS], m, 1, "list_parts") &&
                                    fits(&b[PART_STARTS], strides, 4, "part_starts") &&
                                    fits(&b[PART_SIZES], lists->n_part_entries, 2, "part_sizes"))) &&
           (!b[ORDER].buf || fits(&b[ORDER], n, 4, "order")) ? 0 : -1;
}

static void lists_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    release(((ListsObject *)self)->buffers, COUNT);
    free(((ListsObject *)self)->spare);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* score_rows(numbers, factors, norms, rows, sums): rows in storage order */
static PyObject *lists_score_rows(PyObject *self, PyObject *args) {
    const Lists *lists = &((ListsObject *)self)->lists;
    Py_buffer b[5] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*z*y*w*", &b[0], &b[1], &b[2], &b[3], &b[4])) return NULL;
    int64_t n_terms = b[0].len / 4, count = b[3].len / 8;
    if (!fits(&b[1], n_terms, 4, "factors") || !fits(&b[4], count, 4, "sums") ||
        (b[2].buf && !fits(&b[2], lists->n_rows, 4, "norms"))) {
        release(b, 5);
        return NULL;
    }
    Term *terms = malloc(sizeof *terms * (size_t)(n_terms + 1));
    uint32_t *table = malloc(sizeof *table * (size_t)((n_terms + 1) * (lists->n_parts + 1)));
    int ok = terms && table, failed = 0;
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        n_terms = find_terms(lists, b[0].buf, b[1].buf, n_terms, b[2].buf, table, terms);
        failed = n_terms < 0 ||
                 score_rows(lists, terms, n_terms, b[2].buf, b[3].buf, count, b[4].buf);
        Py_END_ALLOW_THREADS
    }
    free(terms), free(table);
    release(b, 5);
    if (!ok) return PyErr_NoMemory();
    if (failed) return garbled();
    Py_RETURN_NONE;
}

/* sizes(numbers, sizes): how many rows hold each term; 0 for -1 */
static PyObject *lists_sizes(PyObject *self, PyObject *args) {
    const Lists *lists = &((ListsObject *)self)->lists;
    Py_buffer b[2] = {{0}};
    if (!PyArg_ParseTuple(args, "y*w*", &b[0], &b[1])) return NULL;
    int64_t count = b[0].len / 4;
    uint32_t *table = malloc(sizeof *table * (size_t)(lists->n_parts + 1));
    int ok = fits(&b[1], count, 8, "sizes"), failed = 0;
    for (int64_t i = 0; ok && table && i < count && !failed; i++) {
        Term term = {0};
        failed = find_terms(lists, (const int32_t *)b[0].buf + i, (const float[]){1}, 1, NULL,
                            table, &term) < 0;
        ((int64_t *)b[1].buf)[i] = term.size;
    }
    free(table);
    release(b, 2);
    if (!ok) return NULL;
    if (!table) return PyErr_NoMemory();
    if (failed) return garbled();
    Py_RETURN_NONE;
}

/* count_marked(number, mask): how many marked rows, in storage order, hold a term */
static PyObject *lists_count_marked(PyObject *self, PyObject *args) {
    const Lists *lists = &((ListsObject *)self)->lists;
    Py_buffer mask = {0};
    int number;
    if (!PyArg_ParseTuple(args, "iy*", &number, &mask)) return NULL;
    int64_t count = -1;
    uint32_t *table = malloc(sizeof *table * (size_t)(lists->n_parts + 2));
    int ok = fits(&mask, lists->n_rows, 1, "mask");
    if (ok && table) {
        Term term;
        Py_BEGIN_ALLOW_THREADS
        if (find_terms(lists, &number, (const float[]){1}, 1, NULL, table, &term) == 1)
            count = count_marked(lists, &term, mask.buf);
        Py_END_ALLOW_THREADS
    }
    free(table);
    PyBuffer_Release(&mask);
    if (!ok) return NULL;
    if (!table) return PyErr_NoMemory();
    return count < 0 ? garbled() : PyLong_FromLongLong(count);
}

static PyMethodDef lists_methods[] = {
    {"search", lists_search, METH_VARARGS, "The k best rows of each query."},
    {"score_rows", lists_score_rows, METH_VARARGS, "The scores of given rows."},
    {"sizes", lists_sizes, METH_VARARGS, "How many rows hold each term."},
    {"transpose", lists_transpose, METH_VARARGS, "Lists as rows."},
    {"count_marked", lists_count_marked, METH_VARARGS, "How many marked rows hold each term."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lists_slots[] = {
    {Py_tp_init, lists_init},
    {Py_tp_dealloc, lists_dealloc},
    {Py_tp_methods, lists_methods},
    {Py_tp_doc, "The posting lists of one term field."},
    {0, NULL},
};

PyType_Spec lists_spec = {
    "indexes._kernels.Lists", sizeof(ListsObject), 0, Py_TPFLAGS_DEFAULT, lists_slots};
