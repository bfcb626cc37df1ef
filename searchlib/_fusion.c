/* What a fusion computes for each query: see fusing.py, which has the same in numpy.

   A pool holds a few hundred candidates, so what counts is to be called once instead of a hundred
   times. Arrays come in as buffers of contiguous numbers; sizes are checked, ids are not used as
   places. */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_fusion_sort.h"

#define LEAST_SPREAD 1e-9 /* fusion.py */

static void release(Py_buffer *buffers, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (buffers[i].obj) PyBuffer_Release(&buffers[i]);
}

static PyObject *too_short(void) {
    PyErr_SetString(PyExc_ValueError, "arrays of a fusion do not fit each other");
    return NULL;
}

/* One part's scores of some ids. */
typedef struct {
    int part;
    Py_buffer buffers[2];
} Given;

/* Reads a tuple (part, ids, scores); the caller releases its buffers if that went well. */
static int read_given(PyObject *item, int n_parts, Given *given) {
    if (!item || !PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "what parts give are tuples of part, ids, scores");
        return 0;
    }
    if (!PyArg_ParseTuple(item, "iy*y*", &given->part, &given->buffers[0], &given->buffers[1]))
        return 0;
    if (given->part >= 0 && given->part < n_parts &&
        given->buffers[0].len == 2 * given->buffers[1].len)
        return 1;
    release(given->buffers, 2);
    too_short();
    return 0;
}

/* Writes what is known of the different ids; returns how many these are, -1 without memory. */
static int64_t complete(const Given *given, int64_t n_given, int64_t n_parts, int64_t total,
                        int64_t *ids, float *scores, int64_t *missing, int64_t *counts) {
    Pair *pairs = malloc((size_t)(2 * total + 1) * sizeof *pairs);
    float *flat = malloc((size_t)(total + 1) * sizeof *flat);
    int *parts = malloc((size_t)(total + 1) * sizeof *parts);
    char *known = calloc((size_t)(n_parts * total + 1), 1);
    int64_t at = 0, made = 0;
    if (!pairs || !flat || !parts || !known) {
        made = -1;
        goto done;
    }
    for (int64_t g = 0; g < n_given; g++) {
        const int64_t *some = given[g].buffers[0].buf;
        int64_t count = given[g].buffers[1].len / 4;
        if (count) memcpy(flat + at, given[g].buffers[1].buf, (size_t)count * 4);
        for (int64_t i = 0; i < count; i++, at++) {
            pairs[at] = (Pair){some[i], at};
            parts[at] = given[g].part;
        }
    }
    Pair *found = sorted(pairs, pairs + total, total);
    for (int64_t i = 0; i < total; i++)
        if (i == 0 || found[i].key != found[i - 1].key) ids[made++] = found[i].key;
    for (int64_t i = 0, place = -1; i < total; i++) {
        place += i == 0 || found[i].key != found[i - 1].key;
        int64_t cell = parts[found[i].place] * made + place;
        scores[cell] = flat[found[i].place];
        known[cell] = 1;
    }
    for (int64_t part = 0; part < n_parts; part++) {
        counts[part] = 0;
        for (int64_t place = 0; place < made; place++)
            if (!known[part * made + place]) missing[part * total + counts[part]++] = place;
    }
done:
    free(pairs), free(flat), free(parts), free(known);
    return made;
}

/* complete(given, ids, scores, missing, counts): how many different ids there are */
static PyObject *py_complete(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *list;
    Py_buffer out[4] = {{0}};
    if (!PyArg_ParseTuple(args, "O!w*w*w*w*", &PyList_Type, &list, &out[0], &out[1], &out[2],
                          &out[3]))
        return NULL;
    int64_t n_given = PyList_Size(list), n_parts = out[3].len / 8, read = 0, total = 0, made = 0;
    Given *given = calloc((size_t)n_given + 1, sizeof *given);
    int ok = given != NULL && n_parts <= INT32_MAX;
    for (; ok && read < n_given; read += ok) {
        ok = read_given(PyList_GetItem(list, read), (int)n_parts, &given[read]);
        if (ok) total += given[read].buffers[1].len / 4;
    }
    if (ok && (out[0].len < 8 * total || out[1].len < 4 * n_parts * total ||
               out[2].len < 8 * n_parts * total))
        ok = too_short() != NULL;
    if (ok) {
        made = complete(given, n_given, n_parts, total, out[0].buf, out[1].buf, out[2].buf,
                        out[3].buf);
        ok = made >= 0 || PyErr_NoMemory() != NULL;
    }
    for (int64_t g = 0; given && g < read; g++) release(given[g].buffers, 2);
    free(given);
    release(out, 4);
    if (!ok) return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    return PyLong_FromLongLong(made);
}

/* One part's scores of the pool, and what they say. */
typedef struct {
    double mean, scale, evenness, matchless, level;
} Row;

