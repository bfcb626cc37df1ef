/* Products of whole numbers of 16 bits, for one kind of processor.

   Included once a kind, with TARGET, LANES, ROWS, NAME(x) and ADD_PAIRS(sums, pairs, weight)
   defined, after `_fused_kernel.h` was with the same lanes. Panels are those of `_fused_kernel.h`,
   in codes (depth / 2, count * LANES, 2), and factors (steps, count * LANES). */

/* A panel (depth, count * LANES) in codes and factors. */
static TARGET void NAME(fix_panel)(const float *panel, Py_ssize_t depth, int count, int16_t *codes,
                                   float *factors)
{
    for (int i = 0; i < count; i++) {
        const NAME(vec) *from = (const NAME(vec) *)panel + i;
        NAME(bits) *to = (NAME(bits) *)codes + i;
        NAME(vec) *factor = (NAME(vec) *)factors + i;
        for (Py_ssize_t start = 0; start < depth; start += STEP, factor += count) {
            Py_ssize_t end = start + STEP < depth ? start + STEP : depth;
            NAME(vec) most = {0}, squares = {0}, norm;
            for (Py_ssize_t d = start; d < end; d++) {
                NAME(vec) x = from[d * count];
                squares += x * x;
                most = NAME(larger)(NAME(larger)(x, -x), most);
            }
            for (int lane = 0; lane < LANES; lane++) norm[lane] = sqrtf(squares[lane]);
            NAME(vec) found = NAME(larger)(norm / NORM, most / LARGEST_CODE);
            NAME(bits) some = squares > LEAST, good = squares < INFINITY;
            NAME(vec) by = (NAME(vec))((NAME(bits))(1.0f / found) & some & good);
            *factor = (NAME(vec))(((NAME(bits))found & some) | (QUIET_NAN & ~good));
            for (Py_ssize_t d = start; d < end; d += 2) {
                NAME(vec) first = from[d * count] * by + ROUNDS;
                NAME(vec) second = from[(d + 1) * count] * by + ROUNDS;
                to[d / 2 * count] =
                    ((NAME(bits))first & 0xffff) | (NAME(bits))((NAME(bits))second << 16);
            }
        }
    }
}

/* totals (ROWS, count * LANES): products of rows `of` ... of a block with a panel. */
static inline __attribute__((always_inline)) TARGET void NAME(fixed_products)(
    NAME(vec) totals[ROWS][2], const int16_t *panel, const float *token_factors,
    const int16_t *codes, const float *factors, Py_ssize_t depth, int count, int of)
{
    const NAME(bits) *tokens = (const NAME(bits) *)panel;
    const NAME(vec) *token_factor = (const NAME(vec) *)token_factors;
    const char *pairs = (const char *)(codes + 2 * of);
    factors += of;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < count; i++) totals[r][i] = (NAME(vec)){0};
    for (; depth > 0; depth -= STEP, factors += BLOCK, token_factor += count) {
        NAME(bits) sums[ROWS][2]; /* in registers: all loops over them are unrolled */
        int left = (int)(depth < STEP ? depth : STEP) / 2;
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < count; i++) sums[r][i] = (NAME(bits)){0};
        for (; left; left--, tokens += count, pairs += BLOCK * 4) {
            __builtin_prefetch(pairs + FETCHED);
#pragma GCC unroll 12
            for (int r = 0; r < ROWS; r++) {
                int32_t pair;
                memcpy(&pair, pairs + 4 * r, sizeof pair);
                NAME(bits) weight = (NAME(bits)){0} + pair;
                for (int i = 0; i < count; i++) ADD_PAIRS(sums[r][i], tokens[i], weight);
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < count; i++)
                totals[r][i] +=
                    __builtin_convertvector(sums[r][i], NAME(vec)) * factors[r] * token_factor[i];
    }
}

/* out (rows, count * LANES): a block's first `rows` products, then plus bias (rows,), gelu, plus a
   residual like out. */
static TARGET void NAME(fixed_block)(
    float *out, const int16_t *panel, const float *token_factors, const int16_t *codes,
    const float *factors, const float *bias, const float *residual, Py_ssize_t depth, int count,
    int rows, int gelu)
{
    for (int of = 0; of < rows; of += ROWS) {
        NAME(vec) totals[ROWS][2], *to = (NAME(vec) *)out + of * count;
        const NAME(vec) *more = (const NAME(vec) *)residual + of * count;
        if (count == 2)
            NAME(fixed_products)(totals, panel, token_factors, codes, factors, depth, 2, of);
        else
            NAME(fixed_products)(totals, panel, token_factors, codes, factors, depth, 1, of);
        for (int r = 0; r < ROWS && of + r < rows; r++)
            for (int i = 0; i < count; i++) {
                NAME(vec) x = totals[r][i] + bias[of + r];
                if (gelu) x = NAME(gelu)(x);
                if (residual) x += more[r * count + i];
                to[r * count + i] = x;
            }
    }
}
