/* Rows of term numbers become counts. Included by _words.c alone. */

#ifndef WORDS_COUNT_H
#define WORDS_COUNT_H

#include "_words_table.h"

static int more_terms(Words *self, size_t n_terms)
{
    if (n_terms <= self->n_terms)
        return 0;
    size_t room = n_terms + n_terms / 2;
    Term *terms = realloc(self->terms, room * sizeof *terms);
    if (!terms)
        return -1;
    memset(terms + self->n_terms, 0, (room - self->n_terms) * sizeof *terms);
    self->terms = terms;
    self->n_terms = room;
    return 0;
}

static PyObject *words_count(Words *self, PyObject *args)
{
    Py_buffer numbers, lengths;
    Py_ssize_t n_terms;
    if (!PyArg_ParseTuple(args, "y*y*n:count", &numbers, &lengths, &n_terms))
        return NULL;
    Py_ssize_t n = numbers.len / (Py_ssize_t)sizeof(int32_t);
    Py_ssize_t n_rows = lengths.len / (Py_ssize_t)sizeof(int64_t);
    const int32_t *number = numbers.buf;
    const int64_t *length = lengths.buf;
    PyObject *parts[4] = {NULL, NULL, NULL, NULL};
    int32_t *sizes = numbers_made(parts, n_rows), *indices = numbers_made(parts + 1, n);
    float *counts = numbers_made(parts + 2, n);
    int32_t *columns = numbers_made(parts + 3, n);
    PyObject *result = NULL;
    if (!sizes || !indices || !counts || !columns)
        goto done;
    if (n_terms < 0 || more_terms(self, (size_t)n_terms) < 0) {
        PyErr_NoMemory();
        goto done;
    }
    uint64_t call = ++self->calls;
    Py_ssize_t place = 0, entries = 0, n_columns = 0;
    for (Py_ssize_t r = 0; r < n_rows; r++) {
        uint64_t row = ++self->rows;
        Py_ssize_t first = entries;
        if (length[r] < 0 || length[r] > n - place)
            goto wrong;
        for (Py_ssize_t end = place + (Py_ssize_t)length[r]; place < end; place++) {
            int32_t t = number[place];
            if (t < 0)
                continue;
            if (t >= n_terms)
                goto wrong;
            Term *term = self->terms + t;
            if (term->row == row) {
                counts[term->entry]++;
                continue;
            }
            if (term->call != call) {
                term->call = call;
                term->column = (int32_t)n_columns;
                columns[n_columns++] = t;
            }
            term->row = row;
            term->entry = (int32_t)entries;
            indices[entries] = term->column;
            counts[entries++] = 1;
        }
        sizes[r] = (int32_t)(entries - first);
    }
    if (PyByteArray_Resize(parts[1], entries * (Py_ssize_t)sizeof(int32_t)) == 0 &&
        PyByteArray_Resize(parts[2], entries * (Py_ssize_t)sizeof(float)) == 0 &&
        PyByteArray_Resize(parts[3], n_columns * (Py_ssize_t)sizeof(int32_t)) == 0)
        result = Py_BuildValue("OOOO", parts[0], parts[1], parts[2], parts[3]);
    goto done;
wrong:
    PyErr_SetString(PyExc_ValueError, "lengths or numbers out of range");
done:
    for (int i = 0; i < 4; i++)
        Py_XDECREF(parts[i]);
    PyBuffer_Release(&numbers);
    PyBuffer_Release(&lengths);
    return result;
}

#endif
