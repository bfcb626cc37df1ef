/* `Lists.search`: arguments checked, scratch memory laid out, queries answered one by one. */
#include "searcher.h"

#include <stdlib.h>

#include "rows.h"
#include "search.h"

enum { AUTO = 0, ALL = 1, BOUNDED = 2 };
enum {
    NUMBERS, FACTORS, INDPTR, NORMS, BLOCK_NORMS, MASK, OWNERS, FLOORS, IDS, SCORES, WANTED,
    WANTED_SCORES, ARGUMENTS
};
enum { SUMS, MAXIMA, BLOCK_BOUNDS, HIGHEST, QUEUE, CURSORS, TERMS, TABLE, KEYS, COUNTS, PIECES };

/* Scratch memory: the last search's, if no other thread has it now and it is large enough. */
static char *borrow(ListsObject *object, size_t size, size_t *got) {
    char *memory = object->spare;
    *got = object->spare_size;
    object->spare = NULL;
    if (memory && *got >= size) return memory;
    free(memory);
    *got = size;
    return malloc(size);
}

static void give_back(ListsObject *object, char *memory, size_t size) {
    free(object->spare);
    object->spare = memory;
    object->spare_size = size;
}

static size_t rounded(int64_t size) { return ((size_t)size + 63) & ~(size_t)63; }

/* Bounds pay where most postings are in dense lists, and few rows are wanted of many. */
static int wants_bounds(const Lists *lists, const Term *terms, int64_t count, int64_t k) {
    int64_t dense = 0, sparse = 0;
    for (int64_t i = 0; i < count; i++) {
        if (terms[i].dense >= 0) dense += terms[i].size;
        else sparse += terms[i].size;
    }
    return k * 16384 <= lists->n_rows && 2 * dense > sparse && dense > lists->n_rows / 16;
}

/* Whether the arguments fit each other; `most`: terms of the longest query. */
static int sound(const Lists *lists, const Py_buffer *b, int64_t k, int64_t *most) {
    int64_t n_queries = b[INDPTR].len / 8 - 1, n_terms = b[NUMBERS].len / 4;
    const int64_t *indptr = b[INDPTR].buf;
    int ok = n_queries >= 0 && k > 0 && k <= INT32_MAX && indptr[0] >= 0;
    *most = 0;
    for (int64_t q = 0; ok && q < n_queries; q++) {
        int64_t count = indptr[q + 1] - indptr[q];
        ok = count >= 0 && indptr[q + 1] <= n_terms;
        *most = count > *most ? count : *most;
    }
    if (!ok) PyErr_SetString(PyExc_ValueError, "illegal k or offsets of queries");
    return ok && fits(&b[FACTORS], n_terms, 4, "factors") &&
           fits(&b[IDS], n_queries * k, 8, "ids") && fits(&b[SCORES], n_queries * k, 4, "scores") &&
           (!b[NORMS].buf || (fits(&b[NORMS], lists->n_rows, 4, "norms") &&
                              fits(&b[BLOCK_NORMS], lists->n_windows * BLOCKS, 4, "block_norms"))) &&
           (!b[MASK].buf || fits(&b[MASK], lists->n_rows, 1, "mask")) &&
           (!b[OWNERS].buf || fits(&b[OWNERS], lists->n_rows, 4, "owners")) &&
           (!b[FLOORS].buf || fits(&b[FLOORS], n_queries, 4, "floors")) &&
           fits(&b[WANTED_SCORES], b[WANTED].len / 8, 4, "wanted_scores");
}

