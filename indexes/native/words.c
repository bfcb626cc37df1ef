/* The terms of a field, brought into the order of their bytes, and found in it. */
#include <stdlib.h>

#include "build.h"

typedef struct {
    uint64_t head; /* the first eight bytes, the first one highest; zeros behind the end */
    int64_t number;
} Word;

INLINE Word word_at(const uint8_t *text, const int64_t *starts, int64_t i) {
    Word word = {0, i};
    int64_t size = starts[i + 1] - starts[i];
    for (int64_t j = 0; j < 8; j++)
        word.head = word.head << 8 | (j < size ? text[starts[i] + j] : 0);
    return word;
}

/* Below 0, 0, above 0 as the first word comes before, is, or comes after the other. */
INLINE int compare(const uint8_t *text, const int64_t *starts, Word one, Word other) {
    if (one.head != other.head) return one.head < other.head ? -1 : 1;
    const int64_t *a = starts + one.number, *b = starts + other.number;
    int64_t size_a = a[1] - a[0], size_b = b[1] - b[0];
    int found = memcmp(text + a[0], text + b[0], (size_t)(size_a < size_b ? size_a : size_b));
    return found ? found : (size_a > size_b) - (size_a < size_b);
}

/* Merges sorted runs of twice, four times ... as many words; returns the array that holds all. */
static Word *sorted(const uint8_t *text, const int64_t *starts, int64_t count, Word *words,
                    Word *other) {
    for (int64_t run = 1; run < count; run *= 2) {
        for (int64_t low = 0; low < count; low += 2 * run) {
            int64_t middle = low + run < count ? low + run : count;
            int64_t high = middle + run < count ? middle + run : count;
            int64_t a = low, b = middle;
            for (int64_t at = low; at < high; at++) {
                int left = b == high ||
                           (a < middle && compare(text, starts, words[a], words[b]) <= 0);
                other[at] = words[left ? a++ : b++];
            }
        }
        Word *swapped = words;
        words = other, other = swapped;
    }
    return words;
}

/* The number of each of `count` words among the different ones, sorted; their bytes and sizes.
   Returns how many there are; -1 if there is no memory. */
int64_t distinct_terms(const uint8_t *text, const int64_t *starts, int64_t count, int32_t *numbers,
                       uint8_t *distinct, int64_t *sizes) {
    Word *words = malloc(sizeof *words * (size_t)(2 * count + 1));
    if (!words) return -1;
    for (int64_t i = 0; i < count; i++) words[i] = word_at(text, starts, i);
    Word *found = sorted(text, starts, count, words, words + count);
    int64_t made = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t number = found[i].number, size = starts[number + 1] - starts[number];
        if (i == 0 || compare(text, starts, found[i - 1], found[i]) != 0) {
            memcpy(distinct, text + starts[number], (size_t)size);
            distinct += size;
            sizes[made++] = size;
        }
        numbers[number] = (int32_t)(made - 1);
    }
    free(words);
    return made;
}

/* Of the term at `at`, of `size` bytes, those that there are: offsets may be garbled. */
INLINE int64_t there(const Terms *terms, int64_t at, int64_t size) {
    int64_t left = terms->length - at;
    return left < 0 ? 0 : size < left ? size : left;
}

/* The number of a term; -1 if there is none such. By bisection over every 64th, then one after the
   other. */
int64_t find_term(const Terms *terms, const uint8_t *wanted, int64_t size) {
    int64_t low = 0, high = terms->n_starts - 1;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2, at = terms->offsets.starts[middle];
        int64_t its = there(terms, at, size_at(&terms->offsets, middle * STRIDE));
        int order = its ? memcmp(terms->text + at, wanted, (size_t)(its < size ? its : size)) : 0;
        if (order < 0 || (order == 0 && its <= size)) low = middle;
        else high = middle;
    }
    int64_t at = terms->offsets.starts[low], end = (low + 1) * STRIDE;
    if (end > terms->count) end = terms->count;
    for (int64_t number = low * STRIDE; number < end; number++) {
        int64_t its = size_at(&terms->offsets, number);
        if (its == size && there(terms, at, its) == size &&
            memcmp(terms->text + at, wanted, (size_t)size) == 0)
            return number;
        at += its;
    }
    return -1;
}
