/* What stands before and behind a model's layers: normalisation, and what a sparse head reads. */

static void unpack(const Packed *from, const Kind *kind, float *to)
{
    for (Py_ssize_t p = 0; p < from->panels_count; p++) {
        const Panel *panel = &from->panels[p];
        const float *numbers = from->numbers + panel->at * from->depth;
        float *rows = to + panel->at * from->depth;
        for (Py_ssize_t t = 0; t < panel->width; t++)
            for (Py_ssize_t d = 0; d < from->depth; d++)
                rows[t * from->depth + d] = numbers[d * panel->count * kind->lanes + t];
    }
}

static int norm_fits(const Py_buffer *scale, const Py_buffer *shift, Py_ssize_t depth)
{
    if (scale->shape[0] == depth && shift->shape[0] == depth) return 1;
    PyErr_SetString(PyExc_ValueError, "shapes don't fit: (T, D), (D,), (D,)");
    return 0;
}

static void normalise_all(const Kind *kind, Packed *packed, const Py_buffer *scale,
                          const Py_buffer *shift, float eps)
{
    Part norm = {scale->buf, shift->buf, packed->depth};
    for (Py_ssize_t p = 0; p < packed->panels_count; p++)
        normalise_panel(kind, packed->numbers, packed, p, norm, eps);
}

/* Becomes gelu(x W' + b) of each of its tokens x. 0, or -1 without memory. */
static int widen(const Kind *kind, Packed *packed, const Py_buffer *weight, const Py_buffer *bias)
{
    Py_ssize_t depth = packed->depth, rows = weight->shape[0];
    float *made = aligned_numbers(packed->lanes * rows);
    if (!made) return -1;
    for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
        const Panel *panel = &packed->panels[p];
        for (Py_ssize_t row = 0; row < rows; row += kind->rows) {
            Py_ssize_t r = row + kind->rows > rows ? rows - kind->rows : row;
            kind->block(made + panel->at * rows + r * panel->count * kind->lanes,
                        packed->numbers + panel->at * depth,
                        (const float *)weight->buf + r * depth, (const float *)bias->buf + r, NULL,
                        depth, panel->count, 1, 0, 1);
        }
    }
    free(packed->numbers);
    packed->numbers = made;
    packed->depth = rows;
    return 0;
}

/* out: rows normalised, those of `weight` and `bias` as `widen` makes them where these are given.
   0, or -1 without memory. */
static int around(const Kind *kind, const Py_buffer *rows, const Py_buffer *weight,
                  const Py_buffer *bias, const Py_buffer *scale, const Py_buffer *shift, float eps,
                  float *out)
{
    int64_t tokens = rows->shape[0];
    Packed packed;
    if (!tokens) return 0;
    kind = wide_enough(kind, tokens);
    if (pack(&packed, rows, &tokens, 1, kind)) return -1;
    int failed = weight ? widen(kind, &packed, weight, bias) : 0;
    if (!failed) {
        normalise_all(kind, &packed, scale, shift, eps);
        unpack(&packed, kind, out);
    }
    free_packed(&packed);
    return failed;
}

static PyObject *py_normalise(PyObject *module, PyObject *args)
{
    enum { LEFT, SCALE, SHIFT, N };
    static const int ndims[N] = {2, 1, 1};
    static const int flags[N] = {PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, PyBUF_C_CONTIGUOUS,
                                 PyBUF_C_CONTIGUOUS};
    PyObject *objects[N], *result = NULL;
    Py_buffer b[N];
    int number, failed;
    float eps;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOfi", &objects[LEFT], &objects[SCALE], &objects[SHIFT], &eps,
                          &number))
        return NULL;
    const Kind *kind = kind_of(number);
    if (!kind || view_all(objects, b, N, ndims, flags) < 0) return NULL;
    if (!norm_fits(&b[SCALE], &b[SHIFT], b[LEFT].shape[1])) goto release;
    Py_BEGIN_ALLOW_THREADS
    failed = around(kind, &b[LEFT], NULL, NULL, &b[SCALE], &b[SHIFT], eps, b[LEFT].buf);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
release:
    release_all(b, N);
    return result;
}

static PyObject *py_transform(PyObject *module, PyObject *args)
{
    enum { LEFT, WEIGHT, BIAS, SCALE, SHIFT, OUT, N };
    static const int ndims[N] = {2, 2, 1, 1, 1, 2};
    static const int flags[N] = {PyBUF_STRIDES,      PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS,
                                 PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS,
                                 PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE};
    PyObject *objects[N], *result = NULL;
    Py_buffer b[N];
    int number, failed;
    float eps;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOfOi", &objects[LEFT], &objects[WEIGHT], &objects[BIAS],
                          &objects[SCALE], &objects[SHIFT], &eps, &objects[OUT], &number))
        return NULL;
    const Kind *kind = kind_of(number);
    if (!kind || view_all(objects, b, N, ndims, flags) < 0) return NULL;
    if (!norm_fits(&b[SCALE], &b[SHIFT], b[WEIGHT].shape[0])) goto release;
    if (!multiply(kind, &b[LEFT], &b[WEIGHT]) || b[BIAS].shape[0] != b[WEIGHT].shape[0] ||
        b[OUT].shape[0] != b[LEFT].shape[0] || b[OUT].shape[1] != b[WEIGHT].shape[0]) {
        PyErr_SetString(PyExc_ValueError, "shapes don't fit: (T, D), (V, D), (V,), (T, V)");
        goto release;
    }
    Py_BEGIN_ALLOW_THREADS
    failed = around(kind, &b[LEFT], &b[WEIGHT], &b[BIAS], &b[SCALE], &b[SHIFT], eps, b[OUT].buf);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
release:
    release_all(b, N);
    return result;
}
