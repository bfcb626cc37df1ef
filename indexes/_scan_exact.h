/* Exact inner products of rows, and the best of them. Included once, by `_scan.c`.

   Every product is computed by the same function, so that it depends on nothing but its two rows. */

#pragma once

#include <stdint.h>

#include "_scan_kernels.h"

static Product *product = product_plain;

/* A row and its exact product. */
typedef struct {
    float score;
    int64_t row;
} Scored;

static int worse(Scored a, Scored b)
{
    return a.score < b.score || (a.score == b.score && a.row > b.row);
}

/* Moves `item` down from place `at` of a heap whose root is the worst of all. */
static void settle(Scored *heap, Py_ssize_t count, Py_ssize_t at, Scored item)
{
    for (Py_ssize_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && worse(heap[child + 1], heap[child]);
        if (!worse(heap[child], item))
            break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static void score_rows(const float *data, Py_ssize_t dim, const float *query, const int64_t *rows,
                       Py_ssize_t count, float *scores)
{
    for (Py_ssize_t i = 0; i < count; i++) {
#if defined(__GNUC__) || defined(__clang__)
        if (i + 4 < count)
            for (Py_ssize_t j = 0; j < dim; j += 16)
                __builtin_prefetch(data + rows[i + 4] * dim + j);
#endif
        scores[i] = product(data + rows[i] * dim, query, dim);
    }
}

/* The places are filled from a heap of `count` rows, best first. */
static void empty(Scored *heap, Py_ssize_t count, int64_t *best_rows, float *best_scores)
{
    for (Py_ssize_t left = count; left-- > 0;) {
        best_rows[left] = heap[0].row;
        best_scores[left] = heap[0].score;
        settle(heap, left, 0, heap[left]);
    }
}

/* The k best of `count` scored rows, best first, ties by row; `heap` has room for k. */
static void choose_best(const int64_t *rows, const float *scores, Py_ssize_t count, Py_ssize_t k,
                        Scored *heap, int64_t *best_rows, float *best_scores)
{
    for (Py_ssize_t i = 0; i < k; i++)
        heap[i] = (Scored){scores[i], rows[i]};
    for (Py_ssize_t at = k / 2; at-- > 0;)
        settle(heap, k, at, heap[at]);
    for (Py_ssize_t i = k; i < count; i++) {
        Scored item = {scores[i], rows[i]};
        if (worse(heap[0], item))
            settle(heap, k, 0, item);
    }
    empty(heap, k, best_rows, best_scores);
}

/* The same of all n rows that `eligible` (NULL: any) lets through; returns how many there are. */
static Py_ssize_t scan_rows(const float *data, Py_ssize_t n, Py_ssize_t dim, const float *query,
                            const uint8_t *eligible, Py_ssize_t k, Scored *heap,
                            int64_t *best_rows, float *best_scores)
{
    Py_ssize_t count = 0;
    for (Py_ssize_t row = 0; row < n; row++) {
        if (eligible && !eligible[row])
            continue;
        Scored item = {product(data + row * dim, query, dim), row};
        if (count < k) {
            heap[count++] = item;
            for (Py_ssize_t at = count == k ? k / 2 : 0; at-- > 0;)
                settle(heap, k, at, heap[at]);
        } else if (worse(heap[0], item)) {
            settle(heap, k, 0, item);
        }
    }
    for (Py_ssize_t at = count < k ? count / 2 : 0; at-- > 0;)
        settle(heap, count, at, heap[at]);
    empty(heap, count, best_rows, best_scores);
    return count;
}
