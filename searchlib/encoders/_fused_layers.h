/* Layers of BERT: arguments checked, texts sent through them. */

#define FIXED "searchlib.fixed"
static const int PRODUCTS[] = {QUERY, KEY, VALUE, MIXED, UP, DOWN};
#define PRODUCTS_COUNT 6

/* Weights of layers, PRODUCTS_COUNT a layer. */
typedef struct {
    Py_ssize_t count;
    Fixed all[];
} FixedLayers;

static int is_weight(Py_ssize_t array)
{
    int part = (int)(array % (2 * PARTS)) / 2;
    return array % 2 == 0 && part != NORM1 && part != NORM2;
}

#if defined(HAS_FIXED)
static void free_fixed_layers(PyObject *capsule)
{
    FixedLayers *layers = PyCapsule_GetPointer(capsule, FIXED);
    for (Py_ssize_t i = 0; layers && i < layers->count; i++) free_fixed(&layers->all[i]);
    free(layers);
}

static PyObject *py_fixed(PyObject *module, PyObject *args)
{
    PyObject *arrays, *made;
    int number;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!i", &PyTuple_Type, &arrays, &number)) return NULL;
    const Kind *kind = kind_of(number);
    if (!kind) return NULL;
    Py_ssize_t size = PyTuple_Size(arrays), count = size / (2 * PARTS) * PRODUCTS_COUNT;
    FixedLayers *layers = calloc(1, sizeof *layers + (size_t)count * sizeof(Fixed));
    if (!layers) return PyErr_NoMemory();
    made = PyCapsule_New(layers, FIXED, free_fixed_layers);
    if (!made) {
        free(layers);
        return NULL;
    }
    int failed = fixed_kind(kind) ? 0 : 1;
    for (Py_ssize_t i = 0; !failed && i < size && layers->count < count; i++) {
        Py_buffer weight;
        if (!is_weight(i)) continue;
        if (view(PyTuple_GetItem(arrays, i), &weight, 2, PyBUF_C_CONTIGUOUS) < 0) {
            Py_DECREF(made);
            return NULL;
        }
        Fixed *to = &layers->all[layers->count++];
        Py_BEGIN_ALLOW_THREADS
        failed = weight.shape[0] < 1 || weight.shape[1] % 2 != 0
                     ? 1
                     : fix_weight(to, weight.buf, weight.shape[0], weight.shape[1]);
        Py_END_ALLOW_THREADS
        PyBuffer_Release(&weight);
    }
    if (!failed) return made;
    Py_DECREF(made);
    return failed < 0 ? PyErr_NoMemory() : Py_NewRef(Py_None);
}
#else
static PyObject *py_fixed(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    return Py_NewRef(Py_None);
}
#endif

static int fits(const Py_buffer *arrays, int part, Py_ssize_t rows, Py_ssize_t depth)
{
    const Py_buffer *weight = &arrays[2 * part], *bias = weight + 1;
    return weight->shape[0] == rows && bias->shape[0] == rows &&
           (weight->ndim == 1 || weight->shape[1] == depth);
}

