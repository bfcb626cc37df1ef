/* From rows to posting lists, in two passes over the rows in storage order. */
#include "build.h"

#include <math.h>
#include <stdlib.h>

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

/* How many rows hold each term, in how many parts, and its largest stored weight. `last`
   (n_terms,) is scratch. Returns -1 where a term is out of bounds. */
int count_rows(const Rows *rows, int64_t *frequency, int64_t *parts, uint16_t *tops, int32_t *last) {
    for (int64_t t = 0; t < rows->n_terms; t++) last[t] = -1;
    for (int64_t place = 0; place < rows->n_rows; place++) {
        int64_t row = row_at(rows, place);
        expect_row(rows, place + 8);
        int32_t part = (int32_t)(place / PART);
        for (int64_t p = rows->indptr[row]; p < rows->indptr[row + 1]; p++) {
            int32_t term = rows->terms[p];
            if (term < 0 || term >= rows->n_terms) return -1;
            frequency[term]++;
            parts[term] += last[term] != part;
            last[term] = part;
            if (rows->weights[p] > tops[term]) tops[term] = rows->weights[p];
        }
    }
    return 0;
}

/* A list while it is filled: all that a posting needs to know, in half a cache line. */
typedef struct {
    int64_t cursor, part_cursor;
    int32_t dense, last; /* the part of its last posting */
    float scale;         /* 255 / its largest weight */
} Filling;

INLINE uint8_t code_of(uint16_t weight, const Filling *list, int halves) {
    if (!halves) return weight < UINT8_MAX ? (uint8_t)weight : UINT8_MAX;
    float code = ceilf(half(weight) * list->scale);
    return code < 255.0f ? (uint8_t)code : UINT8_MAX;
}

int fill_lists(const Rows *rows, const Room *room) {
    Filling *lists = malloc(sizeof *lists * (size_t)(rows->n_terms + 1));
    if (!lists) return -1;
    for (int64_t t = 0; t < rows->n_terms; t++)
        lists[t] = (Filling){room->cursors[t], room->part_cursors ? room->part_cursors[t] : 0,
                             room->place[t], -1, room->tops ? 255.0f / half(room->tops[t]) : 0};
    int64_t stride = room->n_windows + 1;
    for (int64_t place = 0; place < rows->n_rows; place++) {
        int64_t row = row_at(rows, place);
        expect_row(rows, place + 8);
        int32_t part = (int32_t)(place / PART);
        for (int64_t p = rows->indptr[row]; p < rows->indptr[row + 1]; p++) {
            Filling *list = &lists[rows->terms[p]];
            uint16_t weight = rows->weights[p];
            int64_t at = list->cursor++;
            room->ids[at] = (uint16_t)place;
            room->weights[at] = weight;
            if (list->dense >= 0) {
                room->windows[list->dense * stride + place / WINDOW + 1]++; /* counts, for now */
                uint8_t code = code_of(weight, list, room->tops != NULL);
                uint8_t *bound =
                    room->bounds + (list->dense * room->n_windows * BLOCKS + place / BLOCK);
                if (code > *bound) *bound = code;
                continue;
            }
            if (!room->part_cursors) continue;
            if (list->last != part) {
                room->part_numbers[list->part_cursor++] = (uint16_t)part;
                list->last = part;
            } else {
                room->part_sizes[list->part_cursor - 1]++;
            }
        }
    }
    free(lists);
    return 0;
}
