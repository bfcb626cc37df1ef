/* What Python calls for a sparse head: arguments checked, then `all_largest` or `all_positive`. */

static PyObject *py_largest(PyObject *module, PyObject *args)
{
    enum { LEFT, RIGHT, OUT, N };
    static const int ndims[N] = {2, 2, 2};
    static const int flags[N] = {PyBUF_STRIDES, PyBUF_C_CONTIGUOUS,
                                 PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE};
    PyObject *objects[N], *lengths_object, *result = NULL;
    Py_buffer b[N], lengths;
    int number, workers, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOii", &objects[LEFT], &lengths_object, &objects[RIGHT],
                          &objects[OUT], &number, &workers))
        return NULL;
    const Kind *kind = kind_of(number);
    if (!kind || view_all(objects, b, N, ndims, flags) < 0) return NULL;
    if (view_lengths(lengths_object, &lengths, b[LEFT].shape[0]) < 0) goto release;
    if (!multiply(kind, &b[LEFT], &b[RIGHT]) || b[OUT].shape[0] != lengths.shape[0] ||
        b[OUT].shape[1] != b[RIGHT].shape[0]) {
        PyErr_SetString(PyExc_ValueError, "shapes don't fit: (T, D), (n,), (V, D), (n, V)");
        goto release_lengths;
    }
    kind = wide_enough(kind, b[LEFT].shape[0]);
    Py_BEGIN_ALLOW_THREADS
    Packed packed;
    failed = pack(&packed, &b[LEFT], lengths.buf, lengths.shape[0], kind);
    if (!failed) {
        all_largest(kind, &packed, b[RIGHT].buf, b[RIGHT].shape[0], b[OUT].buf, workers);
        free_packed(&packed);
    }
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
release_lengths:
    PyBuffer_Release(&lengths);
release:
    release_all(b, N);
    return result;
}

#if defined(HAS_COARSE)
#define COARSE "searchlib.encoders._fused.coarse" /* the name of its capsule */

static void forget_coarse(PyObject *capsule) { free_coarse(PyCapsule_GetPointer(capsule, COARSE)); }
#endif

static PyObject *py_coarse(PyObject *module, PyObject *args)
{
    enum { WEIGHT, BIAS, N };
    static const int ndims[N] = {2, 1}, flags[N] = {PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS};
    PyObject *objects[N], *result = NULL;
    Py_buffer b[N];
    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &objects[WEIGHT], &objects[BIAS]) ||
        view_all(objects, b, N, ndims, flags) < 0)
        return NULL;
    Py_ssize_t rows = b[WEIGHT].shape[0];
    if (b[BIAS].shape[0] != rows) {
        PyErr_SetString(PyExc_ValueError, "shapes don't fit: (V, D), (V,)");
        goto release;
    }
#if defined(HAS_COARSE)
    Py_ssize_t depth = b[WEIGHT].shape[1];
    if (coarse_here && rows >= COARSE_ROWS && depth >= 4 && depth % 4 == 0 && depth <= MOST_DEPTH) {
        Coarse *made;
        Py_BEGIN_ALLOW_THREADS
        made = new_coarse(b[WEIGHT].buf, b[BIAS].buf, rows, depth);
        Py_END_ALLOW_THREADS
        result = made ? PyCapsule_New(made, COARSE, forget_coarse) : PyErr_NoMemory();
        if (made && !result) free_coarse(made);
        goto release;
    }
#endif
    result = Py_NewRef(Py_None);
release:
    release_all(b, N);
    return result;
}

static PyObject *py_positive(PyObject *module, PyObject *args)
{
#if defined(HAS_COARSE)
    enum { LEFT, RIGHT, BIAS, OUT, N };
    static const int ndims[N] = {2, 2, 1, 2};
    static const int flags[N] = {PyBUF_STRIDES, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS,
                                 PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE};
    PyObject *objects[N], *lengths_object, *capsule, *result = NULL;
    Py_buffer b[N], lengths;
    int number, workers, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOOii", &objects[LEFT], &lengths_object, &objects[RIGHT],
                          &objects[BIAS], &capsule, &objects[OUT], &number, &workers))
        return NULL;
    const Kind *kind = kind_of(number);
    const Coarse *coarse = kind ? PyCapsule_GetPointer(capsule, COARSE) : NULL;
    if (!coarse || view_all(objects, b, N, ndims, flags) < 0) return NULL;
    if (view_lengths(lengths_object, &lengths, b[LEFT].shape[0]) < 0) goto release;
    if (kind->lanes != 16 || !multiply(kind, &b[LEFT], &b[RIGHT]) ||
        b[RIGHT].shape[0] != coarse->rows || b[RIGHT].shape[1] != coarse->depth ||
        b[BIAS].shape[0] != coarse->rows || b[OUT].shape[0] != lengths.shape[0] ||
        b[OUT].shape[1] != coarse->rows) {
        PyErr_SetString(PyExc_ValueError, "shapes don't fit: (T, D), (n,), (V, D), (V,), (n, V)");
        goto release_lengths;
    }
    Py_BEGIN_ALLOW_THREADS
    Packed packed;
    failed = pack(&packed, &b[LEFT], lengths.buf, lengths.shape[0], kind);
    if (!failed) {
        failed = all_positive(kind, &packed, b[RIGHT].buf, b[BIAS].buf, coarse, b[OUT].buf, workers);
        free_packed(&packed);
    }
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
release_lengths:
    PyBuffer_Release(&lengths);
release:
    release_all(b, N);
    return result;
#else
    (void)module, (void)args;
    PyErr_SetString(PyExc_ValueError, "no coarse products on this processor");
    return NULL;
#endif
}
