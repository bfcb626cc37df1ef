/* The k best of what is offered (see topk.h). */
#include "topk.h"

#include <stdlib.h>

static int by_id(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    uint32_t i = (uint32_t)x, j = (uint32_t)y;
    if (i != j) return i < j ? 1 : -1;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int64_t unique(uint64_t *keys, int64_t count) {
    qsort(keys, (size_t)count, sizeof *keys, by_id);
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++)
        if (!kept || (uint32_t)keys[i] != (uint32_t)keys[kept - 1]) keys[kept++] = keys[i];
    return kept;
}

/* Moves keys above the pivot, which is one of them, to the front (Hoare): those up to the place that
   is returned are at least the pivot, those from `*rest` on at most. */
static int64_t partition(uint64_t *keys, int64_t low, int64_t high, uint64_t pivot, int64_t *rest) {
    int64_t i = low, j = high;
    while (i <= j) {
        while (keys[i] > pivot) i++;
        while (keys[j] < pivot) j--;
        if (i <= j) {
            uint64_t swapped = keys[i];
            keys[i++] = keys[j];
            keys[j--] = swapped;
        }
    }
    *rest = i;
    return j;
}

/* Moves the k largest keys to the front, the least of them last. */
static void select_largest(uint64_t *keys, int64_t count, int64_t k) {
    int64_t low = 0, high = count - 1, i;
    while (low < high) {
        int64_t j = partition(keys, low, high, keys[low + (high - low) / 2], &i);
        if (k - 1 <= j) high = j;
        else if (k - 1 >= i) low = i;
        else break;
    }
}

/* Quicksort, best first; what is left is nearly sorted and inserted. */
static void sort_descending(uint64_t *keys, int64_t count) {
    while (count > 16) {
        uint64_t a = keys[0], b = keys[count / 2], c = keys[count - 1];
        uint64_t pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b);
        int64_t i, j = partition(keys, 0, count - 1, pivot, &i);
        if (j + 1 < count - i) { /* the smaller side by recursion: its depth is logarithmic */
            sort_descending(keys, j + 1);
            keys += i, count -= i;
        } else {
            sort_descending(keys + i, count - i);
            count = j + 1;
        }
    }
    for (int64_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        int64_t j = i;
        for (; j > 0 && keys[j - 1] < key; j--) keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

CLONES static void find_maxima(const float *sums, int64_t groups, int64_t depth, uint64_t *maxima) {
    const uint32_t *bits = (const uint32_t *)sums;
    for (int64_t g = 0; g < groups; g++) maxima[g] = bits[g];
    for (int64_t d = 1; d < depth; d++) /* group g: the sums g, g + groups, g + 2 groups, ... */
        for (int64_t g = 0; g < groups; g++) {
            uint64_t other = bits[d * groups + g];
            maxima[g] = other > maxima[g] ? other : maxima[g];
        }
}

uint32_t floor_of(const float *sums, int64_t count, int64_t k, uint64_t *maxima) {
    int64_t groups = count / 4;
    while (groups >= 8 * k && groups >= 64) groups /= 2;
    if (groups < 2 * k) return 0;
    find_maxima(sums, groups, count / groups, maxima);
    select_largest(maxima, groups, k);
    return (uint32_t)maxima[k - 1];
}

void topk_begin(TopK *top, uint64_t *keys, int64_t k, int distinct, float floor) {
    top->keys = keys;
    top->count = 0;
    top->k = k;
    top->capacity = ROOM(k);
    top->distinct = distinct;
    top->worst = (uint64_t)bits_of(floor > 0 ? floor : 0) << 32 | UINT32_MAX;
}

void topk_shrink(TopK *top) {
    if (top->distinct) top->count = unique(top->keys, top->count);
    if (top->count < top->k) return;
    select_largest(top->keys, top->count, top->k);
    top->count = top->k;
    uint64_t worst = top->keys[top->k - 1];
    if (worst > top->worst) top->worst = worst;
}

void topk_restart(TopK *top) {
    uint64_t score = top->worst >> 32;
    if (score) top->worst = (score << 32) - 1; /* equal scores may enter again */
    top->count = 0;
}

void topk_sort(TopK *top) {
    topk_shrink(top);
    sort_descending(top->keys, top->count);
}
