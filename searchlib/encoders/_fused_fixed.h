/* Products of layers in whole numbers of 16 bits, two of them an instruction (VNNI).

   Of a row of a weight and of a token, 32 numbers at a time are a factor times whole numbers of 16
   bits. The factor is chosen so that the whole numbers have a Euclidean norm of 46,300 at most: by
   Cauchy and Schwarz no sum of their products, in any order, leaves 32 bits. So sums are exact; what
   was rounded off before is some 5e-5 of a product, where half precision leaves out three times as
   much (the relative error of x W' for normally distributed numbers, `tests/encoders`). */

#define STEP 32              /* numbers that share a factor */
#define BLOCK 12             /* rows whose numbers lie side by side, in pairs */
#define FETCHED 1024         /* bytes ahead of those that are read */
#define NORM 46300.0f        /* of their whole numbers, before these are rounded: 46,303 after it */
#define LARGEST_CODE 32767.0f
#define LEAST 1e-30f         /* a sum of squares; numbers with less are next to nothing */
#define QUIET_NAN 0x7fc00000
#define ROUNDS 12582912.0f   /* 1.5 * 2^23: a number plus this one ends in its rounded bits */

static inline Py_ssize_t steps_of(Py_ssize_t depth) { return (depth + STEP - 1) / STEP; }

/* A weight (rows, depth) in codes, and its factors: blocks of rows, the last one filled up with
   zeros, codes (depth / 2, BLOCK, 2) and factors (steps, BLOCK) each. */
typedef struct {
    Py_ssize_t rows, depth;
    int16_t *codes;
    float *factors;
} Fixed;

/* Kernels for whole numbers, of a kind with as many lanes. */
typedef struct {
    int lanes;
    void (*fix_panel)(const float *, Py_ssize_t, int, int16_t *, float *);
    void (*block)(float *, const int16_t *, const float *, const int16_t *, const float *,
                  const float *, const float *, Py_ssize_t, int, int, int);
} FixedKind;

#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define HAS_FIXED
#include <cpuid.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define LANES 16
#define ROWS 12
#define NAME(x) x##_avx512
#define ADD_PAIRS(sums, pairs, by) \
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(pairs), "v"(by))
#include "_fused_fixed_kernel.h"
#undef TARGET
#undef LANES
#undef ROWS
#undef NAME
#undef ADD_PAIRS

#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 6
#define NAME(x) x##_avx2
#define ADD_PAIRS(sums, pairs, by) \
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sums) : "x"(pairs), "x"(by))
#include "_fused_fixed_kernel.h"
#undef TARGET
#undef LANES
#undef ROWS
#undef NAME
#undef ADD_PAIRS

static const FixedKind FIXED_KINDS[] = {
    {16, fix_panel_avx512, fixed_block_avx512},
    {8, fix_panel_avx2, fixed_block_avx2},
};
static int fixed_here[2]; /* which of them run here; found out when the module is loaded */

static void find_fixed(void)
{
    unsigned a, b, c, d;
    fixed_here[0] = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
    fixed_here[1] = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1; /* AVX-VNNI */
}

/* NULL where none runs here. A matrix unit is the faster one. */
static const FixedKind *fixed_kind(const Kind *kind)
{
    for (int i = 0; i < 2; i++)
        if (fixed_here[i] && !kind->tiles && kind->lanes == FIXED_KINDS[i].lanes)
            return &FIXED_KINDS[i];
    return NULL;
}

/* A row in its block's codes and factors; 0 if it has numbers that are none. */
static __attribute__((target("avx2"))) int fix_row(int16_t *codes, float *factors,
                                                   const float *weight, Py_ssize_t depth)
{
    float last[STEP] = {0};
    int32_t pairs[STEP / 2];
    for (Py_ssize_t start = 0; start < depth; start += STEP, factors += BLOCK) {
        Py_ssize_t some = depth - start < STEP ? depth - start : STEP;
        const float *from = some < STEP ? last : weight + start;
        if (some < STEP) memcpy(last, weight + start, (size_t)some * sizeof(float));
        __m256 x[STEP / 8], squares = _mm256_setzero_ps(), sizes = squares;
        for (int i = 0; i < STEP / 8; i++) {
            x[i] = _mm256_loadu_ps(from + 8 * i);
            squares = _mm256_add_ps(squares, _mm256_mul_ps(x[i], x[i]));
            sizes = _mm256_max_ps(sizes, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x[i]));
        }
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(squares), _mm256_extractf128_ps(squares, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        float square = _mm_cvtss_f32(half) + _mm_cvtss_f32(_mm_shuffle_ps(half, half, 1));
        if (!(square < INFINITY)) return 0;
        float factor = sqrtf(square) / NORM, most = largest_of_eight(sizes) / LARGEST_CODE;
        *factors = factor = square > LEAST ? most > factor ? most : factor : 0;
        __m256 by = _mm256_set1_ps(factor > 0 ? 1 / factor : 0);
        for (int i = 0; i < STEP / 8; i += 2) {
            __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], by));
            __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(x[i + 1], by));
            low = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
            _mm256_storeu_si256((__m256i *)(void *)(pairs + 4 * i), low);
        }
        for (Py_ssize_t pair = 0; pair < some / 2; pair++, codes += 2 * BLOCK)
            memcpy(codes, &pairs[pair], sizeof pairs[pair]);
    }
    return 1;
}

static void free_fixed(Fixed *fixed)
{
    free(fixed->codes);
    free(fixed->factors);
}

/* 0, or 1 if the weight has numbers that are none, or -1 for want of memory. `depth` is even. */
static int fix_weight(Fixed *to, const float *weight, Py_ssize_t rows, Py_ssize_t depth)
{
    Py_ssize_t steps = steps_of(depth), filled = (rows + BLOCK - 1) / BLOCK * BLOCK;
    *to = (Fixed){rows, depth, malloc((size_t)(filled * depth) * sizeof(int16_t)),
                  malloc((size_t)(filled * steps) * sizeof(float))};
    if (!to->codes || !to->factors) return -1;
    memset(to->codes + (filled - BLOCK) * depth, 0, (size_t)(BLOCK * depth) * sizeof(int16_t));
    memset(to->factors + (filled - BLOCK) * steps, 0, (size_t)(BLOCK * steps) * sizeof(float));
    for (Py_ssize_t r = 0; r < rows; r++) {
        Py_ssize_t first = r / BLOCK * BLOCK, in = r % BLOCK;
        if (!fix_row(to->codes + first * depth + 2 * in, to->factors + first * steps + in,
                     weight + r * depth, depth))
            return 1;
    }
    return 0;
}
#else
static const FixedKind *fixed_kind(const Kind *kind) { return (void)kind, NULL; }
#endif
