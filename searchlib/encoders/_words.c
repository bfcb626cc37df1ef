/* Words of ASCII texts as numbers, and how often each row names a term.

   What analyzer.py does in Python, for speed: a word is a run of letters and digits, in lower
   case; after LONGEST characters a new one begins. Words are numbered from 0 in the order in
   which they are met, in a hash table with open addressing. The interpreter's lock is held
   throughout, so one table may serve several threads. */

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 255 /* characters, as in analyzer.py */
#define START 1024  /* slots of a new table, a power of two */

typedef struct {
    uint32_t hash;
    int32_t word; /* -1: free */
} Slot;

typedef struct {
    uint64_t row; /* the last row that named it, counted through all calls */
    uint64_t call;
    int32_t entry;  /* its place in that row */
    int32_t column; /* in that call */
} Term;

typedef struct {
    PyObject_HEAD
    Slot *slots;
    size_t mask;
    char *letters; /* all words, one after the other */
    size_t letters_room;
    size_t *starts; /* of each word in letters, and the end */
    size_t starts_room;
    int32_t n;
    Term *terms;
    size_t n_terms;
    uint64_t rows, calls;
    uint64_t seed; /* of the hash: nobody can write texts whose words all collide */
} Words;

static uint8_t LOWER[256]; /* 0: separates */

static PyObject *words_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (!PyArg_ParseTuple(args, ":Words"))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Words *self = (Words *)alloc(type, 0); /* zeroed */
    if (!self)
        return NULL;
    self->slots = malloc(START * sizeof *self->slots);
    self->letters_room = 16 * START;
    self->letters = malloc(self->letters_room);
    self->starts_room = START;
    self->starts = malloc(self->starts_room * sizeof *self->starts);
    if (!self->slots || !self->letters || !self->starts) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    memset(self->slots, 255, START * sizeof *self->slots);
    self->mask = START - 1;
    self->starts[0] = 0;
    PyObject *secret = PyUnicode_FromString("words"); /* its hash is the process's own */
    self->seed = secret ? (uint64_t)PyObject_Hash(secret) : 0;
    Py_XDECREF(secret);
    return (PyObject *)self;
}

static void words_dealloc(Words *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    free(self->slots);
    free(self->letters);
    free(self->starts);
    free(self->terms);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static Py_ssize_t words_length(Words *self)
{
    return self->n;
}

/* Twice as many slots. */
static int widen(Words *self)
{
    size_t mask = 2 * self->mask + 1;
    Slot *slots = malloc((mask + 1) * sizeof *slots);
    if (!slots)
        return -1;
    memset(slots, 255, (mask + 1) * sizeof *slots);
    for (size_t i = 0; i <= self->mask; i++) {
        if (self->slots[i].word < 0)
            continue;
        size_t place = self->slots[i].hash & mask;
        while (slots[place].word >= 0)
            place = (place + 1) & mask;
        slots[place] = self->slots[i];
    }
    free(self->slots);
    self->slots = slots;
    self->mask = mask;
    return 0;
}

/* Takes in a word that is not there; returns its number, or -1 without memory. */
static int32_t learn(Words *self, const char *word, size_t size, uint32_t hash, size_t place)
{
    size_t start = self->starts[self->n];
    if (self->n == INT32_MAX)
        return -1;
    if (start + size > self->letters_room) {
        char *letters = realloc(self->letters, 2 * self->letters_room);
        if (!letters)
            return -1;
        self->letters = letters;
        self->letters_room *= 2;
    }
    if ((size_t)self->n + 2 > self->starts_room) {
        size_t *starts = realloc(self->starts, 2 * self->starts_room * sizeof *starts);
        if (!starts)
            return -1;
        self->starts = starts;
        self->starts_room *= 2;
    }
    memcpy(self->letters + start, word, size);
    self->starts[self->n + 1] = start + size;
    self->slots[place] = (Slot){hash, self->n};
    self->n++;
    if (2 * (size_t)self->n > self->mask && widen(self) < 0) {
        /* a table more than half full is right, if slow; a full one would never end */
        if ((size_t)self->n >= self->mask)
            return -1;
    }
    return self->n - 1;
}

static int32_t number(Words *self, const char *word, size_t size, uint32_t hash)
{
    size_t place = hash & self->mask;
    for (;; place = (place + 1) & self->mask) {
        Slot slot = self->slots[place];
        if (slot.word < 0)
            return learn(self, word, size, hash, place);
        if (slot.hash != hash)
            continue;
        size_t start = self->starts[slot.word];
        if (self->starts[slot.word + 1] - start == size &&
            memcmp(self->letters + start, word, size) == 0)
            return slot.word;
    }
}

/* The numbers of one text's words to `out`; how many, or -1 without memory. */
static Py_ssize_t numbers_of(Words *self, const uint8_t *text, Py_ssize_t length, int32_t *out)
{
    char word[LONGEST];
    Py_ssize_t count = 0, i = 0;
    while (i < length) {
        uint8_t c = LOWER[text[i++]];
        if (!c)
            continue;
        uint64_t hash = self->seed;
        size_t size = 0;
        do {
            word[size++] = (char)c;
            hash = (hash ^ c) * UINT64_C(0x9E3779B97F4A7C15);
            hash ^= hash >> 32;
        } while (size < LONGEST && i < length && (c = LOWER[text[i]]) && ++i);
        int32_t found = number(self, word, size, (uint32_t)hash);
        if (found < 0)
            return -1;
        out[count++] = found;
    }
    return count;
}

static PyObject *words_numbers(Words *self, PyObject *texts)
{
    if (!PyList_Check(texts)) {
        PyErr_SetString(PyExc_TypeError, "texts must be a list");
        return NULL;
    }
    Py_ssize_t n = PyList_Size(texts), room = 0, used = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_ssize_t length = PyUnicode_GetLength(PyList_GetItem(texts, i));
        if (length < 0)
            return NULL;
        room += length / 2 + 1;
    }
    PyObject *lengths = PyByteArray_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(int64_t));
    PyObject *numbers = PyByteArray_FromStringAndSize(NULL, room * (Py_ssize_t)sizeof(int32_t));
    if (!lengths || !numbers)
        goto failed;
    int64_t *length_of = (int64_t *)PyByteArray_AsString(lengths);
    int32_t *out = (int32_t *)PyByteArray_AsString(numbers);
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_ssize_t size;
        PyObject *text = PyList_GetItem(texts, i);
        const char *letters = PyUnicode_AsUTF8AndSize(text, &size);
        if (!letters)
            goto failed;
        if (size != PyUnicode_GetLength(text)) {
            PyErr_SetString(PyExc_ValueError, "a text is not ASCII");
            goto failed;
        }
        Py_ssize_t count = numbers_of(self, (const uint8_t *)letters, size, out + used);
        if (count < 0) {
            PyErr_NoMemory();
            goto failed;
        }
        length_of[i] = count;
        used += count;
    }
    if (PyByteArray_Resize(numbers, used * (Py_ssize_t)sizeof(int32_t)) < 0)
        goto failed;
    return Py_BuildValue("NN", numbers, lengths);
