/* The posting lists of one term field, as they lie in its file (see FORMAT.md).

   Rows are numbered in storage order here; `order` turns them into the segment's rows. Lists are
   of two kinds. A dense list has offsets of windows of 256 rows, and bounds of blocks of 16; a sparse
   one names the parts of 65,536 rows in which it has postings. */
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
    int64_t n_rows, n_terms, n_windows, n_parts, n_dense;
    int64_t n_postings, skip; /* skip: those of dense lists, which come first */
    int kind;
    Offsets lists;           /* of n_terms, behind `skip`; a dense list is empty there */
    const uint32_t *dense;   /* (n_dense,) term numbers, ascending */
    const uint32_t *windows; /* (n_dense, n_windows + 1) where a window's postings begin */
    const uint16_t *ids;     /* (n_postings,) row - 65536 * part */
    const void *weights;     /* (n_postings,) */
    Offsets parts;           /* of n_terms, in the next two; none where there is one part */
    const uint16_t *part_numbers; /* (n_part_entries,) */
    const uint16_t *part_sizes;   /* (n_part_entries,) a list's postings there - 1 */
    int64_t n_part_entries;
    const uint8_t *bounds;   /* (n_dense, n_windows * BLOCKS) a block's largest weight, as a code */
    const uint16_t *tops;    /* HALF only: (n_terms,) the largest weight of a list */
    const uint32_t *order;   /* (n_rows,) or NULL: the same number */
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

/* Where a term's postings in a part begin and end. */
INLINE void part_span(const Lists *lists, const Term *term, int64_t part, int64_t *from,
                      int64_t *to) {
    int64_t window = part * PART_WINDOWS, last = window + PART_WINDOWS;
    if (last > lists->n_windows) last = lists->n_windows;
    *from = term->at[term->dense >= 0 ? window : part];
    *to = term->at[term->dense >= 0 ? last : part + 1];
}

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

/* What a score takes a weight for: BM25's tf / (tf + norm), or the weight itself. */
INLINE float impact_at(const void *weights, int kind, int64_t at, const float *norms, int64_t row) {
    float weight = weight_at(weights, kind, at);
    return norms ? weight / (weight + norms[row]) : weight;
}

/* Adds the postings [from, to) to the sums of their rows, counted from row `low` of a part; norms and
   sums begin there too, `sums` has room for PART. -1 for postings or norms that there are not.
   subtle: products are computed by the piece, as a loop that scatters them is not vectorised. */
INLINE int add_run(const Lists *lists, int kind, const float *norms, float factor, int64_t from,
                   int64_t to, int64_t low, int64_t limit, float *sums) {
    enum { PIECE = 256 };
    float products[PIECE];
    if (from > to || to > lists->n_postings) return -1;
    for (; from < to; from += PIECE) {
        int count = to - from < PIECE ? (int)(to - from) : PIECE;
        const uint16_t *ids = lists->ids + from;
        uint16_t first = (uint16_t)low, most = 0;
        if (norms) {
            for (int j = 0; j < count; j++) {
                uint16_t row = (uint16_t)(ids[j] - first);
                most = row > most ? row : most;
            }
            if (most >= limit) return -1;
        }
        for (int j = 0; j < count; j++)
            products[j] = factor * impact_at(lists->weights, kind, from + j, norms,
                                             (uint16_t)(ids[j] - first));
        for (int j = 0; j < count; j++) sums[(uint16_t)(ids[j] - first)] += products[j];
    }
    return 0;
}

/* The first place in ids[low, high) that is at least `id`. */
INLINE int64_t seek(const uint16_t *ids, int64_t low, int64_t high, uint16_t id) {
    int64_t size = high - low;
    while (size > 0) {
        int64_t middle = size >> 1;
        if (ids[low + middle] < id) {
            low += middle + 1;
            size -= middle + 1;
        } else {
            size = middle;
        }
    }
    return low;
}

/* Finds a query's terms: those >= 0 with a factor > 0, ascending. Returns how many, -1 where offsets
   lead out of the arrays. `table` has room for n_parts + 1 numbers a term. */
int64_t find_terms(const Lists *lists, const int32_t *numbers, const float *factors, int64_t count,
                   const float *norms, uint32_t *table, Term *terms);

#endif
