/* Term at a time over parts of 65,536 rows, whose sums stay in the cache. */
#include "search.h"

#define MANY 64 /* rows wanted, from which on a floor may be worth a look at all sums */

/* How many sums would enter. */
INLINE int64_t above(const TopK *top, const float *sums, int64_t count) {
    const int32_t *bits = (const int32_t *)sums; /* sums are >= 0 */
    int32_t least = (int32_t)(top->worst >> 32), found = 0;
    for (int64_t i = 0; i < count; i++) found += bits[i] > least;
    return found;
}

INLINE int search_parts(const Query *query, Scratch *scratch, TopK *top, int kind, int normed) {
    const Lists *lists = query->lists;
    for (int64_t part = 0; part < lists->n_parts; part++) {
        int64_t base = part * PART, count = lists->n_rows - base;
        if (count > PART) count = PART;
        memset(scratch->sums, 0, sizeof(float) * (size_t)count);
        const float *norms = normed ? query->norms + base : NULL;
        for (int64_t i = 0; i < query->n_terms; i++) {
            const Term *term = &query->terms[i];
            int64_t from, to;
            part_span(lists, term, part, &from, &to);
            if (add_run(lists, kind, norms, term->factor, from, to, 0, count, scratch->sums)) return -1;
        }
        for (int64_t i = 0; i < query->n_wanted; i++) {
            int64_t row = query->wanted[i] - base;
            if (row >= 0 && row < count) query->wanted_scores[i] = scratch->sums[row];
        }
        keep_marked(query, base, scratch->sums, count);
        if (!query->owners && top->k >= MANY && above(top, scratch->sums, count) > 2 * top->k) {
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
