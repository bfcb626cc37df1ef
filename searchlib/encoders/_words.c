/* Words of plain texts as numbers, and how often each row names a term.

   What words.py and plain_words.py do in Python, for speed: a word is a run of letters and digits;
   after LONGEST characters a new one begins. After one like XJ-900 comes what it is with its
   neighbours, after one like getElementById its parts. Letters of ASCII become small ones; beyond
   ASCII, a table made by words.py says what is a letter, and what only Python can judge: a text
   that has such a character is left to it. Words are numbered from 0 in the order in which they
   are met.
   The interpreter's lock is held throughout, so one table may serve several threads. */

#include "_words_count.h"
#include "_words_join.h"

static PyObject *words_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const char *kinds, *units;
    Py_ssize_t n_kinds, n_units;
    if (!PyArg_ParseTuple(args, "y#y#:Words", &kinds, &n_kinds, &units, &n_units))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Words *self = (Words *)alloc(type, 0); /* zeroed */
    if (!self)
        return NULL;
    self->n_kinds = (size_t)n_kinds;
    self->kinds = malloc(self->n_kinds + 1);
    self->units = calloc((size_t)n_units + 1, 1);
    if (!self->kinds || !self->units || table_made(self) < 0) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    memcpy(self->kinds, kinds, self->n_kinds);
    memcpy(self->units, units, (size_t)n_units);
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
    free(self->kinds);
    free(self->units);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static Py_ssize_t words_length(Words *self)
{
    return self->n;
}

/* Adds the words of one plain text; how many, or -1 without memory. */
static Py_ssize_t find(Words *self, const uint8_t *text, Py_ssize_t length, Found *found)
{
    char word[LONGEST * WIDEST];
    Py_ssize_t first = found->used, i = 0;
    int32_t place = 0; /* in characters */
    while (i < length) {
        int width = letter_at(self, text + i);
        uint32_t noted = 0;
        if (!width) {
            i += width_of(text[i]);
            place++;
            continue;
        }
        Py_ssize_t start = i;
        uint64_t hash = self->seed;
        size_t size = 0;
        int32_t letters = 0;
        do {
            do {
                uint8_t c = LOWER[text[i]];
                noted += NOTED[text[i++]];
                word[size++] = (char)c;
                hash = hashed(hash, c);
            } while (--width);
            letters++;
        } while (letters < LONGEST && i < length && (width = letter_at(self, text + i)));
        if (add(self, word, size, hash, place, letters, found) < 0)
            return -1;
        if (i < length && may_join(text + i) && size == (size_t)letters && letters <= SHORT &&
            add_joined(self, text, start, i, length, place, found) < 0)
            return -1;
        noted -= is_capital(text[start]);
        if (noted && (noted % DIGIT || (noted > 2 * DIGIT && noted / DIGIT < (uint32_t)letters)) &&
            add_parts(self, text + start, word, size, place, found) < 0)
            return -1;
        place += letters;
    }
    return found->used - first;
}

/* Adds a text's words; how many, EXOTIC_TEXT for none as it is not plain, -1 with an error set. */
#define EXOTIC_TEXT (-2)
static Py_ssize_t find_in(Words *self, PyObject *text, Found *found)
{
    PyObject *encoded = PyUnicode_AsUTF8String(text);
    if (!encoded) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return -1;
        PyErr_Clear(); /* half a pair of surrogates */
        return EXOTIC_TEXT;
    }
    const uint8_t *letters = (const uint8_t *)PyBytes_AsString(encoded);
    Py_ssize_t size = PyBytes_Size(encoded), count = EXOTIC_TEXT;
    if (size == PyUnicode_GetLength(text) || is_plain(self, letters, size))
        count = find(self, letters, size, found);
    Py_DECREF(encoded);
    if (count == -1)
        PyErr_NoMemory();
    return count;
}

static PyObject *words_found(Words *self, PyObject *texts, int with_places)
{
    if (!PyList_Check(texts)) {
        PyErr_SetString(PyExc_TypeError, "texts must be a list");
        return NULL;
    }
    Py_ssize_t n = PyList_Size(texts), room = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_ssize_t length = PyUnicode_GetLength(PyList_GetItem(texts, i));
        if (length < 0)
            return NULL;
        if (length > INT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "a text is too long");
            return NULL;
        }
        room += 2 * (length + 1); /* enough: a word, two joined, parts of two letters or more */
    }
    PyObject *lengths = PyByteArray_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(int64_t));
    PyObject *parts[3] = {NULL, NULL, NULL};
    int n_parts = with_places ? 3 : 1;
    int32_t *room_of[3] = {NULL, NULL, NULL};
    PyObject *result = NULL;
    for (int p = 0; p < n_parts; p++)
        if (!(room_of[p] = numbers_made(parts + p, room)))
            goto done;
    if (!lengths)
        goto done;
    Found found = {room_of[0], room_of[1], room_of[2], 0};
    int64_t *length_of = (int64_t *)PyByteArray_AsString(lengths);
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_ssize_t count = find_in(self, PyList_GetItem(texts, i), &found);
        if (count == -1)
            goto done;
        length_of[i] = count == EXOTIC_TEXT ? -1 : count;
    }
    for (int p = 0; p < n_parts; p++)
        if (PyByteArray_Resize(parts[p], found.used * (Py_ssize_t)sizeof(int32_t)) < 0)
            goto done;
    result = with_places ? Py_BuildValue("OOOO", parts[0], lengths, parts[1], parts[2])
                         : Py_BuildValue("OO", parts[0], lengths);
done:
    for (int p = 0; p < n_parts; p++)
        Py_XDECREF(parts[p]);
    Py_XDECREF(lengths);
    return result;
}

static PyObject *words_numbers(Words *self, PyObject *texts)
{
    return words_found(self, texts, 0);
}

static PyObject *words_places(Words *self, PyObject *texts)
{
    return words_found(self, texts, 1);
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

static PyMethodDef METHODS[] = {
    {"numbers", (PyCFunction)words_numbers, METH_O,
     "numbers(texts) -> (numbers of all words int32, words of each text int64, -1: not plain)."},
    {"places", (PyCFunction)words_places, METH_O,
     "places(texts) -> (as numbers, start and end of each word int32, in characters)."},
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
    for (int c = 0; c < 256; c++) {
        NOTED[c] = c >= 'A' && c <= 'Z' ? 1 : c >= '0' && c <= '9' ? DIGIT : 0;
        LOWER[c] = (uint8_t)((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c > 127 ? c
                             : c >= 'A' && c <= 'Z'                                      ? c + 32
                                                                                         : 0);
    }
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