static PyObject *py_layers(PyObject *module, PyObject *args)
{
    PyObject *rows_object, *lengths_object, *out_object, *layers, *capsule, *result = NULL;
    Py_buffer rows, lengths, out, *arrays = NULL;
    int number, heads, workers;
    float eps;
    Py_ssize_t held = 0, count;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOO!Oifii", &rows_object, &lengths_object, &out_object,
                          &PyTuple_Type, &layers, &capsule, &heads, &eps, &number, &workers))
        return NULL;
    const Kind *kind = kind_of(number);
    const FixedLayers *fixed = NULL;
    if (capsule != Py_None && !(fixed = PyCapsule_GetPointer(capsule, FIXED))) return NULL;
    workers = workers < 1 ? 1 : workers < MOST_WORKERS ? workers : MOST_WORKERS;
    if (!kind || view(rows_object, &rows, 2, PyBUF_STRIDES) < 0) return NULL;
    if (view_lengths(lengths_object, &lengths, rows.shape[0]) < 0) goto free_rows;
    if (view(out_object, &out, 2, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) goto free_lengths;
    Py_ssize_t tokens = rows.shape[0], depth = rows.shape[1];
    count = PyTuple_Size(layers);
    arrays = calloc((size_t)count + 1, sizeof *arrays);
    if (!arrays) {
        PyErr_NoMemory();
        goto free_out;
    }
    int good = tokens > 0 && depth >= kind->rows && count % (2 * PARTS) == 0 && heads > 0 &&
               depth % heads == 0 && out.shape[0] == tokens && out.shape[1] == depth;
    for (; good && held < count; held++) {
        int part = (int)(held % (2 * PARTS)) / 2, norm = part == NORM1 || part == NORM2;
        int ndim = held % 2 || norm ? 1 : 2;
        if (view(PyTuple_GetItem(layers, held), &arrays[held], ndim, PyBUF_C_CONTIGUOUS) < 0)
            goto free_arrays;
    }
    for (Py_ssize_t l = 0; good && l < count; l += 2 * PARTS) {
        const Py_buffer *at = arrays + l;
        Py_ssize_t wide = at[2 * UP].shape[0];
        good = fits(at, QUERY, depth, depth) && fits(at, KEY, depth, depth) &&
               fits(at, VALUE, depth, depth) && fits(at, MIXED, depth, depth) &&
               fits(at, NORM1, depth, 0) && fits(at, NORM2, depth, 0) && wide >= kind->rows &&
               fits(at, UP, wide, depth) && fits(at, DOWN, depth, wide);
    }
    good = good && (!fixed || (fixed_kind(kind) &&
                               fixed->count == count / (2 * PARTS) * PRODUCTS_COUNT));
    for (Py_ssize_t i = 0; good && fixed && i < fixed->count; i++) {
        const Fixed *its = &fixed->all[i];
        const Py_buffer *of = &arrays[i / PRODUCTS_COUNT * 2 * PARTS +
                                      2 * PRODUCTS[i % PRODUCTS_COUNT]];
        good = its->rows == of->shape[0] && its->depth == of->shape[1];
    }
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "shapes don't fit those of an encoder's layers");
        goto free_arrays;
    }
    Py_ssize_t widest = 0;
    for (Py_ssize_t l = 0; l < count; l += 2 * PARTS)
        if (arrays[l + 2 * UP].shape[0] > widest) widest = arrays[l + 2 * UP].shape[0];
    int failed;
    Part *parts = malloc((size_t)count / 2 * sizeof *parts + 1);
    if (!parts) {
        PyErr_NoMemory();
        goto free_arrays;
    }
    for (Py_ssize_t p = 0; p < count / 2; p++)
        parts[p] = (Part){arrays[2 * p].buf, arrays[2 * p + 1].buf, arrays[2 * p].shape[0], NULL};
    for (Py_ssize_t i = 0; fixed && i < fixed->count; i++)
        parts[i / PRODUCTS_COUNT * PARTS + PRODUCTS[i % PRODUCTS_COUNT]].fixed = &fixed->all[i];
    if (!fixed) kind = wide_enough(kind, tokens);
    Py_BEGIN_ALLOW_THREADS
    Packed packed;
    failed = pack(&packed, &rows, lengths.buf, lengths.shape[0], kind);
    if (!failed) {
        Layers all = {.kind = kind, .fixed = fixed ? fixed_kind(kind) : NULL, .packed = &packed,
                      .parts = parts, .heads = heads, .eps = eps};
        failed = make_scratch(&all.scratch, kind, &packed, widest, heads, workers);
        if (!failed) {
            Team team = {.work = layer_work, .chunks = layer_chunks, .job = &all,
                         .phases = count / (2 * PARTS) * PHASES};
            work_together(&team, all.scratch.tiles ? 1 : workers);
            unpack(&packed, kind, out.buf);
            free_scratch(&all.scratch);
        }
        free_packed(&packed);
    }
    Py_END_ALLOW_THREADS
    free(parts);
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
free_arrays:
    for (Py_ssize_t i = 0; i < held; i++) PyBuffer_Release(&arrays[i]);
    free(arrays);
free_out:
    PyBuffer_Release(&out);
free_lengths:
    PyBuffer_Release(&lengths);
free_rows:
    PyBuffer_Release(&rows);
    return result;
}
