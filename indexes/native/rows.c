/* Weights of given rows, found in the posting lists. */
#include "rows.h"

/* Where a row's posting is among all weights; -1 if the term is not in the row, -2 if garbled. */
INLINE int64_t find_posting(const Lists *lists, const Term *term, int64_t row) {
    int64_t from, to;
    if (term->dense >= 0) from = term->at[row / WINDOW], to = term->at[row / WINDOW + 1];
    else from = term->at[row / PART], to = term->at[row / PART + 1];
    if (from > to || to > lists->n_postings) return -2;
    uint16_t id = (uint16_t)(row % PART);
    int64_t p = seek(lists->ids, from, to, id);
    return p < to && lists->ids[p] == id ? p : -1;
}

int score_rows(const Lists *lists, const Term *terms, int64_t n_terms, const float *norms,
               const int64_t *rows, int64_t count, float *sums) {
    memset(sums, 0, sizeof(float) * (size_t)count);
    for (int64_t j = 0; j < count; j++)
        if (rows[j] < 0 || rows[j] >= lists->n_rows) return -1;
    for (int64_t i = 0; i < n_terms; i++) {
        const Term *term = &terms[i];
        for (int64_t j = 0; j < count; j++) {
            if (j + 8 < count && term->dense >= 0)
                __builtin_prefetch(term->at + rows[j + 8] / WINDOW);
            if (j + 4 < count && term->dense >= 0)
                __builtin_prefetch(lists->ids + term->at[rows[j + 4] / WINDOW]);
            int64_t at = find_posting(lists, term, rows[j]);
            if (at == -2) return -1;
            if (at >= 0)
                sums[j] += term->factor * impact_at(lists->weights, lists->kind, at, norms, rows[j]);
        }
    }
    return 0;
}

/* How many postings of a term are in rows that `mask` (n_rows,) marks; -1 if garbled. */
int64_t count_marked(const Lists *lists, const Term *term, const uint8_t *mask) {
    int64_t count = 0;
    for (int64_t part = 0; part < lists->n_parts; part++) {
        int64_t p, to;
        part_span(lists, term, part, &p, &to);
        if (to > lists->n_postings) return -1;
        for (; p < to; p++) {
            int64_t row = part * PART + lists->ids[p];
            if (row >= lists->n_rows) return -1;
            count += mask[row] != 0;
        }
    }
    return count;
}
