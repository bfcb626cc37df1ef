/* Products with ternary codes where a register permutes its lanes by any index.

   Two rows' codes of a column are four bits, and there are sixteen lanes: the sixteen sums that
   two rows can add to a column are made once, and one permutation looks up those of sixteen
   columns. So do lookup kernels for small integers (T-MAC, Wei et al. 2024, arXiv:2407.00088). */

#include <immintrin.h>

#define WIDE_BYTES 64 /* of a row at a time: 256 columns, whose sums stay in sixteen registers */

/* Lane l of sum g is column 16 l + g: where byte 4 l + g / 4 of a block keeps it. */
__attribute__((target("avx512f"))) static void
add_up_wide(float *restrict sums, const float *restrict x, const unsigned char *restrict codes,
            Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t count)
{
    const __m512 first = _mm512_setr_ps(0, 1, -1, 0, 0, 1, -1, 0, 0, 1, -1, 0, 0, 1, -1, 0);
    const __m512 second = _mm512_setr_ps(0, 0, 0, 0, 1, 1, 1, 1, -1, -1, -1, -1, 0, 0, 0, 0);
    const __m512i low = _mm512_set1_epi32(0x33333333);
    unsigned char rest[2][WIDE_BYTES] = {{0}}; /* of the last block, which may be shorter */
    __m512 sum[16];
    for (int g = 0; g < 16; g++) sum[g] = _mm512_setzero_ps();
    for (Py_ssize_t row = 0; row < rows; row += 2) {
        int two = row + 1 < rows;
        const unsigned char *a = codes + row * stride, *b = two ? a + stride : a;
        if (count < WIDE_BYTES) {
            memcpy(rest[0], a, (size_t)count);
            memcpy(rest[1], b, (size_t)count);
            a = rest[0];
            b = rest[1];
        }
        /* the next columns' codes: no processor guesses them, pages away from these of the next row */
        __builtin_prefetch(codes + row * stride + 2 * WIDE_BYTES - 1);
        __builtin_prefetch(codes + (row + two) * stride + 2 * WIDE_BYTES - 1);
        __m512i p = _mm512_loadu_si512(a), q = _mm512_loadu_si512(b);
        __m512 table = _mm512_mul_ps(first, _mm512_set1_ps(x[row]));
        if (two) table = _mm512_fmadd_ps(second, _mm512_set1_ps(x[row + 1]), table);
        __m512i even = _mm512_or_si512(_mm512_and_si512(p, low),
                                       _mm512_slli_epi32(_mm512_and_si512(q, low), 2));
        __m512i odd = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(p, 2), low),
                                      _mm512_andnot_si512(low, q));
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) { /* only the lowest four bits of an index count */
            sum[2 * k] = _mm512_add_ps(
                sum[2 * k], _mm512_permutexvar_ps(_mm512_srli_epi32(even, 4 * k), table));
            sum[2 * k + 1] = _mm512_add_ps(
                sum[2 * k + 1], _mm512_permutexvar_ps(_mm512_srli_epi32(odd, 4 * k), table));
        }
    }
    const __m512i places = _mm512_slli_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 4);
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++) _mm512_i32scatter_ps(sums + g, places, sum[g], 4);
}
