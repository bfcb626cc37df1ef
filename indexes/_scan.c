/* Scanning 4-bit product quantisation codes, and exact inner products of chosen rows.

   Fast scan: Andre, Kermarrec and Le Scouarnec 2017 (arXiv:1704.07355); see `_scan_kernels.h`.
   The layout of codes is FORMAT.md's. The best instruction set is chosen when the module is
   loaded; every one gives the same sums. Nothing here trusts a size or a row number. */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_scan_codes.h"
#include "_scan_exact.h"
#include "_scan_kernels.h"

#define MAX_PAIRS 256 /* of subspaces: sums of 254 each stay below 65,535 */
#define STRIPE 64     /* blocks that every query of a batch scans before the next ones */

/* The buffers that `nearest` and `best` begin with. */
enum { CODES, CENTROIDS, ROTATED, ELIGIBLE, COMMON };

typedef struct {
    Py_ssize_t blocks, pairs, width; /* of rows, of subspaces, of a subspace */
} Shape;

/* Finds the sizes of codes; whether centroids, rotated queries and the mask (if any) fit them. */
static int fit(const Py_buffer *b, Py_ssize_t queries, Py_ssize_t n_rows, Shape *shape)
{
    Py_ssize_t blocks = n_rows / BLOCK + (n_rows % BLOCK != 0);
    Py_ssize_t pairs = n_rows > 0 ? b[CODES].len / BLOCK / blocks : 0;
    Py_ssize_t width = pairs > 0 ? b[CENTROIDS].len / 128 / pairs : 0;
    *shape = (Shape){blocks, pairs, width};
    return pairs >= 1 && pairs <= MAX_PAIRS && width >= 1 && n_rows <= UINT32_MAX &&
           b[CODES].len == blocks * pairs * BLOCK && b[CENTROIDS].len == pairs * width * 128 &&
           b[ROTATED].len == queries * pairs * width * 8 &&
           (!b[ELIGIBLE].obj || b[ELIGIBLE].len == n_rows);
}

static void release(Py_buffer *b, int count)
{
    for (int i = 0; i < count; i++)
        if (b[i].obj)
            PyBuffer_Release(&b[i]);
}

PyDoc_STRVAR(nearest_doc,
"nearest(codes, centroids, rotated, eligible, n_rows, found, counts)\n--\n\n"
"Fill found[i, :counts[i]] with the rows whose codes are nearest to query i, ascending.\n\n"
"codes uint8 (blocks, m / 2, 128), centroids float32 (m, width, 16), rotated queries float32\n"
"(q, m * width), eligible one byte a row, or None, found int64 (q, wanted), counts int64 (q,).\n"
"Of equal sums the lower row is taken. Raises ValueError where sizes disagree, MemoryError.");

static PyObject *nearest(PyObject *self, PyObject *args)
{
    enum { FOUND = COMMON, COUNTS, BUFFERS };
    Py_buffer b[BUFFERS] = {{0}};
    Py_ssize_t n_rows;
    Shape shape;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*z*nw*w*", &b[CODES], &b[CENTROIDS], &b[ROTATED],
                          &b[ELIGIBLE], &n_rows, &b[FOUND], &b[COUNTS]))
        return NULL;
    Best *bests = NULL;
    uint64_t *kept = NULL;
    uint32_t *tallies = NULL;
    float *products = NULL;
    uint8_t *tables = NULL;
    Py_ssize_t queries = b[COUNTS].len / 8;
    Py_ssize_t wanted = queries > 0 ? b[FOUND].len / 8 / queries : 0;
    if (wanted < 1 || !fit(b, queries, n_rows, &shape) || b[FOUND].len != queries * wanted * 8) {
        PyErr_SetString(PyExc_ValueError, "codes, centroids, queries, results do not fit");
        goto done;
    }
    Py_ssize_t pairs = shape.pairs, places = wanted, levels = 254 * pairs + 2;
    wanted = wanted < n_rows ? wanted : n_rows;
    Py_ssize_t room = 4 * wanted + BLOCK;
    bests = PyMem_Calloc(queries, sizeof *bests);
    kept = PyMem_Malloc(queries * room * sizeof *kept);
    tallies = PyMem_Calloc(queries * levels, sizeof *tallies);
    products = PyMem_Malloc(pairs * 32 * sizeof *products);
    tables = PyMem_Malloc(queries * pairs * 32);
    if (!bests || !kept || !tallies || !products || !tables) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t q = 0; q < queries; q++) {
        make_tables((const float *)b[ROTATED].buf + q * 2 * pairs * shape.width, b[CENTROIDS].buf,
                    2 * pairs, shape.width, products, tables + q * pairs * 32);
        bests[q] = (Best){kept + q * room, 0, tallies + q * levels, -1, 0};
    }
    Py_ssize_t blocks = shape.blocks, stripe = queries > 1 ? STRIPE : blocks;
    for (Py_ssize_t first = 0; first < blocks; first += stripe)
        for (Py_ssize_t q = 0; q < queries; q++)
            scan_blocks(&bests[q], room, wanted, b[CODES].buf, tables + q * pairs * 32, pairs,
                        first, first + stripe < blocks ? first + stripe : blocks, n_rows,
                        b[ELIGIBLE].buf);
    for (Py_ssize_t q = 0; q < queries; q++) {
        int64_t *rows = (int64_t *)b[FOUND].buf + q * places;
        forget(&bests[q], wanted);
        for (Py_ssize_t i = 0; i < bests[q].count; i++)
            rows[i] = (int64_t)(uint32_t)bests[q].kept[i];
        ((int64_t *)b[COUNTS].buf)[q] = bests[q].count;
    }
    Py_END_ALLOW_THREADS
