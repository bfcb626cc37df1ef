/* The inner loops of `_scan.c`, plainly and for the instruction sets of x86.

   The 16 products of a query with a subspace's centroids are 16 bytes, which one shuffle
   instruction looks up for 32 or 64 rows at once. Included once, by `_scan.c`. */

#pragma once

#include <Python.h>
#include <stdint.h>
#include <string.h>

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define X86 1
#include <immintrin.h>
#else
#define X86 0
#endif

#define BLOCK 128  /* rows */
#define AHEAD 8192 /* bytes of codes asked for before they are needed */

/* scores[r] = the sum over p of tables[p][0][low nibble] + tables[p][1][high nibble] of row r's
   byte in line p; bit r of hits says whether it is at least `floor`. */
typedef void Scorer(const uint8_t *codes, const uint8_t *tables, Py_ssize_t pairs, uint16_t floor,
                    uint16_t *scores, uint64_t *hits);
typedef float Product(const float *a, const float *b, Py_ssize_t n);

static void score_plain(const uint8_t *codes, const uint8_t *tables, Py_ssize_t pairs,
                        uint16_t floor, uint16_t *scores, uint64_t *hits)
{
    memset(scores, 0, BLOCK * sizeof *scores);
    for (Py_ssize_t p = 0; p < pairs; p++) {
        const uint8_t *line = codes + p * BLOCK, *table = tables + p * 32;
        for (int z = 0; z < 128; z += 64)
            for (int i = 0; i < 32; i++) {
                uint8_t even = line[z + 2 * i], odd = line[z + 2 * i + 1];
                scores[z + i] += table[even & 15] + table[16 + (even >> 4)];
                scores[z + 32 + i] += table[odd & 15] + table[16 + (odd >> 4)];
            }
    }
    hits[0] = hits[1] = 0;
    for (int r = 0; r < BLOCK; r++)
        hits[r / 64] |= (uint64_t)(scores[r] >= floor) << (r % 64);
}

static float product_plain(const float *a, const float *b, Py_ssize_t n)
{
    float sums[8] = {0}, sum = 0;
    Py_ssize_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            sums[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int j = 0; j < 8; j++)
        sum += sums[j];
    return sum;
}

#if X86
__attribute__((target("avx2"))) static void
score_avx2(const uint8_t *codes, const uint8_t *tables, Py_ssize_t pairs, uint16_t floor,
           uint16_t *scores, uint64_t *hits)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i least = _mm256_set1_epi16((short)floor);
    for (int half = 0; half < 2; half++) {
        const uint8_t *line = codes + 64 * half;
        __m256i even[2], odd[2];
        even[0] = even[1] = odd[0] = odd[1] = _mm256_setzero_si256();
        for (Py_ssize_t p = 0; p < pairs; p++) {
            __m256i low = _mm256_broadcastsi128_si256(
                _mm_loadu_si128((const __m128i *)(tables + 32 * p)));
            __m256i high = _mm256_broadcastsi128_si256(
                _mm_loadu_si128((const __m128i *)(tables + 32 * p + 16)));
            _mm_prefetch((const char *)(line + p * BLOCK + AHEAD), _MM_HINT_T0);
            for (int j = 0; j < 2; j++) {
                __m256i code =
                    _mm256_loadu_si256((const __m256i *)(line + p * BLOCK + 32 * j));
                __m256i sum = _mm256_add_epi8(
                    _mm256_shuffle_epi8(low, _mm256_and_si256(code, nibble)),
                    _mm256_shuffle_epi8(high,
                                        _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble)));
                even[j] = _mm256_add_epi16(even[j], sum);
                odd[j] = _mm256_add_epi16(odd[j], _mm256_srli_epi16(sum, 8));
            }
        }
        hits[half] = 0;
        for (int j = 0; j < 2; j++) {
            /* subtle: `even` has gathered 256 times the odd bytes too, modulo 2**16 */
            __m256i both[2] = {_mm256_sub_epi16(even[j], _mm256_slli_epi16(odd[j], 8)), odd[j]};
            for (int o = 0; o < 2; o++) {
                _mm256_storeu_si256((__m256i *)(scores + 64 * half + 32 * o + 16 * j), both[o]);
                __m256i ge = _mm256_cmpeq_epi16(_mm256_max_epu16(both[o], least), both[o]);
                __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ge),
                                                _mm256_extracti128_si256(ge, 1));
                hits[half] |= (uint64_t)(uint16_t)_mm_movemask_epi8(bytes) << (32 * o + 16 * j);
            }
        }
    }
}

