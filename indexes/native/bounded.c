/* Block-max search: windows of 256 rows, those of high bounds first, hopeless ones never.

   The bound of a block of 16 rows is the sum of the terms' largest impacts in it (Ding and Suel
   2011; all blocks at once as in Mallia, Suel and Tonellotto 2024), in fixed point and rounded up:
   read from the dense lists, and taken from the postings of the sparse ones. A window that holds
   a block whose bound reaches the k-th best score so far is scored in full, term after term in
   the order of `search_all`, so that equal rows get equal bits. */
#include "search.h"

#define UNITS 60000.0f  /* the largest possible score, in fixed point */
#define PRIMED 8        /* windows of the highest bounds are scored first: so many, */
#define PRIMED_SHARE 32 /* and one in so many of all */
#define MANY_TERMS 2000 /* of so many, sums of bounds might not fit into 16 bits */
#define FEW_WINDOWS 2   /* at most one in so many is visited one by one */
#define AHEAD 4         /* windows whose postings are asked for before they are scored */

INLINE void add_weight_bounds(uint16_t *bounds, const uint8_t *codes, int64_t count, uint16_t unit) {
    for (int64_t i = 0; i < count; i++)
        bounds[i] += (uint16_t)(((uint32_t)(uint16_t)(codes[i] << 8) * unit) >> 16);
}

/* The same for counts under BM25: from the largest count and the smallest norm of a block. */
INLINE void add_count_bounds(uint16_t *bounds, const uint8_t *counts, const float *norms,
                             int64_t count, float unit) {
    for (int64_t i = 0; i < count; i++) {
        float most = counts[i] == UINT8_MAX ? 65535.0f : (float)counts[i];
        bounds[i] += (uint16_t)(int32_t)(unit * (most / (most + norms[i])));
    }
}

/* A block's largest impact among the postings of a sparse list. */
INLINE void add_posting_bounds(const Query *query, const Term *term, int kind, float unit,
                               uint16_t *bounds) {
    const Lists *lists = query->lists;
    for (int64_t part = 0; part < lists->n_parts; part++) {
        uint16_t *here = bounds + part * (PART / BLOCK);
        const float *norms = query->norms ? query->norms + part * PART : NULL;
        int64_t limit = lists->n_rows - part * PART, to = term->at[part + 1];
        for (int64_t p = term->at[part]; p < to;) {
            int64_t block = lists->ids[p] / BLOCK;
            float most = 0;
            do {
                if (lists->ids[p] >= limit) return; /* garbled */
                float impact = impact_at(lists->weights, kind, p, norms, lists->ids[p]);
                most = impact > most ? impact : most;
            } while (++p < to && lists->ids[p] / BLOCK == block);
            uint32_t sum = here[block] + 1u + (uint32_t)(int32_t)(most * unit);
            here[block] = (uint16_t)(sum < UINT16_MAX ? sum : UINT16_MAX);
        }
    }
}

/* How many units a score of 1 is. */
INLINE float scale_of(const Query *query) {
    float most = 0;
    for (int64_t i = 0; i < query->n_terms; i++)
        most += query->terms[i].factor * query->terms[i].top;
    return UNITS / most;
}

/* The bound of each block. Sparse terms come last: only their sums may need a cap. */
INLINE void add_bounds(const Query *query, int kind, float scale, uint16_t *bounds) {
    int64_t n_blocks = query->lists->n_windows * BLOCKS;
    uint16_t n_dense = 0;
    for (int64_t i = 0; i < query->n_terms; i++) n_dense += query->terms[i].dense >= 0;
    for (int64_t i = 0; i < n_blocks; i++) bounds[i] = n_dense;
    for (int64_t i = 0; i < query->n_terms; i++) {
        const Term *term = &query->terms[i];
        float unit = term->factor * scale;
        if (term->dense >= 0 && query->norms)
            add_count_bounds(bounds, term->bounds, query->block_norms, n_blocks, unit);
        else if (term->dense >= 0)
            add_weight_bounds(bounds, term->bounds, n_blocks,
                              (uint16_t)(unit * term->top * (256.0f / 255.0f) + 1.0f));
    }
    for (int64_t i = 0; i < query->n_terms; i++)
        if (query->terms[i].dense < 0)
            add_posting_bounds(query, &query->terms[i], kind, query->terms[i].factor * scale, bounds);
}

/* The highest bound of each window, and the windows by its upper byte, highest first. */
INLINE void queue_windows(const uint16_t *bounds, int64_t n_windows, uint16_t *highest,
                          uint32_t *queue) {
    uint32_t begins[257] = {0};
    for (int64_t window = 0; window < n_windows; window++) {
        uint16_t best = 0;
        for (int i = 0; i < BLOCKS; i++) {
            uint16_t bound = bounds[window * BLOCKS + i];
            best = bound > best ? bound : best;
        }
        highest[window] = best;
        begins[256 - (best >> 8)]++;
    }
    for (int i = 1; i <= 256; i++) begins[i] += begins[i - 1];
    for (int64_t window = 0; window < n_windows; window++)
        queue[begins[255 - (highest[window] >> 8)]++] = (uint32_t)window;
}

/* Sets the cursors of the sparse terms to a window's first postings. */
INLINE void seek_cursors(const Query *query, int64_t window, int64_t *cursors) {
    int64_t part = window / PART_WINDOWS;
    uint16_t low = (uint16_t)(window % PART_WINDOWS * WINDOW);
    for (int64_t i = 0; i < query->n_terms; i++) {
        const Term *term = &query->terms[i];
        if (term->dense < 0)
            cursors[i] = seek(query->lists->ids, term->at[part], term->at[part + 1], low);
    }
}

