/* Finding a query's terms in the lists. */
#include "lists.h"

#include <stdlib.h>

static int32_t dense_place(const Lists *lists, uint32_t number) {
    int64_t low = 0, high = lists->n_dense;
    while (low < high) {
        int64_t middle = (low + high) >> 1;
        if (lists->dense[middle] < number) low = middle + 1;
        else high = middle;
    }
    return low < lists->n_dense && lists->dense[low] == number ? (int32_t)low : -1;
}

/* Where each part of a sparse list begins; -1 if its sizes contradict each other. */
static int begin_parts(const Lists *lists, int32_t number, int64_t start, int64_t stop,
                       uint32_t *begins) {
    if (!lists->parts.starts) {
        begins[0] = (uint32_t)start;
        if (lists->n_parts) begins[1] = (uint32_t)stop; /* of no rows there is no part */
        return 0;
    }
    int64_t entry = start_at(&lists->parts, number), last = entry + size_at(&lists->parts, number);
    if (last > lists->n_part_entries) return -1;
    int64_t part = 0, at = start;
    for (; entry < last; entry++) {
        int64_t here = lists->part_numbers[entry];
        if (here < part || here >= lists->n_parts) return -1;
        while (part <= here) begins[part++] = (uint32_t)at;
        at += (int64_t)lists->part_sizes[entry] + 1;
        if (at > stop) return -1;
    }
    while (part <= lists->n_parts) begins[part++] = (uint32_t)at;
    return at == stop ? 0 : -1;
}

static int by_number(const void *a, const void *b) {
    int32_t x = ((const Term *)a)->number, y = ((const Term *)b)->number;
    return (x > y) - (x < y);
}

int64_t find_terms(const Lists *lists, const int32_t *numbers, const float *factors, int64_t count,
                   const float *norms, uint32_t *table, Term *terms) {
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t number = numbers[i];
        if (number < 0 || !(factors[i] > 0)) continue;
        if (number >= lists->n_terms) return -1;
        Term *term = &terms[found];
        term->number = number;
        term->factor = factors[i];
        term->top = norms ? 1.0f
                    : lists->kind == HALF ? half(lists->tops[number])
                    : lists->kind == BYTE ? 255.0f : 65535.0f;
        int64_t start = lists->skip + start_at(&lists->lists, number);
        int64_t stop = start + size_at(&lists->lists, number);
        if (stop > lists->n_postings) return -1;
        term->dense = start == stop ? dense_place(lists, (uint32_t)number) : -1;
        if (term->dense >= 0) {
            term->at = lists->windows + (int64_t)term->dense * (lists->n_windows + 1);
            term->bounds = lists->bounds + (int64_t)term->dense * lists->n_windows * BLOCKS;
            if (term->at[0] > term->at[lists->n_windows]) return -1;
            term->size = (int64_t)term->at[lists->n_windows] - term->at[0];
        } else {
            uint32_t *begins = table + found * (lists->n_parts + 1);
            if (begin_parts(lists, number, start, stop, begins)) return -1;
            term->at = begins;
            term->bounds = NULL;
            term->size = stop - start;
        }
        found++;
    }
    qsort(terms, (size_t)found, sizeof *terms, by_number);
    return found;
}
