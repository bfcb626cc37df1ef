/* Sorting of a fusion's candidates, by id or by score. Included once, by `_fusion.c`. */

#pragma once

#include <stdint.h>
#include <string.h>

typedef struct {
    int64_t key, place;
} Pair;

/* Sorts by key, equal keys in the order in which they came; returns the array that holds all. */
static Pair *sorted(Pair *pairs, Pair *other, int64_t count) {
    for (int64_t run = 1; run < count; run *= 2) {
        for (int64_t low = 0; low < count; low += 2 * run) {
            int64_t middle = low + run < count ? low + run : count;
            int64_t high = middle + run < count ? middle + run : count;
            int64_t a = low, b = middle;
            for (int64_t at = low; at < high; at++) {
                int left = b == high || (a < middle && pairs[a].key <= pairs[b].key);
                other[at] = pairs[left ? a++ : b++];
            }
        }
        Pair *swapped = pairs;
        pairs = other, other = swapped;
    }
    return pairs;
}

/* Ascends as the score falls; 0 and -0 are equal, what is not a number comes last. */
static int64_t descending(float score) {
    int32_t bits;
    if (score != score) return INT64_MAX;
    score += 0.0f;
    memcpy(&bits, &score, 4);
    return bits < 0 ? (int64_t)(bits & INT32_MAX) : -(int64_t)bits;
}
