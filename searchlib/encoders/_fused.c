/* Matrix products of encoders, fused with what follows them: the largest logit of every
   vocabulary entry over a text's tokens (the logits are never written), and x W' + b for a query;
   and the layers of BERT. Here: arguments checked, work shared out. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#if defined(__linux__)
#include <malloc.h> /* tells whether the C library is glibc, too */
#endif

#include "_team.h"

#include "_fused_product.h"
#include "_fused_largest.h"
#include "_fused_codes.h"
#include "_fused_positive.h"
#if defined(HAS_TILES)
#include "_fused_tiles.h"
#endif
#include "_fused_layer.h"
#include "_fused_views.h"
#include "_fused_head.h"
#include "_fused_around.h"

static PyObject *py_affine(PyObject *module, PyObject *args)
{
    enum { LEFT, RIGHT, BIAS, OUT, N };
    static const int ndims[N] = {2, 2, 1, 2};
    static const int flags[N] = {PyBUF_STRIDES, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS,
                                 PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE};
    PyObject *objects[N], *result = NULL;
    Py_buffer b[N];
    int number, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOi", &objects[LEFT], &objects[RIGHT], &objects[BIAS],
                          &objects[OUT], &number))
        return NULL;
    const Kind *kind = kind_of(number);
    if (!kind || view_all(objects, b, N, ndims, flags) < 0) return NULL;
    if (!multiply(kind, &b[LEFT], &b[RIGHT]) || b[BIAS].shape[0] != b[RIGHT].shape[0] ||
        b[OUT].shape[0] != b[RIGHT].shape[0] || b[OUT].shape[1] != b[LEFT].shape[0]) {
        PyErr_SetString(PyExc_ValueError, "shapes don't fit: (T, D), (V, D), (V,), (V, T)");
        goto release;
    }
    Py_BEGIN_ALLOW_THREADS
    Packed packed;
    int64_t length = b[LEFT].shape[0];
    failed = pack(&packed, &b[LEFT], &length, 1, kind);
    if (!failed) {
        all_affine(kind, &packed, b[RIGHT].buf, b[BIAS].buf, b[RIGHT].shape[0], b[OUT].buf);
        free_packed(&packed);
    }
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
release:
    release_all(b, N);
    return result;
}

static int fits(const Py_buffer *arrays, int part, Py_ssize_t rows, Py_ssize_t depth)
{
    const Py_buffer *weight = &arrays[2 * part], *bias = weight + 1;
    return weight->shape[0] == rows && bias->shape[0] == rows &&
           (weight->ndim == 1 || weight->shape[1] == depth);
}

static PyObject *py_layers(PyObject *module, PyObject *args)
{
    PyObject *rows_object, *lengths_object, *out_object, *layers, *result = NULL;
    Py_buffer rows, lengths, out, *arrays = NULL;
    int number, heads, workers;
    float eps;
    Py_ssize_t held = 0, count;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOO!ifii", &rows_object, &lengths_object, &out_object,
                          &PyTuple_Type, &layers, &heads, &eps, &number, &workers))
        return NULL;
    const Kind *kind = kind_of(number);
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
        parts[p] = (Part){arrays[2 * p].buf, arrays[2 * p + 1].buf, arrays[2 * p].shape[0]};
    kind = wide_enough(kind, tokens);
    Py_BEGIN_ALLOW_THREADS
    Packed packed;
    failed = pack(&packed, &rows, lengths.buf, lengths.shape[0], kind);
    if (!failed) {
        Layers all = {.kind = kind, .packed = &packed, .parts = parts, .heads = heads, .eps = eps};
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

static PyObject *py_kinds(PyObject *module, PyObject *ignored)
{
    (void)module, (void)ignored;
    PyObject *found = PyList_New(0);
    for (int i = 0; found && i < KINDS_COUNT; i++) {
        if (!runs_here(&KINDS[i])) continue;
        PyObject *pair = Py_BuildValue("(is)", i, KINDS[i].name);
        if (!pair || PyList_Append(found, pair) < 0) Py_CLEAR(found);
        Py_XDECREF(pair);
    }
    return found;
}

static PyObject *py_trim(PyObject *module, PyObject *ignored)
{
    (void)module, (void)ignored;
#if defined(__GLIBC__)
    Py_BEGIN_ALLOW_THREADS
    malloc_trim(0);
    Py_END_ALLOW_THREADS
#endif
    return Py_NewRef(Py_None);
}

static PyMethodDef METHODS[] = {
    {"largest", py_largest, METH_VARARGS,
     "largest(rows, lengths, weight, out, kind, workers): out[i, v] = max over text i of rows[t] . "
     "weight[v]."},
    {"coarse", py_coarse, METH_VARARGS,
     "coarse(weight, bias): what `positive` needs of them, or None where it does not run."},
    {"positive", py_positive, METH_VARARGS,
     "positive(rows, lengths, weight, bias, coarse, out, kind, workers): as `largest`, plus bias, "
     "where that is above 0; else a number that is not."},
    {"affine", py_affine, METH_VARARGS,
     "affine(rows, weight, bias, out, kind): out[v, t] = rows[t] . weight[v] + bias[v]."},
    {"normalise", py_normalise, METH_VARARGS,
     "normalise(rows, scale, shift, eps, kind): layer normalisation, in place."},
    {"transform", py_transform, METH_VARARGS,
     "transform(rows, weight, bias, scale, shift, eps, out, kind): gelu(rows . weight' + bias), "
     "normalised."},
    {"layers", py_layers, METH_VARARGS,
     "layers(rows, lengths, out, arrays, heads, eps, kind, workers): texts through layers of 16 "
     "arrays each."},
    {"trim", py_trim, METH_NOARGS, "Lets the system have freed memory that glibc keeps."},
    {"kinds", py_kinds, METH_NOARGS, "The kernels that run on this processor, best first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_fused", "Matrix products of encoders.", 0, METHODS, NULL, NULL, NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__fused(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
#if defined(HAS_TILES)
    tiles_here = tiles_run_here();
#endif
#if defined(HAS_COARSE)
    coarse_here = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
#endif
    watch_forks();
    PyObject *made = PyModule_Create(&MODULE);
    if (made && PyModule_AddIntConstant(made, "LONG", LONG) < 0) Py_CLEAR(made);
    return made;
}
