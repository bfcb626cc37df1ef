/* Products of ROWS rows of a weight matrix with a panel of tokens, for one kind of processor.

   Included once a kind, with TARGET, LANES (floats a register), ROWS and NAME(x) defined, and
   LARGER(a, b) and LARGEST(a) where there are instructions for them. A panel
   holds `count` (1 or 2) * LANES tokens, one a lane: (depth, count * LANES) floats, aligned. So a
   weight is read from where it lies and spread over the lanes: the matrix may be a mapped file.
   `apart`: rows of the matrix from one of a block's rows to the next one. `ahead`: these weights
   come from memory, not from a cache, so those so many floats further on are asked for; 0: none. */

typedef float NAME(vec) __attribute__((vector_size(LANES * 4)));
typedef int NAME(bits) __attribute__((vector_size(LANES * 4)));

/* Of each lane the larger, b where one is not a number. */
static inline __attribute__((always_inline)) TARGET NAME(vec) NAME(larger)(
    NAME(vec) a, NAME(vec) b)
{
#if defined(LARGER)
    return LARGER(a, b);
#else
    NAME(bits) first = a > b;
    return (NAME(vec))((first & (NAME(bits))a) | (~first & (NAME(bits))b));
#endif
}

static inline __attribute__((always_inline)) TARGET void NAME(products)(
    NAME(vec) sums[ROWS][2], const float *panel, const float *weight, Py_ssize_t depth, int count,
    Py_ssize_t apart, Py_ssize_t ahead)
{
    Py_ssize_t row = apart * depth;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < count; i++) sums[r][i] = (NAME(vec)){0};
    for (Py_ssize_t d = 0; d < depth; d++) {
        NAME(vec) tokens[2];
        if (ahead && d % 16 == 0)
            for (int r = 0; r < ROWS; r++)
                __builtin_prefetch(weight + r * row + d + ahead);
        for (int i = 0; i < count; i++)
            tokens[i] = ((const NAME(vec) *)panel)[d * count + i];
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < count; i++) sums[r][i] += weight[r * row + d] * tokens[i];
    }
}

/* best (rows, LANES): each lane's largest so far; found (rows, count * LANES): more of them, of
   which those in the places from ... to - 1 count. */
static TARGET void NAME(larger_in)(
    float *best, const float *found, Py_ssize_t rows, int count, Py_ssize_t from, Py_ssize_t to)
{
    const NAME(vec) *more = (const NAME(vec) *)found, none = (NAME(vec)){0} - INFINITY;
    NAME(vec) *old = (NAME(vec) *)best;
    NAME(bits) here[2];
    if (from == 0 && to == count * LANES) {
        for (Py_ssize_t r = 0; r < rows; r++)
            for (int i = 0; i < count; i++) old[r] = NAME(larger)(more[r * count + i], old[r]);
        return;
    }
    for (int i = 0; i < count * LANES; i++) here[i / LANES][i % LANES] = i >= from && i < to ? -1 : 0;
    for (Py_ssize_t r = 0; r < rows; r++)
        for (int i = 0; i < count; i++) {
            NAME(bits) x = (NAME(bits))more[r * count + i] & here[i];
            old[r] = NAME(larger)((NAME(vec))(x | ((NAME(bits))none & ~here[i])), old[r]);
        }
}

/* out (rows,): the largest of each row of best (rows, LANES), which begins anew. */
static TARGET void NAME(largest)(float *out, float *best, Py_ssize_t rows)
{
    NAME(vec) *old = (NAME(vec) *)best;
    for (Py_ssize_t r = 0; r < rows; r++) {
#if defined(LARGEST)
        out[r] = LARGEST(old[r]);
#else
        out[r] = old[r][0];
        for (int i = 1; i < LANES; i++) out[r] = old[r][i] > out[r] ? old[r][i] : out[r];
#endif
        old[r] = (NAME(vec)){0} - INFINITY;
    }
}

/* out (ROWS, stride): products plus bias (ROWS,), of the panel's first `width` tokens. */
static TARGET void NAME(affine)(
    float *out, Py_ssize_t stride, Py_ssize_t width, const float *panel, const float *weight,
    const float *bias, Py_ssize_t depth, int count, Py_ssize_t ahead)
{
    NAME(vec) sums[ROWS][2];
    if (count == 2) NAME(products)(sums, panel, weight, depth, 2, 1, ahead);
    else NAME(products)(sums, panel, weight, depth, 1, 1, ahead);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < count; i++) sums[r][i] += bias[r];
        memcpy(out + r * stride, sums[r], (size_t)width * sizeof(float));
    }
}

