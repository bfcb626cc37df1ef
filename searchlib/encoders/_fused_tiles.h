/* Products by a processor's matrix unit (AMX), with single precision's accuracy.

   A float is the sum of two bfloat16 numbers, but for 2^-17 of it: x = h + l. Of the four products
   of two such sums three are added up, in float32; l * l is 2^-16 of the whole at most (Henry,
   Tang and Heinecke 2019, arXiv:1904.06376). A tile is 16 rows of 64 bytes: of a weight, 16 rows
   by 32 numbers; of a panel, 32 rows by 16 tokens, the rows in pairs. */

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILES __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bf16")))
#define TILE_DEPTH 32
#define TILE_ROWS 32             /* of a weight at a time: two tiles, by two of tokens */
#define TILE_NUMBERS (16 * 32)   /* bfloat16 numbers in a tile */
#define TILE_CHUNK (256 * 1024)  /* bytes of split weights that stay in a core's cache */

typedef unsigned short Half; /* a bfloat16 number */

/* Whether the processor has tiles, and the system lets this process use them. */
static int tiles_run_here(void)
{
    unsigned a, b, c, d, low, high;
    if (!__builtin_cpu_supports("avx512f")) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return 0;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return 0; /* avx512bf16 */
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low >> 17 & 3) != 3) return 0;
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
}

static Py_ssize_t tile_chunk(Py_ssize_t depth)
{
    return whole_blocks(TILE_CHUNK / (2 * (Py_ssize_t)sizeof(Half)) / depth, TILE_ROWS);
}

/* Numbers in the split panels of so many lanes, of this depth or less, and behind them in a split
   chunk of rows. */
static Py_ssize_t tile_size(Py_ssize_t lanes, Py_ssize_t depth)
{
    Py_ssize_t most = TILE_CHUNK / (2 * (Py_ssize_t)sizeof(Half)), least = TILE_ROWS * depth;
    return 2 * (lanes * depth + (least > most ? least : most));
}

/* Whether texts are long enough for splitting the weights, and these have a depth for it. */
static int tiles_pay(const Kind *kind, const Packed *packed, Py_ssize_t depth)
{
    return kind->tiles && packed->shortest >= LONG && depth % TILE_DEPTH == 0;
}

static TILES void tiles_begin(void)
{
    /* subtle: constant, since GCC 12 takes a local one to be read in part only */
    static const struct {
        unsigned char palette, start, reserved[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shape);
}

static TILES void tiles_end(void) { _tile_release(); }

static inline __attribute__((always_inline)) TILES void split16(__m512 x, __m512i *high, __m512i *low)
{
    *high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
    __m512 rest = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(*high, 16)));
    *low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(rest));
}

/* Panels (depth, 16 or 32) to tiles: of each 16 lanes, depth / 32 tiles of high numbers, then as
   many of low ones. */
static TILES void split_panels(Half *to, const float *in, const Packed *packed, Py_ssize_t depth)
{
    for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
        Py_ssize_t at = packed->panels[p].at;
        int count = packed->panels[p].count;
        const float *panel = in + at * depth;
        for (int i = 0; i < count; i++) {
            Half *high = to + (at + 16 * i) * depth * 2, *low = high + 16 * depth;
            for (Py_ssize_t d = 0; d < depth; d += 2) {
                __m512i h[2], l[2];
                for (int j = 0; j < 2; j++)
                    split16(_mm512_loadu_ps(panel + ((d + j) * count + i) * 16), &h[j], &l[j]);
                _mm512_storeu_si512(high + d * 16,
                                    _mm512_or_si512(h[0], _mm512_slli_epi32(h[1], 16)));
                _mm512_storeu_si512(low + d * 16,
                                    _mm512_or_si512(l[0], _mm512_slli_epi32(l[1], 16)));
            }
        }
    }
}

/* Rows (count, depth) of a weight to tiles: of each 16 rows, depth / 32 tiles of high numbers, then
   as many of low ones. */