/* Adds up the rows of a window and offers them. A cursor is a place in a sparse list, at or before
   the window's first posting; it is moved behind its last. */
INLINE int score_window(const Query *query, int kind, int64_t window, int64_t *cursors, float *sums,
                        TopK *top) {
    const Lists *lists = query->lists;
    int64_t base = window * WINDOW, count = lists->n_rows - base;
    int64_t part = base / PART, low = base % PART, high = low + WINDOW;
    const float *norms = query->norms ? query->norms + base : NULL;
    memset(sums, 0, sizeof(float) * WINDOW);
    if (count > WINDOW) count = WINDOW;
    for (int64_t i = 0; i < query->n_terms; i++) {
        const Term *term = &query->terms[i];
        int64_t from, to;
        if (term->dense >= 0) {
            from = term->at[window], to = term->at[window + 1];
        } else {
            int64_t stop = term->at[part + 1];
            from = cursors[i] > term->at[part] ? cursors[i] : term->at[part];
            while (from + 8 <= stop && lists->ids[from + 7] < low) from += 8;
            while (from < stop && lists->ids[from] < low) from++;
            to = from;
            while (to < stop && lists->ids[to] < high) to++;
            cursors[i] = to;
        }
        if (add_run(lists, kind, norms, term->factor, from, to, low, count, sums)) return -1;
    }
    keep_marked(query, base, sums, count);
    offer_rows(query, top, base, sums, count);
    return 0;
}

/* Asks for the offsets of a window, and later for its postings. */
INLINE void expect_offsets(const Query *query, int64_t window) {
    for (int64_t i = 0; i < query->n_terms; i++)
        if (query->terms[i].dense >= 0) __builtin_prefetch(query->terms[i].at + window);
}

INLINE void expect_postings(const Query *query, int kind, int64_t window) {
    const Lists *lists = query->lists;
    int64_t wide = kind == BYTE ? 1 : 2;
    for (int64_t i = 0; i < query->n_terms; i++) {
        const Term *term = &query->terms[i];
        if (term->dense < 0) continue;
        int64_t from = term->at[window], to = term->at[window + 1];
        if (from >= to || to > lists->n_postings) continue;
        for (int64_t p = from; p < to; p += 32) __builtin_prefetch(lists->ids + p);
        for (int64_t p = from * wide; p < to * wide; p += 64)
            __builtin_prefetch((const uint8_t *)lists->weights + p);
    }
}

/* The bound that a window must reach. subtle: bounds are rounded up by a unit a term, which is far
   more than sums of floats err. */
INLINE float needed(const TopK *top, float scale) { return score_of(top->worst) * scale - 1.0f; }

INLINE int search_windows(const Query *query, Scratch *scratch, TopK *top, int kind) {
    int64_t n_windows = query->lists->n_windows, size = 0;
    uint16_t *highest = scratch->highest;
    uint32_t *queue = scratch->queue;
    float scale = scale_of(query);
    if (query->n_terms > MANY_TERMS || !(scale > 1e-30f && scale < 1e30f))
        return search_all(query, scratch, top);
    add_bounds(query, kind, scale, scratch->bounds);
    queue_windows(scratch->bounds, n_windows, highest, queue);
    int64_t primed = PRIMED + top->k / 4 + n_windows / PRIMED_SHARE;
    if (primed > n_windows) primed = n_windows;
    float enough = needed(top, scale);
    for (int64_t i = 0; i < primed; i++) {
        if (i + 2 * AHEAD < primed) expect_offsets(query, queue[i + 2 * AHEAD]);
        if (i + AHEAD < primed) expect_postings(query, kind, queue[i + AHEAD]);
        if ((float)(highest[queue[i]] | 255) < enough) break;
        if ((float)highest[queue[i]] < enough) continue;
        seek_cursors(query, queue[i], scratch->cursors);
        if (score_window(query, kind, queue[i], scratch->cursors, scratch->sums, top)) return -1;
        highest[queue[i]] = 0; /* done */
        if (i % 4 == 3) {
            topk_shrink(top);
            enough = needed(top, scale);
        }
    }
    topk_shrink(top);
    enough = needed(top, scale);
    for (int64_t window = 0; window < n_windows; window++) {
        queue[size] = (uint32_t)window;
        size += highest[window] && (float)highest[window] >= enough;
    }
    if (size > n_windows / FEW_WINDOWS) {
        topk_restart(top);
        return search_all(query, scratch, top);
    }
    memset(scratch->cursors, 0, sizeof(int64_t) * (size_t)query->n_terms);
    for (int64_t i = 0; i < size; i++) {
        if (i + 2 * AHEAD < size) expect_offsets(query, queue[i + 2 * AHEAD]);
        if (i + AHEAD < size) expect_postings(query, kind, queue[i + AHEAD]);
        if ((float)highest[queue[i]] < enough) continue;
        if (score_window(query, kind, queue[i], scratch->cursors, scratch->sums, top)) return -1;
        if (i % 8 == 7) {
            topk_shrink(top);
            enough = needed(top, scale);
        }
    }
    return 0;
}

CLONES int search_bounded(const Query *query, Scratch *scratch, TopK *top) {
    int kind = query->lists->kind;
    if (kind == HALF) return search_windows(query, scratch, top, HALF);
    if (kind == BYTE) return search_windows(query, scratch, top, BYTE);
    return search_windows(query, scratch, top, SHORT);
}
