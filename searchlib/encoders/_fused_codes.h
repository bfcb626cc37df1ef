/* Numbers in codes of one byte, and how much these leave out at most.

   A token is s p + r, a row of a weight z q + u; p and q are codes. By Cauchy and Schwarz
     logit / (s z) = p q + (1 / s) (b / z) + (s p) u / (s z) + r w / (s z)
                  <= p q + (1 / s) (b / z) + (|s p| / s) (|u| / z) + (|r| / s) (|w| / z),
   and p q is made of four products an instruction (AVX-512 VNNI). */

#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 7 : __GNUC__ >= 8)
#define HAS_COARSE
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define COARSE_ROWS 12
#define MOST_DEPTH 32768 /* sums of more products might not fit into 32 bits */
#define SMALLEST 1e-15f /* of a row's largest number: squares of smaller ones are none */

static int coarse_here; /* found out when the module is loaded */

/* A weight (rows, depth) in codes q, and of each row -128 times their sum, b / z and |w| / z. */
typedef struct {
    Py_ssize_t rows, depth;
    float left_out; /* the largest |u| / z */
    int32_t *starts;
    float *shift, *norm;
    int8_t *codes;
} Coarse;

/* Those of 16 numbers from `d` on that there are. */
static inline VNNI __mmask16 lanes_from(Py_ssize_t d, Py_ssize_t depth)
{
    return (__mmask16)(depth - d < 16 ? (1u << (depth - d)) - 1 : 0xffff);
}

static void free_coarse(Coarse *coarse)
{
    free(coarse->starts);
    free(coarse->shift);
    free(coarse->norm);
    free(coarse->codes);
    free(coarse);
}

/* One row's codes and numbers; its |u| / z. A row that is no finite number is above 0, to be sure. */
static VNNI float code_row(Coarse *to, Py_ssize_t row, const float *weight, float bias)
{
    int8_t *codes = to->codes + row * to->depth;
    __m512 most = _mm512_setzero_ps(), squares = most, rest = most;
    __m512i sum = _mm512_setzero_si512();
    for (Py_ssize_t d = 0; d < to->depth; d += 16) {
        __m512 x = _mm512_maskz_loadu_ps(lanes_from(d, to->depth), weight + d);
        most = _mm512_max_ps(_mm512_abs_ps(x), most);
        squares = _mm512_fmadd_ps(x, x, squares);
    }
    float largest = _mm512_reduce_max_ps(most), square = _mm512_reduce_add_ps(squares);
    float scale = largest > SMALLEST ? largest / 127 : 1;
    int good = square < INFINITY;
    for (Py_ssize_t d = 0; good && d < to->depth; d += 16) {
        __mmask16 here = lanes_from(d, to->depth);
        __m512 x = _mm512_maskz_loadu_ps(here, weight + d), by = _mm512_set1_ps(scale);
        __m512i code = _mm512_cvtps_epi32(_mm512_div_ps(x, by));
        __m512 left = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(code), by, x);
        rest = _mm512_fmadd_ps(left, left, rest);
        sum = _mm512_add_epi32(sum, code);
        _mm512_mask_cvtepi32_storeu_epi8(codes + d, here, code);
    }
    to->starts[row] = -128 * _mm512_reduce_add_epi32(sum);
    to->norm[row] = good ? sqrtf(square) / scale : 0;
    to->shift[row] = good ? (bias + 1e-6f * fabsf(bias)) / scale : INFINITY;
    return sqrtf(_mm512_reduce_add_ps(rest)) / scale;
}