/* Answers query number q; -1 where the lists are garbled. */
static int answer(const Lists *lists, const Py_buffer *b, char *const *at, int64_t q, int64_t k,
                  int plan) {
    int64_t start = ((const int64_t *)b[INDPTR].buf)[q];
    int64_t count = ((const int64_t *)b[INDPTR].buf)[q + 1] - start;
    Term *terms = (Term *)at[TERMS];
    Scratch scratch = {
        (float *)at[SUMS], (uint64_t *)at[MAXIMA], (uint16_t *)at[BLOCK_BOUNDS],
        (uint16_t *)at[HIGHEST], (uint32_t *)at[QUEUE], (int64_t *)at[CURSORS],
    };
    TopK top;
    topk_begin(&top, (uint64_t *)at[KEYS], k, b[OWNERS].buf != NULL,
               b[FLOORS].buf ? ((const float *)b[FLOORS].buf)[q] : 0);
    count = find_terms(lists, (const int32_t *)b[NUMBERS].buf + start,
                       (const float *)b[FACTORS].buf + start, count, b[NORMS].buf,
                       (uint32_t *)at[TABLE], terms);
    if (count < 0) return -1;
    Query query = {
        .lists = lists, .terms = terms, .n_terms = count, .norms = b[NORMS].buf,
        .block_norms = b[BLOCK_NORMS].buf, .mask = b[MASK].buf, .owners = b[OWNERS].buf,
        .wanted = b[WANTED].buf, .n_wanted = q ? 0 : b[WANTED].len / 8,
        .wanted_scores = b[WANTED_SCORES].buf,
    };
    for (int64_t i = 0; i < query.n_wanted; i++)
        if (query.wanted[i] < 0 || query.wanted[i] >= lists->n_rows) return -1;
    if (count > 0) {
        int bounded = plan == AUTO ? wants_bounds(lists, terms, count, k) : plan == BOUNDED;
        if (bounded ? search_bounded(&query, &scratch, &top) : search_all(&query, &scratch, &top))
            return -1;
        if (bounded && score_rows(lists, terms, count, query.norms, query.wanted, query.n_wanted,
                                  query.wanted_scores))
            return -1;
    } else {
        for (int64_t i = 0; i < query.n_wanted; i++) query.wanted_scores[i] = 0;
    }
    topk_sort(&top);
    ((int64_t *)at[COUNTS])[q] = top.count;
    for (int64_t i = 0; i < top.count; i++) {
        ((int64_t *)b[IDS].buf)[q * k + i] = id_of(top.keys[i]);
        ((float *)b[SCORES].buf)[q * k + i] = score_of(top.keys[i]);
    }
    return 0;
}

static PyObject *list_of(const int64_t *counts, int64_t n) {
    PyObject *list = PyList_New(n);
    for (int64_t i = 0; list && i < n; i++) {
        PyObject *count = PyLong_FromLongLong(counts[i]);
        if (!count || PyList_SetItem(list, i, count)) Py_CLEAR(list);
    }
    return list;
}

/* search(numbers, factors, indptr, k, norms, block_norms, mask, owners, floors, plan, ids, scores,
          wanted, wanted_scores): the k best rows of each query; returns how many there are.
   The first query's scores of the places `wanted` are left in `wanted_scores`. */
PyObject *lists_search(PyObject *self, PyObject *args) {
    ListsObject *object = (ListsObject *)self;
    const Lists *lists = &object->lists;
    Py_buffer b[ARGUMENTS] = {{0}};
    long long k;
    int plan, failed = 0;
    if (!PyArg_ParseTuple(args, "y*y*y*Lz*z*z*z*z*iw*w*y*w*", &b[NUMBERS], &b[FACTORS], &b[INDPTR],
                          &k, &b[NORMS], &b[BLOCK_NORMS], &b[MASK], &b[OWNERS], &b[FLOORS], &plan,
                          &b[IDS], &b[SCORES], &b[WANTED], &b[WANTED_SCORES]))
        return NULL;
    int64_t n_queries = b[INDPTR].len / 8 - 1, most;
    if (!sound(lists, b, k, &most)) {
        release(b, ARGUMENTS);
        return NULL;
    }
    size_t sizes[PIECES] = {
        [SUMS] = rounded(PART * 4),
        [MAXIMA] = rounded(PART / 4 * 8),
        [BLOCK_BOUNDS] = rounded(lists->n_windows * BLOCKS * 2),
        [HIGHEST] = rounded(lists->n_windows * 2),
        [QUEUE] = rounded(lists->n_windows * 4),
        [CURSORS] = rounded(most * 8),
        [TERMS] = rounded(most * (int64_t)sizeof(Term)),
        [TABLE] = rounded(most * (lists->n_parts + 1) * 4),
        [KEYS] = rounded(ROOM(k) * 8),
        [COUNTS] = rounded(n_queries * 8),
    };
    size_t size = 0, got;
    for (int i = 0; i < PIECES; i++) size += sizes[i];
    char *memory = borrow(object, size, &got), *at[PIECES] = {memory};
    if (!memory) {
        release(b, ARGUMENTS);
        return PyErr_NoMemory();
    }
    for (int i = 1; i < PIECES; i++) at[i] = at[i - 1] + sizes[i - 1];
    Py_BEGIN_ALLOW_THREADS
    for (int64_t q = 0; q < n_queries && !failed; q++) failed = answer(lists, b, at, q, k, plan);
    Py_END_ALLOW_THREADS
    PyObject *counts = failed ? garbled() : list_of((const int64_t *)at[COUNTS], n_queries);
    give_back(object, memory, got);
    release(b, ARGUMENTS);
    return counts;
}