static TILES void split_rows(Half *to, const float *weight, Py_ssize_t count, Py_ssize_t depth)
{
    for (Py_ssize_t r = 0; r < count; r++) {
        Half *high = to + r / 16 * 16 * depth * 2 + r % 16 * 32, *low = high + 16 * depth;
        for (Py_ssize_t d = 0; d < depth; d += 16) {
            __m512i h, l;
            split16(_mm512_loadu_ps(weight + r * depth + d), &h, &l);
            Py_ssize_t at = d / 32 * TILE_NUMBERS + d % 32;
            _mm256_storeu_si256((__m256i *)(high + at), _mm512_cvtepi32_epi16(h));
            _mm256_storeu_si256((__m256i *)(low + at), _mm512_cvtepi32_epi16(l));
        }
    }
}

/* out (32, 16 * count), rows `stride` floats apart: products of 32 rows with 16 or 32 tokens. */
static TILES void tile_products(float *out, Py_ssize_t stride, const Half *rows, const Half *tokens,
                                Py_ssize_t depth, int count)
{
    const Half *a = rows, *b = rows + 32 * depth, *x = tokens, *y = tokens + 32 * depth;
    Py_ssize_t low = 16 * depth;
    _tile_zero(0);
    _tile_zero(1);
    if (count == 2) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (Py_ssize_t at = 0; at < low; at += TILE_NUMBERS) {
        if (count == 1) { /* in the same order as below: company must change no bit */
            _tile_loadd(4, a + at + low, 64);
            _tile_loadd(5, b + at + low, 64);
            _tile_loadd(6, x + at, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 5, 6);
            _tile_loadd(4, a + at, 64);
            _tile_loadd(5, b + at, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 5, 6);
            _tile_loadd(7, x + at + low, 64);
            _tile_dpbf16ps(0, 4, 7);
            _tile_dpbf16ps(1, 5, 7);
            continue;
        }
        _tile_loadd(4, a + at + low, 64);
        _tile_loadd(6, x + at, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, y + at, 64);
        _tile_dpbf16ps(2, 4, 7);
        _tile_loadd(5, b + at + low, 64);
        _tile_dpbf16ps(1, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(4, a + at, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 4, 7);
        _tile_loadd(5, b + at, 64);
        _tile_dpbf16ps(1, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(6, x + at + low, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        _tile_loadd(7, y + at + low, 64);
        _tile_dpbf16ps(2, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, stride * 4);
    _tile_stored(1, out + 16 * stride, stride * 4);
    if (count == 2) {
        _tile_stored(2, out + 16, stride * 4);
        _tile_stored(3, out + 16 * stride + 16, stride * 4);
    }
}

/* Each of `out` (32, 16 * count) gets its row's bias; then gelu, and the residual added. */
static __attribute__((target("avx512f"))) void tile_finish(float *out, const float *bias, const float *residual,
                                         int count, int gelu)
{
    for (int r = 0; r < TILE_ROWS; r++)
        for (int i = 0; i < count; i++) {
            vec_avx512 *at = (vec_avx512 *)out + r * count + i, x = *at + bias[r];
            if (gelu) x = gelu_avx512(x);
            if (residual) x += ((const vec_avx512 *)residual)[r * count + i];
            *at = x;
        }
}

/* As `block_chunk`, of all rows of a weight whose rows and depth are multiples of 32. */
static void tiles_block(Half *scratch, float *out, const float *in, const Packed *packed,
                        Py_ssize_t depth, const float *weight, const float *bias, Py_ssize_t rows,
                        const float *residual, int gelu)
{
    Py_ssize_t chunk = tile_chunk(depth);
    Half *split = scratch + packed->lanes * depth * 2;
    split_panels(scratch, in, packed, depth);
    for (Py_ssize_t first = 0; first < rows; first += chunk) {
        Py_ssize_t some = rows - first < chunk ? rows - first : chunk;
        split_rows(split, weight + first * depth, some, depth);
        for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
            const Panel *panel = &packed->panels[p];
            for (Py_ssize_t r = 0; r < some; r += TILE_ROWS) {
                Py_ssize_t at = panel->at * rows + (first + r) * panel->count * 16;
                tile_products(out + at, panel->count * 16, split + r * depth * 2,
                              scratch + panel->at * depth * 2, depth, panel->count);
                tile_finish(out + at, bias + first + r, residual ? residual + at : NULL,
                            panel->count, gelu);
            }
        }
    }
}