/* NULL for want of memory. `depth`: a multiple of 4. */
static Coarse *new_coarse(const float *weight, const float *bias, Py_ssize_t rows, Py_ssize_t depth)
{
    Coarse *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    size_t count = (size_t)rows;
    *made = (Coarse){.rows = rows, .depth = depth, .starts = malloc(count * sizeof(int32_t)),
                     .shift = malloc(count * sizeof(float)), .norm = malloc(count * sizeof(float)),
                     .codes = calloc(count, (size_t)depth)};
    if (!made->starts || !made->shift || !made->norm || !made->codes) {
        free_coarse(made);
        return NULL;
    }
    for (Py_ssize_t row = 0; row < rows; row++) {
        float left_out = code_row(made, row, weight + row * depth, bias[row]);
        made->left_out = left_out > made->left_out ? left_out : made->left_out;
    }
    return made;
}

/* Of the 16 or 32 tokens of a panel 1 / s, (|s p| / s) times the largest |u| / z, and |r| / s. */
typedef struct {
    float inverse[2 * MOST_LANES], margin[2 * MOST_LANES], rest[2 * MOST_LANES];
} Tokens;

/* A panel (depth, count * 16) in codes p + 128, (depth / 4, count * 16, 4). */
static VNNI void code_panel(const float *panel, Py_ssize_t depth, int count, float left_out,
                            uint8_t *coded, Tokens *to)
{
    for (int i = 0; i < count; i++) {
        const __m512 *from = (const __m512 *)panel + i;
        __m512i *codes = (__m512i *)coded + i;
        __m512 most = _mm512_setzero_ps(), squares = most, rest = most;
        for (Py_ssize_t d = 0; d < depth; d++) {
            most = _mm512_max_ps(_mm512_abs_ps(from[d * count]), most);
            squares = _mm512_fmadd_ps(from[d * count], from[d * count], squares);
        }
        /* tokens that are no numbers, or next to nothing, have every logit computed */
        __mmask16 good = _mm512_cmp_ps_mask(most, _mm512_set1_ps(SMALLEST), _CMP_GT_OQ) &
                         _mm512_cmp_ps_mask(squares, _mm512_set1_ps(INFINITY), _CMP_LT_OQ);
        __m512 one = _mm512_set1_ps(1), scale = _mm512_mask_mul_ps(one, good, most,
                                                                    _mm512_set1_ps(1.0f / 127));
        __m512 inverse = _mm512_div_ps(one, scale);
        for (Py_ssize_t d = 0; d < depth; d += 4) {
            __m512i four = _mm512_setzero_si512();
            for (int j = 0; j < 4; j++) {
                __m512 x = _mm512_maskz_mov_ps(good, from[(d + j) * count]);
                __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
                __m512 left = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(code), scale, x);
                rest = _mm512_fmadd_ps(left, left, rest);
                code = _mm512_add_epi32(code, _mm512_set1_epi32(128));
                four = _mm512_or_si512(four, _mm512_slli_epi32(code, (unsigned)(8 * j)));
            }
            codes[d / 4 * count] = four;
        }
        rest = _mm512_sqrt_ps(rest);
        __m512 norm = _mm512_sqrt_ps(squares), most_coded = _mm512_add_ps(norm, rest);
        /* besides: what float32 rounds off in a product of this depth, and in the bound itself */
        __m512 margin = _mm512_mul_ps(_mm512_mul_ps(most_coded, inverse),
                                      _mm512_set1_ps(1.001f * left_out));
        margin = _mm512_add_ps(margin, _mm512_set1_ps(1 + (float)depth / 256));
        margin = _mm512_mask_mov_ps(_mm512_set1_ps(INFINITY), good, margin);
        rest = _mm512_fmadd_ps(norm, _mm512_set1_ps((float)depth * 0x1p-22f), rest);
        rest = _mm512_mul_ps(_mm512_mul_ps(rest, inverse), _mm512_set1_ps(1.001f));
        _mm512_storeu_ps(to->inverse + 16 * i, inverse);
        _mm512_storeu_ps(to->margin + 16 * i, margin);
        _mm512_storeu_ps(to->rest + 16 * i, _mm512_maskz_mov_ps(good, rest));
    }
}
#endif