done:
    PyMem_Free(bests);
    PyMem_Free(kept);
    PyMem_Free(tallies);
    PyMem_Free(products);
    PyMem_Free(tables);
    release(b, BUFFERS);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(best_doc,
"best(codes, centroids, rotated, eligible, n_rows, wanted, vectors, query, rows, scores)\n--\n\n"
"Fill rows int64 (k,) and scores float32 (k,) with the best of `wanted` rows that the codes choose\n"
"for one query, by their exact products; best first, ties by row. Returns how many there are.\n\n"
"The first five as `nearest` takes them, the others as `products` does. Raises ValueError where\n"
"sizes disagree, MemoryError.");

static PyObject *best(PyObject *self, PyObject *args)
{
    enum { VECTORS = COMMON, QUERY, ROWS, SCORES, BUFFERS };
    Py_buffer b[BUFFERS] = {{0}};
    Py_ssize_t n_rows, wanted, count = 0;
    Shape shape;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*z*nny*y*w*w*", &b[CODES], &b[CENTROIDS], &b[ROTATED],
                          &b[ELIGIBLE], &n_rows, &wanted, &b[VECTORS], &b[QUERY], &b[ROWS],
                          &b[SCORES]))
        return NULL;
    Py_ssize_t k = b[SCORES].len / 4, dim = b[QUERY].len / 4;
    uint64_t *kept = NULL;
    uint32_t *tally = NULL;
    float *products = NULL;
    Scored *heap = NULL;
    wanted = wanted < n_rows ? wanted : n_rows;
    if (wanted < 1 || k < 1 || k > wanted || dim < 1 || !fit(b, 1, n_rows, &shape) ||
        b[VECTORS].len != 4 * n_rows * dim || b[ROWS].len != 8 * k) {
        PyErr_SetString(PyExc_ValueError, "codes, centroids, vectors, query, results do not fit");
        goto done;
    }
    Py_ssize_t pairs = shape.pairs, room = 4 * wanted + BLOCK;
    kept = PyMem_Malloc(room * sizeof *kept);
    tally = PyMem_Calloc(254 * pairs + 2, sizeof *tally);
    products = PyMem_Malloc((pairs * 40 + wanted) * sizeof *products); /* tables are in it too */
    heap = PyMem_Malloc(k * sizeof *heap);
    if (!kept || !tally || !products || !heap) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    uint8_t *tables = (uint8_t *)(products + pairs * 32);
    float *scores = products + pairs * 40;
    Best found = {kept, 0, tally, -1, 0};
    make_tables(b[ROTATED].buf, b[CENTROIDS].buf, 2 * pairs, shape.width, products, tables);
    scan_blocks(&found, room, wanted, b[CODES].buf, tables, pairs, 0, shape.blocks, n_rows,
                b[ELIGIBLE].buf);
    forget(&found, wanted);
    int64_t *rows = (int64_t *)kept;
    for (Py_ssize_t i = 0; i < found.count; i++)
        rows[i] = (int64_t)(uint32_t)kept[i];
    count = k < found.count ? k : found.count;
    score_rows(b[VECTORS].buf, dim, b[QUERY].buf, rows, found.count, scores);
    choose_best(rows, scores, found.count, count, heap, b[ROWS].buf, b[SCORES].buf);
    Py_END_ALLOW_THREADS
done:
    PyMem_Free(kept);
    PyMem_Free(tally);
    PyMem_Free(products);
    PyMem_Free(heap);
    release(b, BUFFERS);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(count);
}

PyDoc_STRVAR(scan_doc,
"scan(vectors, query, eligible, rows, scores)\n--\n\n"
"Fill rows int64 (k,) and scores float32 (k,) with the best of all vectors float32 (n, dim) for one\n"
"query (dim,), best first, ties by row; as `products` computes them. eligible: one byte a row, or\n"
"None. Returns how many there are. Raises ValueError where sizes disagree, MemoryError.");

