/* What Python gives: a kernel's number, and views of arrays of the type and shape asked for. */

static const Kind *kind_of(int number)
{
    if (number >= 0 && number < KINDS_COUNT && runs_here(&KINDS[number])) return &KINDS[number];
    PyErr_Format(PyExc_ValueError, "no kernel %d for this processor", number);
    return NULL;
}

/* The kind for so few tokens that half as wide registers hold them; all kinds but "any" compute the
   same of a token, bit for bit. */
static const Kind *wide_enough(const Kind *kind, Py_ssize_t tokens)
{
    for (int i = 0; kind->lanes == 16 && tokens <= 8 && i < KINDS_COUNT; i++)
        if (KINDS[i].lanes == 8 && runs_here(&KINDS[i])) return &KINDS[i];
    return kind;
}

static int multiply(const Kind *kind, const Py_buffer *rows, const Py_buffer *weight)
{
    return rows->shape[0] >= 1 && rows->shape[1] >= 1 && rows->shape[1] == weight->shape[1] &&
           weight->shape[0] >= kind->rows;
}

/* A view of a float32 array of `ndim` dimensions; -1 with an exception if it is something else. */
static int view(PyObject *object, Py_buffer *to, int ndim, int flags)
{
    if (PyObject_GetBuffer(object, to, flags | PyBUF_FORMAT) < 0) return -1;
    if (to->ndim == ndim && to->itemsize == 4 && to->format && !strcmp(to->format, "f")) return 0;
    PyBuffer_Release(to);
    PyErr_Format(PyExc_ValueError, "needs a float32 array of %d dimensions", ndim);
    return -1;
}

/* The same of several; -1 if one of them fails, and none is held then. */
static int view_all(PyObject **objects, Py_buffer *to, int count, const int *ndims, const int *flags)
{
    for (int i = 0; i < count; i++) {
        if (view(objects[i], &to[i], ndims[i], flags[i]) == 0) continue;
        while (i--) PyBuffer_Release(&to[i]);
        return -1;
    }
    return 0;
}

static void release_all(Py_buffer *held, int count)
{
    for (int i = 0; i < count; i++) PyBuffer_Release(&held[i]);
}

/* A view of lengths of texts, int64, that are 1 at least and together `tokens`; -1 with an exception
   if they are something else. */
static int view_lengths(PyObject *object, Py_buffer *to, Py_ssize_t tokens)
{
    if (PyObject_GetBuffer(object, to, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) return -1;
    int good = to->ndim == 1 && to->itemsize == 8 && to->format && to->shape[0] > 0 &&
               (!strcmp(to->format, "l") || !strcmp(to->format, "q"));
    for (Py_ssize_t i = 0; good && i < to->shape[0]; i++) {
        int64_t length = ((const int64_t *)to->buf)[i];
        good = length > 0 && length <= tokens;
        tokens -= length;
    }
    if (good && tokens == 0) return 0;
    PyBuffer_Release(to);
    PyErr_SetString(PyExc_ValueError, "shapes don't fit: int64 lengths that add up to the rows");
    return -1;
}
