/* Weights of given rows, found in the posting lists. */
#ifndef ROWS_H
#define ROWS_H

#include "lists.h"

/* The scores of rows in storage order, bit by bit those of search_all; -1 if garbled. */
int score_rows(const Lists *lists, const Term *terms, int64_t n_terms, const float *norms,
               const int64_t *rows, int64_t count, float *sums);
int64_t count_marked(const Lists *lists, const Term *term, const uint8_t *mask);

#endif
