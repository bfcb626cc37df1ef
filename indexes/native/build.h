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

/* Dense lists as `place_rows` left them, and what `bound_lists` makes of them; see Lists. */
typedef struct {
    int64_t n_dense, n_parts, n_windows;
    const uint16_t *ids, *weights;
    const int64_t *ends;     /* (n_dense, n_parts + 1) where a list begins, and its parts end */
    const uint16_t *tops;    /* HALF: (n_dense,) the largest weight; NULL for counts */
    uint32_t *windows;
    uint8_t *bounds;
} Dense;

/* A field's terms, ascending: their bytes, and where each begins. */
typedef struct {
    const uint8_t *text;
    int64_t length; /* bytes of text */
    Offsets offsets;
    int64_t count, n_starts;
} Terms;

int64_t encode_weights(const float *values, int64_t count, int kind, uint16_t *stored);
int64_t renumber(const int32_t *terms, int64_t count, const int32_t *numbers, int64_t n_numbers,
                 int32_t *renumbered);
int count_rows(const int32_t *terms, const uint16_t *weights, int64_t count, int64_t n_terms,
               int64_t *frequency, uint16_t *tops);
void place_rows(const Rows *rows, int64_t first, int64_t last, int64_t *cursors, uint16_t *ids,
               uint16_t *weights);
void bound_lists(const Dense *dense);
int order_rows(const Rows *rows, uint32_t *order);
int64_t distinct_terms(const uint8_t *text, const int64_t *starts, int64_t count, int32_t *numbers,
                       uint8_t *distinct, int64_t *sizes);
int64_t find_term(const Terms *terms, const uint8_t *wanted, int64_t size);

#endif
