/* Posting lists back to rows: the first half of a merge. */
#include <stdlib.h>

#include "searcher.h"

/* Rows to be filled from the lists of one segment. */
typedef struct {
    const int32_t *row_at;  /* (n_rows,) the new row of each place, or -1 */
    const int32_t *numbers; /* (n_terms,) the new number of each term */
    int64_t n_new, room;    /* rows, and postings */
    int64_t *cursors;       /* (n_new,) where the next posting of each row goes */
    int32_t *terms;         /* (room,) NULL: postings are counted only */
    uint16_t *weights;      /* (room,) */
} Transposed;

/* Appends a term's postings to their rows; -1 if garbled. */
static int append(const Lists *lists, const Term *term, int64_t part, const Transposed *to) {
    int64_t p, end;
    part_span(lists, term, part, &p, &end);
    if (end > lists->n_postings) return -1;
    for (; p < end; p++) {
        int64_t place = part * PART + lists->ids[p];
        if (place >= lists->n_rows) return -1;
        int32_t row = to->row_at[place];
        if (row < 0) continue;
        if (row >= to->n_new) return -1;
        int64_t at = to->cursors[row]++;
        if (!to->terms) continue;
        if (at < 0 || at >= to->room) return -1;
        to->terms[at] = to->numbers[term->number];
        to->weights[at] = lists->kind == BYTE ? ((const uint8_t *)lists->weights)[p]
                                              : ((const uint16_t *)lists->weights)[p];
    }
    return 0;
}

static int transpose(const Lists *lists, uint32_t *table, const Transposed *to) {
    for (int32_t number = 0; number < lists->n_terms; number++) {
        Term term = {0};
        int found = find_terms(lists, &number, (const float[]){1}, 1, NULL, table, &term) == 1;
        if (!found) return -1;
        for (int64_t part = 0; part < lists->n_parts; part++)
            if (append(lists, &term, part, to) < 0) return -1;
    }
    return 0;
}

/* transpose(row_at, numbers, cursors, terms, weights); the last two None: count in `cursors` */
PyObject *lists_transpose(PyObject *self, PyObject *args) {
    const Lists *lists = &((ListsObject *)self)->lists;
    Py_buffer b[5] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*w*z*z*", &b[0], &b[1], &b[2], &b[3], &b[4])) return NULL;
    Transposed to = {b[0].buf, b[1].buf, b[2].len / 8, b[3].len / 4, b[2].buf, b[3].buf, b[4].buf};
    int ok = fits(&b[0], lists->n_rows, 4, "row_at") && fits(&b[1], lists->n_terms, 4, "numbers") &&
             (!to.terms || fits(&b[4], to.room, 2, "weights"));
    uint32_t *table = ok ? malloc(sizeof *table * (size_t)(lists->n_parts + 2)) : NULL;
    int failed = 0;
    if (table) {
        Py_BEGIN_ALLOW_THREADS
        failed = transpose(lists, table, &to);
        Py_END_ALLOW_THREADS
    }
    free(table);
    release(b, 5);
    if (!ok) return NULL;
    if (!table) return PyErr_NoMemory();
    if (failed) return garbled();
    Py_RETURN_NONE;
}
