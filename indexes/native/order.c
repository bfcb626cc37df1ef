/* Puts rows that share their heaviest terms next to each other, so that bounds get tight.

   Sorting by the three heaviest terms does as well here as recursive graph bisection (Dhulipala
   et al. 2016), in a tenth of its time: see benchmarks/traversal.md. */
#include "build.h"

#include <stdlib.h>

#define KEYS 3 /* odd: the last of the sorts fills `order` */

/* Each row's heaviest terms, heaviest first; n_terms where it has fewer. Of equally heavy ones
   that with the smaller number, so whatever the order of a row's terms, the same are its heaviest.
   subtle: keys are a weight (of halves >= 0, bits ascend as they do) above a term's complement. */
static void find_heaviest(const Rows *rows, uint32_t *heaviest) {
    uint64_t none = (uint32_t)~rows->n_terms;
    for (int64_t row = 0; row < rows->n_rows; row++) {
        uint64_t first = none, second = none, third = none;
        for (int64_t p = rows->indptr[row]; p < rows->indptr[row + 1]; p++) {
            uint64_t key = (uint64_t)rows->weights[p] << 32 | (uint32_t)~rows->terms[p];
            uint64_t rest = key < first ? key : first;
            first = key > first ? key : first;
            uint64_t last = rest < second ? rest : second;
            second = rest > second ? rest : second;
            third = last > third ? last : third;
        }
        uint32_t *terms = heaviest + row * KEYS;
        terms[0] = ~(uint32_t)first, terms[1] = ~(uint32_t)second, terms[2] = ~(uint32_t)third;
    }
}

/* Stable: equal rows keep the order of `from`. */
static void sort_by(const uint32_t *heaviest, int key, int64_t n_rows, int64_t n_terms,
                    int64_t *begins, const uint32_t *from, uint32_t *to) {
    memset(begins, 0, sizeof(int64_t) * (size_t)(n_terms + 2));
    for (int64_t i = 0; i < n_rows; i++) begins[heaviest[i * KEYS + key] + 1]++;
    for (int64_t t = 0; t <= n_terms; t++) begins[t + 1] += begins[t];
    for (int64_t i = 0; i < n_rows; i++)
        to[begins[heaviest[(int64_t)from[i] * KEYS + key]]++] = from[i];
}

/* Fills `order` (n_rows,); -1 if there is no memory. */
int order_rows(const Rows *rows, uint32_t *order) {
    int64_t n = rows->n_rows, m = rows->n_terms;
    uint32_t *heaviest = malloc(sizeof *heaviest * (size_t)(n * KEYS + 1));
    uint32_t *other = malloc(sizeof *other * (size_t)(n + 1));
    int64_t *begins = malloc(sizeof *begins * (size_t)(m + 2));
    int ok = heaviest && other && begins;
    if (ok) {
        find_heaviest(rows, heaviest);
        for (int64_t i = 0; i < n; i++) other[i] = (uint32_t)i;
        sort_by(heaviest, 2, n, m, begins, other, order);
        sort_by(heaviest, 1, n, m, begins, order, other);
        sort_by(heaviest, 0, n, m, begins, other, order);
    }
    free(heaviest), free(other), free(begins);
    return ok ? 0 : -1;
}