/* Fills `z` (count,) too. */
static Row read_row(const float *scores, int64_t count, double rate, double *z) {
    Row row = {0, 0, 1, 0, 1};
    if (!count) return row;
    double sum = 0, squares = 0, zeros = 0, most = -INFINITY, total = 0, weighed = 0, level = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += scores[i];
        zeros += scores[i] == 0;
    }
    row.mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++) {
        double off = scores[i] - row.mean;
        squares += off * off;
    }
    double width = sqrt(squares / (double)count);
    row.scale = width > LEAST_SPREAD ? 1 / width : 0;
    for (int64_t i = 0; i < count; i++) {
        z[i] = (scores[i] - row.mean) * row.scale;
        most = z[i] > most ? z[i] : most;
        level += exp(rate * z[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        double share = exp(z[i] - most);
        total += share;
        weighed += share * (z[i] - most);
    }
    if (count > 1) row.evenness = (log(total) - weighed / total) / log((double)count);
    row.matchless = zeros / (double)count;
    row.level = level / (double)count;
    return row;
}

/* What the evidence makes of a part's weight (adaptive.py). */
static double trusted(const Row *rows, int64_t n_parts, int64_t part, int64_t guide,
                      const double *z, int64_t count, const double *rates, double covered) {
    double mean = 0, product = 0;
    for (int64_t i = 0; i < n_parts; i++) mean += rows[i].evenness;
    mean /= (double)n_parts;
    if (guide >= 0)
        for (int64_t i = 0; i < count; i++) product += z[part * count + i] * z[guide * count + i];
    return exp(rates[0] * covered * (mean - rows[part].evenness)) *
           exp(count ? rates[1] * product / (double)count : 0) *
           exp(-rates[2] * rows[part].matchless * (1 - covered));
}

/* fuse(scores, pool, weights, rate, guides, rates, coverage, fused): an opinion pool of the parts'
   scores; guides (-1: none), rates and coverage may be None */
static PyObject *py_fuse(PyObject *module, PyObject *args) {
    (void)module;
    enum { SCORES, POOL, WEIGHTS, GUIDES, RATES, COVERAGE, FUSED, BUFFERS };
    Py_buffer b[BUFFERS] = {{0}};
    double rate;
    if (!PyArg_ParseTuple(args, "y*y*y*dz*z*z*w*", &b[SCORES], &b[POOL], &b[WEIGHTS], &rate,
                          &b[GUIDES], &b[RATES], &b[COVERAGE], &b[FUSED]))
        return NULL;
    int64_t n_parts = b[WEIGHTS].len / 8, count = b[FUSED].len / 4;
    int64_t pooled = n_parts ? b[POOL].len / 4 / n_parts : 0;
    int ok = n_parts > 0 && b[SCORES].len == 4 * n_parts * count &&
             b[POOL].len == 4 * n_parts * pooled &&
             (!b[GUIDES].buf || (b[GUIDES].len == 8 * n_parts && b[RATES].len == 24 &&
                                 b[COVERAGE].len == 8 * n_parts));
    const int64_t *guides = b[GUIDES].buf;
    const double *covered = b[COVERAGE].buf;
    for (int64_t i = 0; ok && guides && i < n_parts; i++) ok = guides[i] < n_parts;
    Row *rows = ok ? malloc((size_t)n_parts * sizeof *rows) : NULL;
    double *z = ok ? malloc((size_t)(n_parts * pooled + 1) * sizeof *z) : NULL;
    double *sums = ok ? calloc((size_t)count + 1, sizeof *sums) : NULL;
    if (rows && z && sums) {
        const float *scores = b[SCORES].buf, *pool = b[POOL].buf;
        float *fused = b[FUSED].buf;
        Py_BEGIN_ALLOW_THREADS
        for (int64_t p = 0; p < n_parts; p++)
            rows[p] = read_row(pool + p * pooled, pooled, rate, z + p * pooled);
        for (int64_t p = 0; p < n_parts; p++) {
            double weight = ((const double *)b[WEIGHTS].buf)[p];
            if (guides)
                weight *=
                    trusted(rows, n_parts, p, guides[p], z, pooled, b[RATES].buf, covered[p]);
            for (int64_t i = 0; i < count; i++) {
                double standard = (scores[p * count + i] - rows[p].mean) * rows[p].scale;
                sums[i] += weight * (exp(rate * standard) / rows[p].level);
            }
        }
        for (int64_t i = 0; i < count; i++) fused[i] = (float)sums[i];
        Py_END_ALLOW_THREADS
    } else if (ok) {
        PyErr_NoMemory();
    } else {
        too_short();
    }
    free(rows), free(z), free(sums);
    release(b, BUFFERS);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* best(ids, scores, best_ids, best_scores): the best, as many as there is room for; ties in the
   order of `ids` */
static PyObject *py_best(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer b[4] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*w*w*", &b[0], &b[1], &b[2], &b[3])) return NULL;
    int64_t count = b[1].len / 4, k = b[3].len / 4;
    int ok = b[0].len == 8 * count && b[2].len == 8 * k && k <= count;
    Pair *pairs = ok ? malloc((size_t)(2 * count + 1) * sizeof *pairs) : NULL;
    if (pairs) {
        const float *scores = b[1].buf;
        for (int64_t i = 0; i < count; i++) pairs[i] = (Pair){descending(scores[i]), i};
        const Pair *found = sorted(pairs, pairs + count, count);
        for (int64_t i = 0; i < k; i++) {
            ((int64_t *)b[2].buf)[i] = ((const int64_t *)b[0].buf)[found[i].place];
            ((float *)b[3].buf)[i] = scores[found[i].place];
        }
    } else if (ok) {
        PyErr_NoMemory();
    } else {
        too_short();
    }
    free(pairs);
    release(b, 4);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"complete", py_complete, METH_VARARGS, "Different ids, and what is known of them."},
    {"fuse", py_fuse, METH_VARARGS, "An opinion pool."},
    {"best", py_best, METH_VARARGS, "The best of scored ids."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fusion", "What a fusion computes; see fusing.py.", -1, functions,
    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fusion(void) { return PyModule_Create(&definition); }
