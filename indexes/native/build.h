/* From rows to posting lists. */
#ifndef BUILD_H
#define BUILD_H

#include "lists.h"

/* Rows as CSR; weights as stored, each in two bytes (HALF, or counts). */
typedef struct {
    int64_t n_rows, n_terms;
    const int64_t *indptr;   /* (n_rows + 1,) */
    const int32_t *terms;
    const uint16_t *weights;
    const uint32_t *order;   /* (n_rows,) which row comes when; or NULL */
} Rows;

/* Room for what `fill_lists` writes; see Lists. */
typedef struct {
    const int32_t *place;    /* (n_terms,) which dense list, or -1 */
    const int64_t *cursors;      /* (n_terms,) where each list begins among the weights */
    const int64_t *part_cursors; /* (n_terms,) where its parts begin. NULL: one part */
    int64_t n_windows;
    uint32_t *windows;
    uint8_t *bounds;
    uint16_t *ids, *weights, *part_numbers, *part_sizes;
    const uint16_t *tops;    /* HALF: (n_terms,); NULL for counts */
} Room;

int64_t encode_weights(const float *values, int64_t count, int kind, uint16_t *stored);
int count_rows(const Rows *rows, int64_t *frequency, int64_t *parts, uint16_t *tops, int32_t *last);
int fill_lists(const Rows *rows, const Room *room);
int order_rows(const Rows *rows, uint32_t *order);

#endif
