/* The k best of what is offered: keys of a score and an id, larger is better.

   A key's upper half is the score's bits (scores are > 0, so they ascend alike), its lower half
   the id's complement: of equal scores the smaller id wins, whatever the order of offers. */
#ifndef TOPK_H
#define TOPK_H

#include "lists.h"

typedef struct {
    uint64_t *keys;        /* room for `capacity` */
    int64_t count, capacity, k;
    uint64_t worst;        /* what a key must exceed to enter */
    int distinct;          /* an id counts once, with its best score */
} TopK;

#define ROOM(k) (2 * (k) + 64)

INLINE uint64_t key_of(float score, uint32_t id) {
    return (uint64_t)bits_of(score) << 32 | (uint32_t)~id;
}

INLINE float score_of(uint64_t key) { return float_of((uint32_t)(key >> 32)); }
INLINE uint32_t id_of(uint64_t key) { return ~(uint32_t)key; }

void topk_begin(TopK *top, uint64_t *keys, int64_t k, int distinct, float floor);
void topk_restart(TopK *top); /* forget all keys, but not what score is needed */
void topk_shrink(TopK *top);  /* keep the k best; `worst` is then exact */
void topk_sort(TopK *top);    /* and best first */

/* A score's bits that at least k of `count` sums >= 0 reach, or 0: the k-th largest of the maxima of
   groups of sums. `maxima` has room for count / 4 numbers. */
uint32_t floor_of(const float *sums, int64_t count, int64_t k, uint64_t *maxima);

INLINE void topk_offer(TopK *top, uint64_t key) {
    if (key <= top->worst) return;
    top->keys[top->count++] = key;
    if (top->count == top->capacity) topk_shrink(top);
}

#endif
