/* Rows times a matrix whose entries are -1, 0 or 1, four of them a byte. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <string.h>

#include "_team.h"

#if !defined(__GNUC__)
#error "needs GCC's or Clang's vectors; without this module numpy does the work"
#endif

typedef float Four __attribute__((vector_size(16), aligned(4)));

#define BYTES 512 /* of a row at a time: the sums of 2048 columns stay in the first-level cache */

/* What each byte stands for: two bits an entry, the lowest first: 0, 1, -1, and 0 for 3. */
static Four meaning[256];

static void fill_meaning(void)
{
    static const float value[4] = {0.0f, 1.0f, -1.0f, 0.0f};
    for (int byte = 0; byte < 256; byte++)
        meaning[byte] = (Four){value[byte & 3], value[byte >> 2 & 3], value[byte >> 4 & 3],
                               value[byte >> 6 & 3]};
}

/* sums[4 j + i] = sum over the rows of x[row] * entry i of codes[row][j], for `count` bytes. */
static void add_up(float *found, const float *restrict x, const unsigned char *restrict codes,
                   Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t count)
{
    Four *restrict sums = (Four *)found;
    memset(sums, 0, (size_t)count * sizeof *sums);
    Py_ssize_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        const unsigned char *a = codes + row * stride, *b = a + stride, *c = b + stride,
                            *d = c + stride;
        const float p = x[row], q = x[row + 1], r = x[row + 2], s = x[row + 3];
        for (Py_ssize_t j = 0; j < count; j++)
            sums[j] += (meaning[a[j]] * p + meaning[b[j]] * q) +
                       (meaning[c[j]] * r + meaning[d[j]] * s);
    }
    for (; row < rows; row++) {
        const unsigned char *a = codes + row * stride;
        for (Py_ssize_t j = 0; j < count; j++) sums[j] += meaning[a[j]] * x[row];
    }
}

typedef struct {
    const char *name;
    Py_ssize_t bytes; /* of a row that it adds up at a time */
    void (*add_up)(float *, const float *, const unsigned char *, Py_ssize_t, Py_ssize_t,
                   Py_ssize_t);
} Kind;

#if defined(__x86_64__)
#include "_ternary_wide.h"
#endif

static const Kind KINDS[] = {
#if defined(__x86_64__)
    {"avx512", WIDE_BYTES, add_up_wide},
#endif
    {"any", BYTES, add_up},
};
#define KINDS_COUNT ((int)(sizeof KINDS / sizeof KINDS[0]))

static int runs_here(const Kind *kind)
{
#if defined(__x86_64__)
    if (!strcmp(kind->name, "avx512")) return __builtin_cpu_supports("avx512f");
#endif
    return kind->add_up == add_up;
}

static const Kind *kind_named(const char *name)
{
    for (int i = 0; i < KINDS_COUNT; i++)
        if (!strcmp(KINDS[i].name, name) && runs_here(&KINDS[i])) return &KINDS[i];
    PyErr_Format(PyExc_ValueError, "no kernel %s here", name);
    return NULL;
}

/* Rows x (texts, rows) times a matrix of codes (rows, stride). */
typedef struct {
    const Kind *kind;
    const float *x, *scales;
    const unsigned char *codes;
    Py_ssize_t texts, rows, stride, columns;
    float *out; /* (texts, columns) */
} Product;

static Py_ssize_t blocks(const void *job, Py_ssize_t phase)
{
    const Product *all = job;
    (void)phase;
    return (all->stride + all->kind->bytes - 1) / all->kind->bytes;
}

static void one_block(void *job, Py_ssize_t phase, Py_ssize_t block, int worker)
{
    const Product *all = job;
    Py_ssize_t start = block * all->kind->bytes, left = all->stride - start, first = 4 * start;
    Py_ssize_t count = left < all->kind->bytes ? left : all->kind->bytes;
    Py_ssize_t wide = all->columns - first < 4 * count ? all->columns - first : 4 * count;
    float found[4 * BYTES] __attribute__((aligned(64)));
    (void)phase, (void)worker;
    for (Py_ssize_t t = 0; t < all->texts; t++) {
        all->kind->add_up(found, all->x + t * all->rows, all->codes + start, all->rows,
                          all->stride, count);
        float *to = all->out + t * all->columns + first;
        for (Py_ssize_t j = 0; j < wide; j++) to[j] = found[j] * all->scales[first + j];
    }
}

static PyObject *py_product(PyObject *module, PyObject *args)
{
    enum { LEFT, CODES, SCALES, OUT, N };
    static const int ndims[N] = {2, 2, 1, 2};
    static const char *const formats[N] = {"f", "B", "f", "f"};
    PyObject *objects[N], *result = NULL;
    Py_buffer b[N];
    const char *name;
    int held = 0, workers;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOsi", &objects[LEFT], &objects[CODES], &objects[SCALES],
                          &objects[OUT], &name, &workers))
        return NULL;
    const Kind *kind = kind_named(name);
    if (!kind) return NULL;
    for (; held < N; held++) {
        int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (held == OUT ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(objects[held], &b[held], flags) < 0) goto release;
        if (b[held].ndim == ndims[held] && b[held].format && !strcmp(b[held].format, formats[held]))
            continue;
        PyErr_Format(PyExc_ValueError, "argument %d needs %d dimensions of '%s'", held + 1,
                     ndims[held], formats[held]);
        held++;
        goto release;
    }
    Py_ssize_t texts = b[LEFT].shape[0], rows = b[LEFT].shape[1], columns = b[SCALES].shape[0];
    if (b[CODES].shape[0] != rows || b[CODES].shape[1] != (columns + 3) / 4 ||
        b[OUT].shape[0] != texts || b[OUT].shape[1] != columns) {
        PyErr_SetString(PyExc_ValueError, "shapes don't fit: (n, m), (m, V / 4), (V,), (n, V)");
        goto release;
    }
    Py_BEGIN_ALLOW_THREADS
    Product all = {kind, b[LEFT].buf, b[SCALES].buf, b[CODES].buf, texts, rows,
                   b[CODES].shape[1], columns, b[OUT].buf};
    Team team = {.work = one_block, .chunks = blocks, .job = &all, .phases = 1};
    work_together(&team, workers);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
release:
    while (held--) PyBuffer_Release(&b[held]);
    return result;
}

static PyObject *py_kernels(PyObject *module, PyObject *none)
{
    PyObject *names = PyList_New(0);
    (void)module;
    (void)none;
    for (int i = 0; names && i < KINDS_COUNT; i++) {
        PyObject *name = runs_here(&KINDS[i]) ? PyUnicode_FromString(KINDS[i].name) : NULL;
        if ((runs_here(&KINDS[i]) && !name) || (name && PyList_Append(names, name) < 0))
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef METHODS[] = {
    {"kernels", py_kernels, METH_NOARGS, "The names of those that run here, the fastest first."},
    {"product", py_product, METH_VARARGS,
     "product(rows, codes, scales, out, kernel, workers): out = rows @ (what codes stand for) * scales."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_ternary", "Products with ternary matrices.", 0, METHODS, NULL, NULL,
    NULL, NULL,
};

PyMODINIT_FUNC PyInit__ternary(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    fill_meaning();
    watch_forks();
    return PyModule_Create(&MODULE);
}
