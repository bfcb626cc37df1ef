/* Matrix products in panels, for every instruction set.

   Goto and van de Geijn 2008 (ACM TOMS 34(3)): a block of sums stays in registers. The kernels are
   compiled for AVX-512, AVX2 and any processor, and chosen when the module is loaded. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__GNUC__)
#error "needs GCC's or Clang's vectors; without this module numpy and torch do the work"
#endif

#define MOST_LANES 16
#define CHUNK (96 * 1024) /* bytes of weights that stay in a core's cache while panels pass */
#define MOST_ROWS 384     /* of a chunk */

#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define ROWS 12
#define NAME(x) x##_avx512
#include "_fused_kernel.h"
#undef TARGET
#undef LANES
#undef ROWS
#undef NAME

#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 6
#define NAME(x) x##_avx2
#include "_fused_kernel.h"
#undef TARGET
#undef LANES
#undef ROWS
#undef NAME
#endif

#define TARGET
#define LANES 4
#define ROWS 6
#define NAME(x) x##_any
#include "_fused_kernel.h"

#if defined(__x86_64__) && defined(__linux__) && \
    (defined(__clang__) ? __clang_major__ >= 14 : __GNUC__ >= 11)
#define HAS_TILES
#endif

typedef struct {
    const char *name;
    int lanes, rows, tiles; /* tiles: long texts are multiplied by AMX */
    void (*largest)(float *, const float *, const float *, Py_ssize_t, int, int);
    void (*affine)(float *, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *,
                   Py_ssize_t, int, int);
    void (*block)(float *, const float *, const float *, const float *, const float *, Py_ssize_t,
                  int, int, int);
    void (*softmax)(float *, Py_ssize_t, int, float);
    void (*normalise)(float *, const float *, const float *, Py_ssize_t, int, float);
} Kind;

static const Kind KINDS[] = {
#if defined(__x86_64__)
#if defined(HAS_TILES)
    {"amx", 16, 12, 1, largest_avx512, affine_avx512, block_avx512, softmax_avx512, normalise_avx512},
#endif
    {"avx512", 16, 12, 0, largest_avx512, affine_avx512, block_avx512, softmax_avx512, normalise_avx512},
    {"avx2", 8, 6, 0, largest_avx2, affine_avx2, block_avx2, softmax_avx2, normalise_avx2},
#endif
    {"any", 4, 6, 0, largest_any, affine_any, block_any, softmax_any, normalise_any},
};
#define KINDS_COUNT ((int)(sizeof KINDS / sizeof KINDS[0]))

static int tiles_here; /* found out when the module is loaded */

static int runs_here(const Kind *kind)
{
    if (kind->tiles) return tiles_here;
#if defined(__x86_64__)
    if (kind->lanes == 16) return __builtin_cpu_supports("avx512f");
    if (kind->lanes == 8) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return kind->lanes == 4;
}

/* A text's tokens in panels of two registers, the last of one where that is enough. */
typedef struct {
    float *panels;
    void *memory;
    Py_ssize_t tokens, depth;
} Packed;

static int panel_count(const Kind *kind, Py_ssize_t left) { return left > kind->lanes ? 2 : 1; }

static int pack(Packed *to, const Py_buffer *from, const Kind *kind)
{
    Py_ssize_t tokens = from->shape[0], depth = from->shape[1], step = 2 * kind->lanes;
    size_t size = (size_t)((tokens + step - 1) / step * step) * (size_t)depth * sizeof(float);
    to->tokens = tokens;
    to->depth = depth;
    to->memory = malloc(size + 64);
    if (!to->memory) return -1;
    to->panels = (float *)(((uintptr_t)to->memory + 63) / 64 * 64);
    for (Py_ssize_t start = 0; start < tokens; start += step) {
        Py_ssize_t wide = panel_count(kind, tokens - start) * kind->lanes;
        float *panel = to->panels + start * depth;
        for (Py_ssize_t lane = 0; lane < wide; lane++) {
            /* a copy of the last token at places beyond it can't change a maximum */
            Py_ssize_t token = start + lane < tokens ? start + lane : tokens - 1;
            const char *row = (const char *)from->buf + token * from->strides[0];
            for (Py_ssize_t d = 0; d < depth; d++)
                panel[d * wide + lane] = *(const float *)(row + d * from->strides[1]);
        }
    }
    return 0;
}

