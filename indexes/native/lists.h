/* The posting lists of one term field, as they lie in its file (see FORMAT.md).

   Rows are numbered in storage order here; `order` turns them into the segment's rows. Lists are
   of two kinds. A dense list has a window every 256 rows, and a byte for each posting in it; a
   sparse one has a part every 65,536 rows, and two bytes for each posting. */
#ifndef LISTS_H
#define LISTS_H

#include <stdint.h>
#include <string.h>

#define WINDOW 256
#define PART 65536
#define BLOCK 16                /* rows that share a bound */
#define BLOCKS (WINDOW / BLOCK) /* a window's */
#define PART_WINDOWS (PART / WINDOW)

#define INLINE static inline __attribute__((always_inline))

/* One binary for all x86: the loops are compiled for each level, chosen when loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

enum { HALF = 0, BYTE = 1, SHORT = 2 }; /* how weights are stored: float16, uint8, uint16 */

/* Offsets of entries of different sizes: those of every 64th, and each one's size. */
typedef struct {
    const uint32_t *starts;
    const void *sizes;
    int wide; /* bytes of a size */
} Offsets;

#define STRIDE 64

INLINE int64_t size_at(const Offsets *offsets, int64_t i) {
    if (offsets->wide == 1) return ((const uint8_t *)offsets->sizes)[i];
    if (offsets->wide == 2) return ((const uint16_t *)offsets->sizes)[i];
    return ((const uint32_t *)offsets->sizes)[i];
}

INLINE int64_t start_at(const Offsets *offsets, int64_t i) {
    int64_t start = offsets->starts[i / STRIDE];
    for (int64_t j = i - i % STRIDE; j < i; j++) start += size_at(offsets, j);
    return start;
}

typedef struct {
    int64_t n_rows, n_terms, n_windows, n_parts, n_dense, n_near, n_far;
    int kind;
    Offsets lists;           /* of n_terms, in far; a dense list is empty there */
    const uint32_t *dense;   /* (n_dense,) term numbers, ascending */
    const uint32_t *windows; /* (n_dense, n_windows + 1) into near */
    const uint8_t *near;     /* (n_near,) row - 256 * window */
    const uint16_t *far;     /* (n_far,) row - 65536 * part */
    const void *weights;     /* (n_near + n_far,) */
    Offsets parts;           /* of n_terms, in the next two; none where there is one part */
    const uint16_t *part_numbers; /* (n_part_entries,) */
    const uint16_t *part_sizes;   /* (n_part_entries,) a list's postings there - 1 */
    const uint8_t *bounds;   /* (n_dense, n_windows * BLOCKS) a block's largest weight, as a code */
    const uint16_t *tops;    /* HALF only: (n_terms,) the largest weight of a list */
    const uint32_t *order;   /* (n_rows,) or NULL: the same number */
    int64_t n_part_entries;
} Lists;

/* A term of a query, found in the lists. */
typedef struct {
    int32_t number;
    float factor;
    int32_t dense;          /* which dense list, or -1 */
    const uint32_t *at;     /* dense: its windows; sparse: where its parts begin (n_parts + 1) */
    const uint8_t *bounds;  /* dense: n_windows * BLOCKS */
    float top;              /* the largest impact of the list, or a bound of it */
    int64_t size;
} Term;

INLINE float half(uint16_t bits) {
    /* right for 0 and normal numbers >= 0: only those are stored */
    uint32_t wide = (uint32_t)bits << 13;
    float value;
    memcpy(&value, &wide, 4);
    return value * 0x1p112f;
}

INLINE uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

INLINE float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE float weight_at(const void *weights, int kind, int64_t at) {
    if (kind == HALF) return half(((const uint16_t *)weights)[at]);
    if (kind == BYTE) return (float)((const uint8_t *)weights)[at];
    return (float)((const uint16_t *)weights)[at];
}

/* Whether a window's postings [from, to) of a dense list lie in the arrays and in rows: of a byte's
   256 values, only the last window lacks some. */
INLINE int is_sound(const Lists *lists, int64_t window, int64_t from, int64_t to) {
    if (from > to || to > lists->n_near) return 0;
    if (window + 1 < lists->n_windows) return 1;
    for (int64_t p = from; p < to; p++)
        if (window * WINDOW + lists->near[p] >= lists->n_rows) return 0;
    return 1;
}

/* What a score takes a weight for: BM25's tf / (tf + norm), or the weight itself. */
INLINE float impact_at(const void *weights, int kind, int64_t at, const float *norms, int64_t row) {
    float weight = weight_at(weights, kind, at);
    return norms ? weight / (weight + norms[row]) : weight;
}

/* The first place in far[low, high) whose id is at least `id`. */
INLINE int64_t seek(const uint16_t *far, int64_t low, int64_t high, uint16_t id) {
    int64_t size = high - low;
    while (size > 0) {
        int64_t half_size = size >> 1;
        if (far[low + half_size] < id) {
            low += half_size + 1;
            size -= half_size + 1;
        } else {
            size = half_size;
        }
    }
    return low;
}

/* Finds a query's terms: those >= 0 with a factor > 0, ascending. Returns how many, -1 where offsets
   lead out of the arrays. `table` has room for n_parts + 1 numbers a term. */
int64_t find_terms(const Lists *lists, const int32_t *numbers, const float *factors, int64_t count,
                   const float *norms, uint32_t *table, Term *terms);

#endif
