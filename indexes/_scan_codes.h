/* The rows whose codes have the largest sums for a query. Included once, by `_scan.c`. */

#pragma once

#include <stdint.h>

#include "_scan_kernels.h"

static Scorer *score_block = score_plain;

static int lowest_bit(uint64_t bits)
{
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(bits);
#else
    int place = 0;
    for (; !(bits & 1); bits >>= 1)
        place++;
    return place;
#endif
}

/* The best rows of one query so far: all that score above `least`, fewer than are wanted, and
   of those that score `least` the first ones. Rows come in ascending order, so later ones lose
   a tie. */
typedef struct {
    uint64_t *kept;  /* score << 32 | row; also some that are no longer among the best */
    Py_ssize_t count;
    uint32_t *tally; /* how many of the kept rows have each score */
    int32_t least;   /* -1 until as many rows were seen as are wanted */
    uint32_t above;  /* how many score more */
} Best;

/* Forgets what is no longer among the best; at most `wanted` rows stay, in ascending order. */
static void forget(Best *best, Py_ssize_t wanted)
{
    Py_ssize_t kept = 0;
    uint32_t ties = (uint32_t)wanted - best->above;
    for (Py_ssize_t i = 0; i < best->count; i++) {
        int32_t score = (int32_t)(best->kept[i] >> 32);
        if (score > best->least || (score == best->least && ties && ties--))
            best->kept[kept++] = best->kept[i];
    }
    best->count = kept;
}

static void scan_blocks(Best *best, Py_ssize_t room, Py_ssize_t wanted, const uint8_t *codes,
                        const uint8_t *tables, Py_ssize_t pairs, Py_ssize_t first,
                        Py_ssize_t last, Py_ssize_t n_rows, const uint8_t *eligible)
{
    uint16_t scores[BLOCK];
    uint64_t hits[2];
    for (Py_ssize_t block = first; block < last; block++) {
        if (best->count + BLOCK > room)
            forget(best, wanted);
        score_block(codes + block * pairs * BLOCK, tables, pairs, (uint16_t)(best->least + 1),
                    scores, hits);
        for (int half = 0; half < 2; half++)
            for (uint64_t rest = hits[half]; rest; rest &= rest - 1) {
                int place = 64 * half + lowest_bit(rest);
                uint32_t score = scores[place];
                Py_ssize_t row = block * BLOCK + place;
                if ((int32_t)score <= best->least || row >= n_rows ||
                    (eligible && !eligible[row]))
                    continue;
                best->kept[best->count++] = (uint64_t)score << 32 | (uint32_t)row;
                best->tally[score]++;
                best->above++;
                while (best->above >= wanted)
                    best->above -= best->tally[++best->least];
            }
    }
}

/* The products of a rotated query's parts with 16 centroids each, as bytes up to 127. A subspace's
   least product becomes 0, which changes no order; one scale serves all subspaces. */
static void make_tables(const float *query, const float *centroids, Py_ssize_t subspaces,
                        Py_ssize_t width, float *products, uint8_t *tables)
{
    float largest = 1e-30f;
    for (Py_ssize_t m = 0; m < subspaces; m++) {
        float *mine = products + 16 * m;
        for (int c = 0; c < 16; c++)
            mine[c] = 0;
        for (Py_ssize_t w = 0; w < width; w++)
            for (int c = 0; c < 16; c++)
                mine[c] += query[m * width + w] * centroids[(m * width + w) * 16 + c];
        float least = mine[0];
        for (int c = 1; c < 16; c++)
            least = mine[c] < least ? mine[c] : least;
        for (int c = 0; c < 16; c++) {
            mine[c] -= least;
            largest = mine[c] > largest ? mine[c] : largest;
        }
    }
    float scale = 127 / largest;
    for (Py_ssize_t i = 0; i < 16 * subspaces; i++) {
        float value = products[i] * scale + 0.5f;
        tables[i] = value < 127.5f ? (uint8_t)value : 127; /* also what is not a number */
    }
}
