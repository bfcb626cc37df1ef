/* From rows to posting lists: weights are encoded, terms counted, postings put in their places. */
#include "build.h"

#include <math.h>

/* Weights as stored: counts rounded to whole numbers, impacts to float16, both to even; what is
   too large is capped, impacts below 2**-14 become 0. Returns the place of the first weight that
   is negative or not a number, or -1. */
CLONES int64_t encode_weights(const float *values, int64_t count, int kind, uint16_t *stored) {
    for (int64_t i = 0; i < count; i++)
        if (!(values[i] >= 0 && values[i] <= 3.4028235e38f)) return i;
    if (kind == HALF) {
        for (int64_t i = 0; i < count; i++) {
            float value = values[i] > 65504.0f ? 65504.0f : values[i];
            uint32_t bits = bits_of(value);
            bits += 0xfff + (bits >> 13 & 1);
            uint16_t rounded = (uint16_t)((bits - (112u << 23)) >> 13);
            stored[i] = value < 0x1p-14f ? 0 : rounded;
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            float value = values[i] > 65535.0f ? 65535.0f : values[i];
            stored[i] = (uint16_t)(int32_t)rintf(value);
        }
    }
    return -1;
}

INLINE int64_t row_at(const Rows *rows, int64_t place) {
    return rows->order ? rows->order[place] : place;
}

/* Asks for a row that is read soon. */
INLINE void expect_row(const Rows *rows, int64_t place) {
    if (!rows->order || place >= rows->n_rows) return;
    int64_t start = rows->indptr[rows->order[place]];
    for (int64_t p = start; p < start + 64; p += 16) __builtin_prefetch(rows->terms + p);
    for (int64_t p = start; p < start + 64; p += 32) __builtin_prefetch(rows->weights + p);
}

/* The new numbers of terms, perhaps in place. Returns the least of them; INT64_MIN where a term
   is out of bounds. */
int64_t renumber(const int32_t *terms, int64_t count, const int32_t *numbers, int64_t n_numbers,
                 int32_t *renumbered) {
    int32_t least = INT32_MAX;
    for (int64_t i = 0; i < count; i++) {
        if ((uint32_t)terms[i] >= (uint64_t)n_numbers) return INT64_MIN;
        int32_t number = numbers[terms[i]];
        least = number < least ? number : least;
        renumbered[i] = number;
    }
    return least;
}

/* How many rows hold each term, and its largest stored weight. -1 where a term is out of bounds. */
int count_rows(const int32_t *terms, const uint16_t *weights, int64_t count, int64_t n_terms,
               int64_t *frequency, uint16_t *tops) {
    for (int64_t i = 0; i < count; i++) {
        int32_t term = terms[i];
        if ((uint32_t)term >= (uint64_t)n_terms) return -1;
        frequency[term]++;
        if (weights[i] > tops[term]) tops[term] = weights[i];
    }
    return 0;
}

/* Appends the postings of the places [first, last), of one part, to their lists: `cursors`
   (n_terms,) say where, and where they end when this returns.
   subtle: neither terms nor cursors are checked here: `count_rows` has counted these very terms. */
void place_rows(const Rows *rows, int64_t first, int64_t last, int64_t *cursors, uint16_t *ids,
                uint16_t *weights) {
    for (int64_t place = first; place < last; place++) {
        int64_t row = row_at(rows, place);
        expect_row(rows, place + 8);
        for (int64_t p = rows->indptr[row]; p < rows->indptr[row + 1]; p++) {
            int64_t at = cursors[rows->terms[p]]++;
            ids[at] = (uint16_t)place;
            weights[at] = rows->weights[p];
        }
    }
}

/* The codes of the largest weights of a window's blocks; see `bounds` in FORMAT.md. */
INLINE void code_blocks(const uint16_t *largest, float scale, uint8_t *codes) {
    for (int i = 0; i < BLOCKS; i++) {
        float share = half(largest[i]) * scale;
        int32_t code = (int32_t)share;
        code += (float)code < share; /* up */
        codes[i] = code < UINT8_MAX ? (uint8_t)code : UINT8_MAX;
    }
}

INLINE void code_counts(const uint16_t *largest, uint8_t *codes) {
    for (int i = 0; i < BLOCKS; i++)
        codes[i] = largest[i] < UINT8_MAX ? (uint8_t)largest[i] : UINT8_MAX;
}

/* Where each window of each dense list begins, and its blocks' bounds. */
CLONES void bound_lists(const Dense *dense) {
    for (int64_t i = 0; i < dense->n_dense; i++) {
        const int64_t *ends = dense->ends + i * (dense->n_parts + 1);
        uint32_t *windows = dense->windows + i * (dense->n_windows + 1);
        uint8_t *bounds = dense->bounds + i * dense->n_windows * BLOCKS;
        float scale = dense->tops ? 255.0f / half(dense->tops[i]) : 0;
        int64_t p = ends[0];
        for (int64_t window = 0; window < dense->n_windows; window++) {
            uint16_t largest[BLOCKS] = {0};
            int64_t end = ends[window / PART_WINDOWS + 1];
            uint32_t limit = (uint32_t)(window % PART_WINDOWS + 1) * WINDOW;
            windows[window] = (uint32_t)p;
            for (; p < end && dense->ids[p] < limit; p++) {
                uint16_t *most = &largest[dense->ids[p] / BLOCK % BLOCKS];
                *most = dense->weights[p] > *most ? dense->weights[p] : *most;
            }
            if (dense->tops) code_blocks(largest, scale, bounds + window * BLOCKS);
            else code_counts(largest, bounds + window * BLOCKS);
        }
        windows[dense->n_windows] = (uint32_t)p;
    }
}