__attribute__((target("avx2,fma"))) static float
product_avx2(const float *a, const float *b, Py_ssize_t n)
{
    __m256 sums[4];
    sums[0] = sums[1] = sums[2] = sums[3] = _mm256_setzero_ps();
    Py_ssize_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int j = 0; j < 4; j++)
            sums[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * j),
                                      _mm256_loadu_ps(b + i + 8 * j), sums[j]);
    float parts[8], sum = 0;
    _mm256_storeu_ps(parts, _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]),
                                          _mm256_add_ps(sums[2], sums[3])));
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int j = 0; j < 8; j++)
        sum += parts[j];
    return sum;
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"))) static void
score_avx512(const uint8_t *codes, const uint8_t *tables, Py_ssize_t pairs, uint16_t floor,
             uint16_t *scores, uint64_t *hits)
{
    const __m512i least = _mm512_set1_epi16((short)floor);
    __m512i even0, even1, odd0, odd1;
    even0 = even1 = odd0 = odd1 = _mm512_setzero_si512();
    for (Py_ssize_t p = 0; p < pairs; p++) {
        const uint8_t *line = codes + p * BLOCK;
        _mm_prefetch((const char *)(line + AHEAD), _MM_HINT_T0);
        _mm_prefetch((const char *)(line + AHEAD + 64), _MM_HINT_T0);
        __m512i low =
            _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(tables + 32 * p)));
        __m512i high =
            _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(tables + 32 * p + 16)));
        __m512i code0 = _mm512_loadu_si512(line), code1 = _mm512_loadu_si512(line + 64);
        /* subtle: vpermb looks at six bits, but the 64 bytes are 16 four times over */
        __m512i sum0 =
            _mm512_add_epi8(_mm512_permutexvar_epi8(code0, low),
                            _mm512_permutexvar_epi8(_mm512_srli_epi16(code0, 4), high));
        __m512i sum1 =
            _mm512_add_epi8(_mm512_permutexvar_epi8(code1, low),
                            _mm512_permutexvar_epi8(_mm512_srli_epi16(code1, 4), high));
        even0 = _mm512_add_epi16(even0, sum0);
        even1 = _mm512_add_epi16(even1, sum1);
        odd0 = _mm512_add_epi16(odd0, _mm512_srli_epi16(sum0, 8));
        odd1 = _mm512_add_epi16(odd1, _mm512_srli_epi16(sum1, 8));
    }
    even0 = _mm512_sub_epi16(even0, _mm512_slli_epi16(odd0, 8));
    even1 = _mm512_sub_epi16(even1, _mm512_slli_epi16(odd1, 8));
    _mm512_storeu_si512(scores, even0);
    _mm512_storeu_si512(scores + 32, odd0);
    _mm512_storeu_si512(scores + 64, even1);
    _mm512_storeu_si512(scores + 96, odd1);
    hits[0] = _mm512_cmpge_epu16_mask(even0, least) |
              (uint64_t)_mm512_cmpge_epu16_mask(odd0, least) << 32;
    hits[1] = _mm512_cmpge_epu16_mask(even1, least) |
              (uint64_t)_mm512_cmpge_epu16_mask(odd1, least) << 32;
}

__attribute__((target("avx512f"))) static float
product_avx512(const float *a, const float *b, Py_ssize_t n)
{
    __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0;
    Py_ssize_t i = 0;
    for (; i + 32 <= n; i += 32) {
        sum0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), sum0);
        sum1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), sum1);
    }
    for (; i < n; i += 16) {
        __mmask16 mask = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        sum0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i),
                               _mm512_maskz_loadu_ps(mask, b + i), sum0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
}
#endif
