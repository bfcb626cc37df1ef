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
#include "_fused_fixed.h"
#include "_fused_attention.h"
#include "_fused_layer.h"
#include "_fused_views.h"
#include "_fused_head.h"
#include "_fused_around.h"
#include "_fused_layers.h"

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
    {"fixed", py_fixed, METH_VARARGS,
     "fixed(arrays, kind): the weights of layers in whole numbers of 16 bits, or None."},
    {"layers", py_layers, METH_VARARGS,
     "layers(rows, lengths, out, arrays, fixed, heads, eps, kind, workers): texts through layers of "
     "16 arrays each."},
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
#if defined(HAS_FIXED)
    find_fixed();
#endif
#if defined(HAS_COARSE)
    coarse_here = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
#endif
    watch_forks();
    PyObject *made = PyModule_Create(&MODULE);
    if (made && PyModule_AddIntConstant(made, "LONG", LONG) < 0) Py_CLEAR(made);
    return made;
}