failed:
    Py_XDECREF(lengths);
    Py_XDECREF(numbers);
    return NULL;
}

static PyObject *words_since(Words *self, PyObject *arg)
{
    Py_ssize_t first = PyLong_AsSsize_t(arg);
    if (first == -1 && PyErr_Occurred())
        return NULL;
    if (first < 0 || first > self->n) {
        PyErr_SetString(PyExc_IndexError, "no such word");
        return NULL;
    }
    PyObject *list = PyList_New(self->n - first);
    for (Py_ssize_t i = first; list && i < self->n; i++) {
        size_t start = self->starts[i], size = self->starts[i + 1] - start;
        PyObject *word = PyUnicode_FromStringAndSize(self->letters + start, (Py_ssize_t)size);
        if (!word)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, i - first, word);
    }
    return list;
}

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

/* One byte array of n numbers, or NULL. */
static void *numbers_made(PyObject **made, Py_ssize_t n)
{
    *made = PyByteArray_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(int32_t));
    return *made ? PyByteArray_AsString(*made) : NULL;
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

static PyMethodDef METHODS[] = {
    {"numbers", (PyCFunction)words_numbers, METH_O,
     "numbers(texts) -> (numbers of all words int32, words of each text int64); ASCII only."},
    {"since", (PyCFunction)words_since, METH_O, "since(first) -> the words from that number on."},
    {"count", (PyCFunction)words_count, METH_VARARGS,
     "count(numbers int32, lengths int64, n_terms) -> (entries a row int32, columns int32,"
     " counts float32, number of each column int32); numbers below 0 are passed over."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot SLOTS[] = {
    {Py_tp_new, words_new},       {Py_tp_dealloc, words_dealloc},
    {Py_tp_methods, METHODS},     {Py_sq_length, words_length},
    {Py_tp_doc, "A table of words, numbered as they are met, and counters of terms."},
    {0, NULL},
};

static PyType_Spec SPEC = {
    "searchlib.encoders._words.Words", sizeof(Words), 0, Py_TPFLAGS_DEFAULT, SLOTS};

static int execute(PyObject *module)
{
    for (int c = 0; c < 128; c++)
        LOWER[c] = (uint8_t)((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ? c
                             : c >= 'A' && c <= 'Z'                           ? c + 32
                                                                              : 0);
    PyObject *type = PyType_FromModuleAndSpec(module, &SPEC, NULL);
    if (!type)
        return -1;
    int failed = PyModule_AddObjectRef(module, "Words", type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot MODULE_SLOTS[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_words", "Numbers of words and counts of terms.", 0, NULL,
    MODULE_SLOTS,          NULL,     NULL,                                    NULL,
};

PyMODINIT_FUNC PyInit__words(void)
{
    return PyModuleDef_Init(&MODULE);
}