static PyObject *scan(PyObject *self, PyObject *args)
{
    enum { VECTORS, QUERY, ROWS, SCORES, ELIGIBLE, BUFFERS };
    Py_buffer b[BUFFERS] = {{0}};
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*z*w*w*", &b[VECTORS], &b[QUERY], &b[ELIGIBLE], &b[ROWS],
                          &b[SCORES]))
        return NULL;
    Py_ssize_t dim = b[QUERY].len / 4, k = b[SCORES].len / 4, count = 0;
    Py_ssize_t n = dim > 0 ? b[VECTORS].len / 4 / dim : 0;
    Scored *heap = NULL;
    if (dim < 1 || k < 1 || b[QUERY].len != 4 * dim || b[VECTORS].len != 4 * n * dim ||
        b[ROWS].len != 8 * k || (b[ELIGIBLE].obj && b[ELIGIBLE].len != n)) {
        PyErr_SetString(PyExc_ValueError, "vectors, query and results do not fit each other");
    } else if (!(heap = PyMem_Malloc(k * sizeof *heap))) {
        PyErr_NoMemory();
    } else {
        Py_BEGIN_ALLOW_THREADS
        count = scan_rows(b[VECTORS].buf, n, dim, b[QUERY].buf, b[ELIGIBLE].buf, k, heap,
                          b[ROWS].buf, b[SCORES].buf);
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(heap);
    release(b, BUFFERS);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(count);
}

PyDoc_STRVAR(products_doc,
"products(vectors, query, rows, scores)\n--\n\n"
"Fill scores float32 (m,) with the inner products of query float32 (dim,) and the rows int64\n"
"(m,) of vectors float32 (n, dim), each computed in the same way. Raises ValueError where sizes\n"
"disagree, IndexError for a row that is not there.");

static PyObject *products(PyObject *self, PyObject *args)
{
    enum { VECTORS, QUERY, ROWS, SCORES, BUFFERS };
    Py_buffer b[BUFFERS] = {{0}};
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &b[VECTORS], &b[QUERY], &b[ROWS], &b[SCORES]))
        return NULL;
    Py_ssize_t dim = b[QUERY].len / 4, count = b[ROWS].len / 8;
    const int64_t *chosen = b[ROWS].buf;
    int inside = 1, fits = dim > 0 && b[QUERY].len % 4 == 0 && b[VECTORS].len % b[QUERY].len == 0 &&
                           b[ROWS].len == count * 8 && b[SCORES].len == count * 4;
    Py_ssize_t n = fits ? b[VECTORS].len / b[QUERY].len : 0;
    for (Py_ssize_t i = 0; fits && i < count; i++)
        inside &= chosen[i] >= 0 && chosen[i] < n;
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "vectors, query and results do not fit each other");
    } else if (!inside) {
        PyErr_SetString(PyExc_IndexError, "no such row");
    } else {
        Py_BEGIN_ALLOW_THREADS
        score_rows(b[VECTORS].buf, dim, b[QUERY].buf, chosen, count, b[SCORES].buf);
        Py_END_ALLOW_THREADS
    }
    release(b, BUFFERS);
    return fits && inside ? Py_NewRef(Py_None) : NULL;
}

/* Takes an instruction set; returns whether this processor has it. */
static int choose(const char *name)
{
    if (strcmp(name, "plain") == 0) {
        score_block = score_plain;
        product = product_plain;
        return 1;
    }
#if X86
    __builtin_cpu_init();
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma")) {
        score_block = score_avx2;
        product = product_avx2;
        return 1;
    }
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi")) {
        score_block = score_avx512;
        product = product_avx512;
        return 1;
    }
#endif
    return 0;
}

PyDoc_STRVAR(use_doc,
"use(instructions)\n--\n\n"
"Choose \"plain\", \"avx2\" or \"avx512\"; returns whether this machine has them. For tests.");

static PyObject *use(PyObject *self, PyObject *args)
{
    const char *name;
    (void)self;
    return PyArg_ParseTuple(args, "s", &name) ? PyBool_FromLong(choose(name)) : NULL;
}

static PyMethodDef functions[] = {
    {"nearest", nearest, METH_VARARGS, nearest_doc},
    {"best", best, METH_VARARGS, best_doc},
    {"scan", scan, METH_VARARGS, scan_doc},
    {"products", products, METH_VARARGS, products_doc},
    {"use", use, METH_VARARGS, use_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_scan", "Kernels of dense search; see pq.py.", -1, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__scan(void)
{
    (void)(choose("avx512") || choose("avx2"));
    return PyModule_Create(&module);
}
