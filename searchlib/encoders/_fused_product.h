/* Matrix products in panels, for every instruction set.

   Goto and van de Geijn 2008 (ACM TOMS 34(3)): a block of sums stays in registers. The kernels are
   compiled for AVX-512, AVX2 and any processor, and chosen when the module is loaded. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

#define LONG 24 /* tokens of a text, from which on tiles are worth their while */

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

/* Some of a text's tokens, one a lane of `count` (1 or 2) registers. `at`: the first one's lane, as
   all panels' lanes are numbered; `token`: its number in the text; `width`: how many are real. */
typedef struct {
    Py_ssize_t at, token, width;
    int count;
} Panel;

/* One text's panels: `panels` of the list from `first` on, beginning with lane `at`. */
typedef struct {
    Py_ssize_t tokens, at, first, panels, row;
} Text;

/* Texts in panels of two registers, the last of each text of one where that is enough. */
typedef struct {
    float *numbers; /* panel after panel, each (depth, count * lanes) */
    Panel *panels;
    Text *texts;
    Py_ssize_t depth, lanes, panels_count, texts_count, longest, shortest;
} Packed;

static void free_packed(Packed *packed)
{
    free(packed->numbers);
    free(packed->panels);
    free(packed->texts);
}

/* `size` numbers at a multiple of 64 bytes; NULL for want of memory. */
static float *aligned_numbers(Py_ssize_t size)
{
    void *memory = NULL;
    return posix_memalign(&memory, 64, (size_t)size * sizeof(float)) ? NULL : memory;
}

/* The same for megabytes that are soon given back: to the system, not to malloc, which would keep
   them a thread, and from then on everything else of that size as well. */
static float *borrowed_numbers(Py_ssize_t size)
{
    size_t bytes = (size_t)size * sizeof(float) + 64;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    *(size_t *)(void *)memory = bytes;
    return (float *)(void *)(memory + 64);
}

static void give_back(void *numbers)
{
    char *memory = (char *)numbers - 64;
    if (numbers) munmap(memory, *(size_t *)(void *)memory);
}

/* Packs rows (all texts' tokens, depth) of texts of these lengths; 0, or -1 for want of memory. */
static int pack(Packed *to, const Py_buffer *from, const int64_t *lengths, Py_ssize_t texts,
                const Kind *kind)
{
    Py_ssize_t depth = from->shape[1], step = 2 * kind->lanes, row = 0;
    *to = (Packed){.depth = depth, .texts_count = texts, .shortest = lengths[0]};
    for (Py_ssize_t t = 0; t < texts; t++) to->panels_count += (lengths[t] + step - 1) / step;
    to->texts = malloc((size_t)texts * sizeof *to->texts);
    to->panels = malloc((size_t)to->panels_count * sizeof *to->panels);
    if (!to->texts || !to->panels) goto failed;
    Panel *panel = to->panels;
    for (Py_ssize_t t = 0; t < texts; t++) {
        Py_ssize_t tokens = lengths[t];
        to->texts[t] = (Text){tokens, to->lanes, panel - to->panels, (tokens + step - 1) / step, row};
        to->longest = tokens > to->longest ? tokens : to->longest;
        to->shortest = tokens < to->shortest ? tokens : to->shortest;
        for (Py_ssize_t token = 0; token < tokens; token += step, panel++) {
            Py_ssize_t left = tokens - token;
            int count = left > kind->lanes ? 2 : 1;
            *panel = (Panel){to->lanes, token, left < step ? left : step, count};
            to->lanes += count * kind->lanes;
        }
        row += tokens;
    }
    to->numbers = aligned_numbers(to->lanes * depth);
    if (!to->numbers) goto failed;
    for (Py_ssize_t t = 0; t < texts; t++)
        for (Py_ssize_t p = 0; p < to->texts[t].panels; p++) {
            const Panel *some = &to->panels[to->texts[t].first + p];
            Py_ssize_t wide = some->count * kind->lanes;
            float *numbers = to->numbers + some->at * depth;
            for (Py_ssize_t lane = 0; lane < wide; lane++) {
                /* a copy of the last token at places beyond it can't change a maximum */
                Py_ssize_t token = lane < some->width ? lane : some->width - 1;
                const char *source = (const char *)from->buf +
                                     (to->texts[t].row + some->token + token) * from->strides[0];
                for (Py_ssize_t d = 0; d < depth; d++)
                    numbers[d * wide + lane] = *(const float *)(source + d * from->strides[1]);
            }
        }
    return 0;
failed:
    free_packed(to);
    return -1;
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

/* out (texts, count): the largest product of each row of the weight with a text's tokens. Blocks of
   rows may overlap at the end: what is done twice comes out the same. 0, or -1 without memory. */
static int all_largest(const Kind *kind, const Packed *packed, const float *weight,
                       Py_ssize_t count, float *out)
{
    Py_ssize_t depth = packed->depth, lanes = kind->lanes, rows = kind->rows;
#if defined(HAS_TILES)
    if (tiles_pay(kind, packed, depth) && count >= TILE_ROWS) {
        Half *scratch = (Half *)borrowed_numbers(tile_size(packed->lanes, depth) / 2);
        if (!scratch) return -1;
        tiles_begin();
        tiles_largest(scratch, packed, weight, count, out);
        tiles_end();
        give_back(scratch);
        return 0;
    }
#endif
    float best[MOST_ROWS * MOST_LANES] __attribute__((aligned(64)));
    Py_ssize_t chunk = CHUNK / (Py_ssize_t)sizeof(float) / depth / rows * rows;
    chunk = chunk < rows ? rows : chunk > MOST_ROWS ? MOST_ROWS / rows * rows : chunk;
    chunk = chunk > count ? count : chunk;
    for (Py_ssize_t first = 0; first < count; first += chunk) {
        Py_ssize_t at = first + chunk > count ? count - chunk : first;
        for (Py_ssize_t t = 0; t < packed->texts_count; t++) {
            const Panel *panels = packed->panels + packed->texts[t].first;
            for (Py_ssize_t i = 0; i < chunk * lanes; i++) best[i] = -INFINITY;
            for (Py_ssize_t p = 0; p < packed->texts[t].panels; p++)
                for (Py_ssize_t row = 0; row < chunk; row += rows) {
                    Py_ssize_t r = row + rows > chunk ? chunk - rows : row;
                    kind->largest(best + r * lanes, packed->numbers + panels[p].at * depth,
                                  weight + (at + r) * depth, depth, panels[p].count,
                                  t == 0 && p == 0);
                }
            for (Py_ssize_t r = 0; r < chunk; r++)
                out[t * count + at + r] = largest_of(best + r * lanes, lanes);
        }
    }
    return 0;
}

/* out (count, tokens): products plus bias, of one text. */
static void all_affine(
    const Kind *kind, const Packed *packed, const float *weight, const float *bias,
    Py_ssize_t count, float *out)
{
    Py_ssize_t depth = packed->depth, tokens = packed->texts[0].tokens;
    for (Py_ssize_t row = 0; row < count; row += kind->rows) {
        Py_ssize_t r = row + kind->rows > count ? count - kind->rows : row;
        for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
            const Panel *panel = &packed->panels[p];
            kind->affine(out + r * tokens + panel->token, tokens, panel->width,
                         packed->numbers + panel->at * depth, weight + r * depth, bias + r, depth,
                         panel->count, p == 0);
        }
    }
}