static float largest_of(const float *values, Py_ssize_t count)
{
    float best[4];
    memcpy(best, values, sizeof best);
    for (Py_ssize_t i = 4; i < count; i += 4) /* four at a time: one instruction, no branch */
        for (int j = 0; j < 4; j++) best[j] = values[i + j] > best[j] ? values[i + j] : best[j];
    float a = best[0] > best[1] ? best[0] : best[1], b = best[2] > best[3] ? best[2] : best[3];
    return a > b ? a : b;
}

#if defined(HAS_TILES)
#include "_fused_tiles.h"
#endif

/* Blocks of rows may overlap at the end: what is done twice comes out the same. */
static void all_largest(
    const Kind *kind, const Packed *text, const float *weight, Py_ssize_t count, float *out)
{
#if defined(HAS_TILES)
    Half *scratch = NULL;
    if (kind->tiles && text->tokens >= TILE_TOKENS && text->depth % TILE_DEPTH == 0 &&
        count >= TILE_ROWS)
        scratch = aligned_alloc(64, tile_size(text->tokens, text->depth) * sizeof(Half));
    if (scratch) {
        tiles_begin();
        tiles_largest(scratch, text->panels, text->tokens, text->depth, weight, count, out);
        tiles_end();
        free(scratch);
        return;
    }
#endif
    float memory[MOST_ROWS * MOST_LANES + 16];
    float *best = (float *)(((uintptr_t)memory + 63) / 64 * 64);
    Py_ssize_t depth = text->depth, lanes = kind->lanes, rows = kind->rows;
    Py_ssize_t chunk = CHUNK / (Py_ssize_t)sizeof(float) / depth / rows * rows;
    chunk = chunk < rows ? rows : chunk > MOST_ROWS ? MOST_ROWS / rows * rows : chunk;
    chunk = chunk > count ? count : chunk;
    for (Py_ssize_t first = 0; first < count; first += chunk) {
        Py_ssize_t at = first + chunk > count ? count - chunk : first;
        for (Py_ssize_t i = 0; i < chunk * lanes; i++) best[i] = -INFINITY;
        for (Py_ssize_t start = 0; start < text->tokens; start += 2 * lanes)
            for (Py_ssize_t row = 0; row < chunk; row += rows) {
                Py_ssize_t r = row + rows > chunk ? chunk - rows : row;
                kind->largest(best + r * lanes, text->panels + start * depth,
                              weight + (at + r) * depth, depth,
                              panel_count(kind, text->tokens - start), start == 0);
            }
        for (Py_ssize_t r = 0; r < chunk; r++)
            out[at + r] = largest_of(best + r * lanes, lanes);
    }
}

static void all_affine(
    const Kind *kind, const Packed *text, const float *weight, const float *bias, Py_ssize_t count,
    float *out)
{
    Py_ssize_t depth = text->depth, tokens = text->tokens;
    for (Py_ssize_t row = 0; row < count; row += kind->rows) {
        Py_ssize_t r = row + kind->rows > count ? count - kind->rows : row;
        for (Py_ssize_t start = 0; start < tokens; start += 2 * kind->lanes) {
            Py_ssize_t left = tokens - start;
            kind->affine(out + r * tokens + start, tokens,
                         left < 2 * kind->lanes ? left : 2 * kind->lanes,
                         text->panels + start * depth, weight + r * depth, bias + r, depth,
                         panel_count(kind, left), start == 0);
        }
    }
}
