/* Term at a time over parts of 65,536 rows, whose sums stay in the cache. */
#include "search.h"

INLINE int add_term(const Lists *lists, const Term *term, int kind, const float *norms,
                    int64_t part, float *sums) {
    if (term->dense >= 0) {
        int64_t first = part * PART_WINDOWS, last = first + PART_WINDOWS;
        if (last > lists->n_windows) last = lists->n_windows;
        for (int64_t window = first; window < last; window++) {
            int64_t from = term->at[window], to = term->at[window + 1];
            if (!is_sound(lists, window, from, to)) return -1;
            int64_t row = (window - first) * WINDOW;
            add_near(lists, kind, norms ? norms + row : NULL, term->factor, from, to, sums + row);
        }
        return 0;
    }
    const uint16_t *far = lists->far;
    int64_t from = term->at[part], to = term->at[part + 1], limit = lists->n_rows - part * PART;
    for (int64_t p = from; p < to; p++) {
        if (norms && far[p] >= limit) return -1;
        sums[far[p]] += term->factor * impact_at(lists->weights, kind, lists->n_near + p, norms, far[p]);
    }
    return 0;
}

INLINE int search_parts(const Query *query, Scratch *scratch, TopK *top, int kind, int normed) {
    const Lists *lists = query->lists;
    for (int64_t part = 0; part < lists->n_parts; part++) {
        int64_t base = part * PART, count = lists->n_rows - base;
        if (count > PART) count = PART;
        memset(scratch->sums, 0, sizeof(float) * (size_t)count);
        const float *norms = normed ? query->norms + base : NULL;
        for (int64_t i = 0; i < query->n_terms; i++)
            if (add_term(lists, &query->terms[i], kind, norms, part, scratch->sums)) return -1;
        keep_marked(query, base, scratch->sums, count);
        if (!query->owners) { /* each row counts */
            uint64_t floor = floor_of(scratch->sums, count, top->k, scratch->maxima);
            if (floor && (floor << 32) - 1 > top->worst) top->worst = (floor << 32) - 1;
        }
        offer_rows(query, top, base, scratch->sums, count);
    }
    return 0;
}

CLONES int search_all(const Query *query, Scratch *scratch, TopK *top) {
    int kind = query->lists->kind;
    if (kind == HALF) return search_parts(query, scratch, top, HALF, 0);
    if (kind == BYTE) {
        if (query->norms) return search_parts(query, scratch, top, BYTE, 1);
        return search_parts(query, scratch, top, BYTE, 0);
    }
    if (query->norms) return search_parts(query, scratch, top, SHORT, 1);
    return search_parts(query, scratch, top, SHORT, 0);
}
