/* Attention of a text's tokens to each other, one head at a time. Vaswani et al. 2017
   (arXiv:1706.03762). */

/* One head's numbers of the tokens `token` ... `end` - 1 to rows `stride` floats apart, one a
   number. */
static void gather(float *to, Py_ssize_t stride, const float *numbers, const Packed *packed,
                   Py_ssize_t token, Py_ssize_t end, Py_ssize_t head, Py_ssize_t width)
{
    Py_ssize_t at, wide, some;
    for (; token < end; token += some, to += some) {
        some = neighbours(packed, packed->depth, token, end, &at, &wide);
        for (Py_ssize_t d = 0; d < width; d++)
            memcpy(to + d * stride, numbers + at + (head * width + d) * wide,
                   (size_t)some * sizeof(float));
    }
}

/* And back. */
static void scatter(float *numbers, const float *from, Py_ssize_t stride, const Packed *packed,
                    Py_ssize_t token, Py_ssize_t end, Py_ssize_t head, Py_ssize_t width)
{
    Py_ssize_t at, wide, some;
    for (; token < end; token += some, from += some) {
        some = neighbours(packed, packed->depth, token, end, &at, &wide);
        for (Py_ssize_t d = 0; d < width; d++)
            memcpy(numbers + at + (head * width + d) * wide, from + d * stride,
                   (size_t)some * sizeof(float));
    }
}

/* One head's numbers of a text's tokens, (tokens, width). */
static void gather_rows(float *to, const float *numbers, const Packed *packed, const Text *text,
                        Py_ssize_t head, Py_ssize_t width)
{
    Py_ssize_t at, wide, some, end = text->first + text->tokens;
    for (Py_ssize_t token = text->first; token < end; token += some, to += some * width) {
        some = neighbours(packed, packed->depth, token, end, &at, &wide);
        for (Py_ssize_t d = 0; d < width; d++)
            for (Py_ssize_t t = 0; t < some; t++)
                to[t * width + d] = numbers[at + (head * width + d) * wide + t];
    }
}

/* softmax(Q K' / sqrt(width)) V for one head of one text; keys (tokens + rows, width), values
   (width + rows, tokens), scores (tokens + rows, 2 * lanes), mixed (width + rows, 2 * lanes) and
   queries (width, 2 * lanes) are scratch. */
static void attend(
    const Kind *kind, float *out, const float *query, const float *key, const float *value,
    const Packed *packed, const Text *text, Py_ssize_t head, Py_ssize_t width, float *scratch)
{
    Py_ssize_t tokens = text->tokens, last = text->first + tokens;
    Py_ssize_t rows = kind->rows, step = packed->step;
    float *scores = scratch, *mixed = scores + (tokens + rows) * step;
    float *queries = mixed + (width + rows) * step;
    float *keys = queries + width * step, *values = keys + (tokens + rows) * width;
    memset(keys + tokens * width, 0, (size_t)(rows * width) * sizeof(float));
    memset(values + width * tokens, 0, (size_t)(rows * tokens) * sizeof(float));
    gather_rows(keys, key, packed, text, head, width);
    gather(values, tokens, value, packed, text->first, last, head, width);
    for (Py_ssize_t token = text->first; token < last; token += step) {
        Py_ssize_t end = token + step < last ? token + step : last;
        int count = end - token > kind->lanes ? 2 : 1;
        Py_ssize_t wide = count * kind->lanes;
        if (end - token < wide) memset(queries, 0, (size_t)(width * wide) * sizeof(float));
        gather(queries, wide, query, packed, token, end, head, width);
        for (Py_ssize_t row = 0; row < tokens; row += rows)
            kind->block(scores + row * wide, queries, keys + row * width, NULL, NULL, width, count,
                        1, 0, 0);
        kind->softmax(scores, tokens, count, 1.0f / sqrtf((float)width));
        for (Py_ssize_t row = 0; row < width; row += rows)
            kind->block(mixed + row * wide, scores, values + row * tokens, NULL, NULL, tokens,
                        count, 1, 0, 0);
        scatter(out, mixed, wide, packed, token, end, head, width);
    }
}
