/* Matrix products in panels, for every instruction set.

   Goto and van de Geijn 2008 (ACM TOMS 34(3)): a block of sums stays in registers. The kernels are
   compiled for AVX-512, AVX2 and any processor, and chosen when the module is loaded. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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
#define LARGER(a, b) (vec_avx512)_mm512_max_ps((__m512)(a), (__m512)(b))
#define LARGEST(a) _mm512_reduce_max_ps((__m512)(a))
#include "_fused_kernel.h"
#undef LARGER
#undef LARGEST
#undef TARGET
#undef LANES
#undef ROWS
#undef NAME

static inline __attribute__((target("avx2"))) float largest_of_eight(__m256 a)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}

#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 6
#define NAME(x) x##_avx2
#define LARGER(a, b) (vec_avx2)_mm256_max_ps((__m256)(a), (__m256)(b))
#define LARGEST(a) largest_of_eight((__m256)(a))
#include "_fused_kernel.h"
#undef LARGER
#undef LARGEST
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
#undef TARGET
#undef LANES
#undef ROWS
#undef NAME

#if defined(__x86_64__) && defined(__linux__) && \
    (defined(__clang__) ? __clang_major__ >= 14 : __GNUC__ >= 11)
#define HAS_TILES
#endif

#define LONG 24 /* tokens of a text, from which on tiles are worth their while */

typedef struct {
    const char *name;
    int lanes, rows, tiles; /* tiles: long texts are multiplied by AMX */
    void (*larger)(float *, const float *, Py_ssize_t, int, Py_ssize_t, Py_ssize_t);
    void (*largest)(float *, float *, Py_ssize_t);
    void (*affine)(float *, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *,
                   Py_ssize_t, int, Py_ssize_t);
    void (*block)(float *, const float *, const float *, const float *, const float *, Py_ssize_t,
                  int, Py_ssize_t, Py_ssize_t, int);
    void (*softmax)(float *, Py_ssize_t, int, float);
    void (*normalise)(float *, const float *, const float *, Py_ssize_t, int, float);
} Kind;

#define KERNELS(x) larger_in_##x, largest_##x, affine_##x, block_##x, softmax_##x, normalise_##x