/* 2 to the power of x in -126 ... 126, by a polynomial; relative error below 2e-7. */
static inline __attribute__((always_inline)) TARGET NAME(vec) NAME(power)(NAME(vec) x)
{
    NAME(vec) whole = (x + 12582912.0f) - 12582912.0f, f = x - whole; /* rounded; -0.5 ... 0.5 */
    NAME(vec) p = f * 1.5403530e-4f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    NAME(bits) exponent = __builtin_convertvector(whole, NAME(bits)) + 127;
    return p * (NAME(vec))(exponent << 23);
}

/* x times the normal distribution function; erf as in activations.py. */
static inline __attribute__((always_inline)) TARGET NAME(vec) NAME(gelu)(NAME(vec) x)
{
    NAME(vec) z = x * 0.70710678f, zero = {0};
    z = NAME(larger)(z, zero - 4.0f);
    z = -NAME(larger)(-z, zero - 4.0f);
    NAME(vec) s = z * z;
    NAME(vec) p = s * -2.72614225801306e-10f + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    NAME(vec) q = s * -1.45660718464996e-05f - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return x * 0.5f * (z * p / q + 1.0f);
}

/* out (ROWS, count * LANES): products, then plus bias (ROWS,), gelu, plus a residual like out; the
   rows of all of them as far apart as the weight's. */
static TARGET void NAME(block)(
    float *out, const float *panel, const float *weight, const float *bias, const float *residual,
    Py_ssize_t depth, int count, Py_ssize_t apart, Py_ssize_t ahead, int gelu)
{
    NAME(vec) sums[ROWS][2], *to = (NAME(vec) *)out;
    const NAME(vec) *more = (const NAME(vec) *)residual;
    if (count == 2) NAME(products)(sums, panel, weight, depth, 2, apart, ahead);
    else NAME(products)(sums, panel, weight, depth, 1, apart, ahead);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < count; i++) {
            NAME(vec) x = sums[r][i];
            if (bias) x += bias[r * apart];
            if (gelu) x = NAME(gelu)(x);
            if (more) x += more[r * apart * count + i];
            to[r * apart * count + i] = x;
        }
}

/* Each lane of scores (rows, count * LANES) becomes softmax(scale * it), over the rows. */
static TARGET void NAME(softmax)(float *scores, Py_ssize_t rows, int count, float scale)
{
    for (int i = 0; i < count; i++) {
        NAME(vec) *at = (NAME(vec) *)scores + i, most = at[0], sum = {0};
        for (Py_ssize_t r = 1; r < rows; r++) most = NAME(larger)(at[r * count], most);
        for (Py_ssize_t r = 0; r < rows; r++) {
            NAME(vec) x = (at[r * count] - most) * (scale * 1.44269504f);
            x = NAME(power)(NAME(larger)(x, (NAME(vec)){0} - 126.0f));
            at[r * count] = x;
            sum += x;
        }
        NAME(vec) share = 1.0f / sum;
        for (Py_ssize_t r = 0; r < rows; r++) at[r * count] *= share;
    }
}

/* Layer normalisation of a panel's tokens. */
static TARGET void NAME(normalise)(
    float *panel, const float *scale, const float *shift, Py_ssize_t depth, int count, float eps)
{
    for (int i = 0; i < count; i++) {
        NAME(vec) *at = (NAME(vec) *)panel + i, sum = {0}, squares = {0};
        for (Py_ssize_t d = 0; d < depth; d++) sum += at[d * count];
        NAME(vec) mean = sum / (float)depth;
        for (Py_ssize_t d = 0; d < depth; d++) {
            NAME(vec) x = at[d * count] - mean;
            squares += x * x;
        }
        NAME(vec) by = squares / (float)depth + eps;
        for (int lane = 0; lane < LANES; lane++) by[lane] = 1.0f / sqrtf(by[lane]);
        for (Py_ssize_t d = 0; d < depth; d++)
            at[d * count] = (at[d * count] - mean) * by * scale[d] + shift[d];
    }
}
