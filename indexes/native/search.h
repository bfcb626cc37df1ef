/* Top-k over posting lists: every posting, or only the windows that bounds let through. */
#ifndef SEARCH_H
#define SEARCH_H

#include "lists.h"
#include "topk.h"

#define GROUP 32 /* rows that are looked at together */

/* One query. `owners` (n_rows,) ranks groups of rows by their best; `mask` (n_rows,) are bytes. */
typedef struct {
    const Lists *lists;
    const Term *terms;      /* ascending by number: the order in which a score adds up */
    int64_t n_terms;
    const float *norms;       /* (n_rows,) or NULL */
    const float *block_norms; /* (n_windows * BLOCKS,) the smallest norm of a block, where norms */
    const uint8_t *mask;    /* or NULL: all rows */
    const uint32_t *owners; /* of the segment's rows; or NULL */
    const int64_t *wanted;  /* (n_wanted,) places whose scores `search_all` gives besides */
    int64_t n_wanted;
    float *wanted_scores;
} Query;

typedef struct {
    float *sums;       /* PART */
    uint64_t *maxima;  /* PART / 4 */
    uint16_t *bounds;  /* n_windows * BLOCKS */
    uint16_t *highest; /* n_windows */
    uint32_t *queue;   /* n_windows */
    int64_t *cursors;  /* a term each */
} Scratch;

/* Both return -1 where an offset leads out of the arrays, else 0. */
int search_all(const Query *query, Scratch *scratch, TopK *top);
int search_bounded(const Query *query, Scratch *scratch, TopK *top);

INLINE void offer_row(const Query *query, TopK *top, int64_t place, float score) {
    if (bits_of(score) < (uint32_t)(top->worst >> 32)) return;
    uint32_t row = query->lists->order ? query->lists->order[place] : (uint32_t)place;
    if (row >= query->lists->n_rows) return; /* garbled */
    topk_offer(top, key_of(score, query->owners ? query->owners[row] : row));
}

/* Forgets the sums of rows that are not wanted. */
INLINE void keep_marked(const Query *query, int64_t base, float *sums, int64_t count) {
    if (!query->mask) return;
    const uint8_t *mask = query->mask + base;
    for (int64_t i = 0; i < count; i++) sums[i] = mask[i] ? sums[i] : 0.0f;
}

/* Offers `count` rows from `base` on; sums are >= 0, so their bits compare as integers. */
INLINE void offer_rows(const Query *query, TopK *top, int64_t base, const float *sums,
                       int64_t count) {
    const int32_t *bits = (const int32_t *)sums;
    for (int64_t i = 0; i < count; i += GROUP) {
        int64_t size = count - i < GROUP ? count - i : GROUP;
        int32_t least = (int32_t)(top->worst >> 32), best = 0;
        least = least ? least : 1;
        if (size == GROUP) {
            for (int j = 0; j < GROUP; j++) best = bits[i + j] > best ? bits[i + j] : best;
            if (best < least) continue;
        }
        int8_t found[GROUP];
        int hits = 0;
        for (int j = 0; j < size; j++) { /* subtle: without a branch, as none could be foretold */
            found[hits] = (int8_t)j;
            hits += bits[i + j] >= least;
        }
        for (int h = 0; h < hits; h++)
            offer_row(query, top, base + i + found[h], sums[i + found[h]]);
    }
}

#endif