static const Kind KINDS[] = {
#if defined(__x86_64__)
#if defined(HAS_TILES)
    {"amx", 16, 12, 1, KERNELS(avx512)},
#endif
    {"avx512", 16, 12, 0, KERNELS(avx512)},
    {"avx2", 8, 6, 0, KERNELS(avx2)},
#endif
    {"any", 4, 6, 0, KERNELS(any)},
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

/* Some tokens, one a lane of `count` (1 or 2) registers. `at`: the first one's number among all
   texts' tokens; `width`: how many are real; `text`: whose the first one is. */
typedef struct {
    Py_ssize_t at, width, text;
    int count;
} Panel;

/* One text's tokens: `first` of all texts' and those after it. */
typedef struct {
    Py_ssize_t first, tokens;
} Text;

/* The tokens of all texts, one after the other, in panels of two registers, the last one of one
   where that is enough. What is computed of a token does not hang on its lane. */
typedef struct {
    float *numbers; /* panel after panel, each (depth, count * lanes) */
    Panel *panels;
    Text *texts;
    Py_ssize_t depth, lanes, step, panels_count, texts_count, longest, shortest;
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

static void return_numbers(void *numbers)
{
    if (!numbers) return;
    char *memory = (char *)numbers - 64;
    munmap(memory, *(size_t *)(void *)memory);
}

/* Packs rows (all texts' tokens, depth) of texts of these lengths; 0, or -1 for want of memory. */
static int pack(Packed *to, const Py_buffer *from, const int64_t *lengths, Py_ssize_t texts,
                const Kind *kind)
{
    Py_ssize_t depth = from->shape[1], step = 2 * kind->lanes, tokens = from->shape[0];
    *to = (Packed){.depth = depth, .step = step, .texts_count = texts, .shortest = tokens};
    to->panels_count = (tokens + step - 1) / step;
    to->texts = malloc((size_t)texts * sizeof *to->texts);
    to->panels = malloc((size_t)to->panels_count * sizeof *to->panels);
    if (!to->texts || !to->panels) goto failed;
    for (Py_ssize_t t = 0, first = 0; t < texts; first += lengths[t++]) {
        to->texts[t] = (Text){first, lengths[t]};
        to->longest = lengths[t] > to->longest ? lengths[t] : to->longest;
        to->shortest = lengths[t] < to->shortest ? lengths[t] : to->shortest;
    }
    for (Py_ssize_t p = 0, text = 0; p < to->panels_count; p++) {
        Py_ssize_t at = p * step, left = tokens - at;
        while (to->texts[text].first + to->texts[text].tokens <= at) text++;
        to->panels[p] = (Panel){at, left < step ? left : step, text, left > kind->lanes ? 2 : 1};
        to->lanes += to->panels[p].count * kind->lanes;
    }
    to->numbers = aligned_numbers(to->lanes * depth);
    if (!to->numbers) goto failed;
    for (Py_ssize_t p = 0; p < to->panels_count; p++) {
        const Panel *panel = &to->panels[p];
        Py_ssize_t wide = panel->count * kind->lanes;
        float *numbers = to->numbers + panel->at * depth;
        for (Py_ssize_t lane = 0; lane < wide; lane++) {
            /* lanes beyond the last token hold it, too: numbers that all kernels can bear */
            Py_ssize_t token = panel->at + (lane < panel->width ? lane : panel->width - 1);
            const char *source = (const char *)from->buf + token * from->strides[0];
            for (Py_ssize_t d = 0; d < depth; d++)
                numbers[d * wide + lane] = *(const float *)(source + d * from->strides[1]);
        }
    }
    return 0;
failed:
    free_packed(to);
    return -1;
}

/* How many of the tokens `token` ... `end` - 1 lie in the first one's panel. `at`: where the first
   one's number 0 stands in an array of all panels, each (depth, wide); its others follow `wide` by
   `wide`. */
static Py_ssize_t neighbours(const Packed *packed, Py_ssize_t depth, Py_ssize_t token,
                             Py_ssize_t end, Py_ssize_t *at, Py_ssize_t *wide)
{
    const Panel *panel = &packed->panels[token / packed->step];
    Py_ssize_t stop = panel->at + panel->width;
    *at = panel->at * depth + token - panel->at;
    *wide = panel->count * packed->step / 2;
    return (end < stop ? end : stop) - token;
}

/* So many rows at most, in whole blocks; `block` at least. */
static Py_ssize_t whole_blocks(Py_ssize_t rows, Py_ssize_t block)
{
    rows = (rows < MOST_ROWS ? rows : MOST_ROWS) / block * block;
    return rows < block ? block : rows;
}

#define NEXT 256 /* floats */
/* Blocks of a chunk: odd, since lines 4,096 bytes apart drive each other out of the first cache. */
#define SOME_BLOCKS 9
#define MANY_BLOCKS 31

/* out (rows, count * lanes): a panel through `rows` rows, a block's at least, that come from memory;
   with what `block` does besides.

   A processor fetches ahead what is read on and on. So a block's rows lie apart, and the next
   block's are those after them. */
static void multiply_apart(const Kind *kind, float *out, const float *panel, const float *weight,
                           const float *bias, const float *residual, Py_ssize_t depth, int count,
                           Py_ssize_t rows, int gelu)
{
    Py_ssize_t apart = rows / kind->rows, wide = count * kind->lanes;
    for (Py_ssize_t r = 0; r < apart; r++)
        kind->block(out + r * wide, panel, weight + r * depth, bias ? bias + r : NULL,
                    residual ? residual + r * wide : NULL, depth, count, apart, NEXT, gelu);
    if (apart * kind->rows == rows) return;
    Py_ssize_t r = rows - kind->rows;
    kind->block(out + r * wide, panel, weight + r * depth, bias ? bias + r : NULL,
                residual ? residual + r * wide : NULL, depth, count, 1, NEXT, gelu);
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
            kind->affine(out + r * tokens + panel->at, tokens, panel->width,
                         packed->numbers + panel->at * depth, weight + r * depth, bias + r, depth,
                         panel->count, p ? 0 : 2 * kind->rows * depth);
        }
    }
}
