/* One layer of a BERT-like encoder over a text's panels. Devlin et al. 2019 (arXiv:1810.04805). */

typedef struct {
    const float *weight, *bias; /* (rows, depth), (rows,); of a norm: (depth,), (depth,) */
    Py_ssize_t rows;
} Part;

enum { QUERY, KEY, VALUE, MIXED, NORM1, UP, DOWN, NORM2, PARTS };

/* `scratch`: for tiles, NULL without. */
static void all_block(
    const Kind *kind, void *scratch, float *out, const float *in, Py_ssize_t tokens,
    Py_ssize_t depth, Part part, const float *residual, int gelu)
{
#if defined(HAS_TILES)
    if (scratch && depth % TILE_DEPTH == 0 && part.rows % TILE_ROWS == 0) {
        tiles_block(scratch, out, in, tokens, depth, part.weight, part.bias, part.rows, residual,
                    gelu);
        return;
    }
#endif
    Py_ssize_t rows = kind->rows, chunk = CHUNK / (Py_ssize_t)sizeof(float) / depth / rows * rows;
    chunk = chunk < rows ? rows : chunk;
    for (Py_ssize_t first = 0; first < part.rows; first += chunk)
        for (Py_ssize_t start = 0; start < tokens; start += 2 * kind->lanes) {
            int count = panel_count(kind, tokens - start);
            for (Py_ssize_t row = first; row < first + chunk && row < part.rows; row += rows) {
                Py_ssize_t r = row + rows > part.rows ? part.rows - rows : row;
                Py_ssize_t at = start * part.rows + r * count * kind->lanes;
                kind->block(out + at, in + start * depth, part.weight + r * depth, part.bias + r,
                            residual ? residual + at : NULL, depth, count, start == 0, gelu);
            }
        }
}

/* softmax(Q K' / sqrt(width)) V for every head; keys (tokens + rows, width), values (width + rows,
   tokens), scores (tokens + rows, 2 * lanes), mixed (width + rows, 2 * lanes) are scratch. */
static void attend(
    const Kind *kind, float *out, const float *query, const float *key, const float *value,
    Py_ssize_t tokens, Py_ssize_t depth, int heads, float *scratch)
{
    Py_ssize_t width = depth / heads, rows = kind->rows, step = 2 * kind->lanes;
    float *scores = scratch, *mixed = scores + (tokens + rows) * step;
    float *keys = mixed + (width + rows) * step, *values = keys + (tokens + rows) * width;
    memset(keys + tokens * width, 0, (size_t)(rows * width) * sizeof(float));
    memset(values + width * tokens, 0, (size_t)(rows * tokens) * sizeof(float));
    for (int head = 0; head < heads; head++) {
        for (Py_ssize_t start = 0; start < tokens; start += step) {
            Py_ssize_t wide = panel_count(kind, tokens - start) * kind->lanes;
            Py_ssize_t at = start * depth + head * width * wide;
            Py_ssize_t real = tokens - start < wide ? tokens - start : wide;
            for (Py_ssize_t d = 0; d < width; d++) {
                for (Py_ssize_t t = 0; t < real; t++)
                    keys[(start + t) * width + d] = key[at + d * wide + t];
                memcpy(values + d * tokens + start, value + at + d * wide,
                       (size_t)real * sizeof(float));
            }
        }
        for (Py_ssize_t start = 0; start < tokens; start += step) {
            int count = panel_count(kind, tokens - start);
            Py_ssize_t wide = count * kind->lanes, at = start * depth + head * width * wide;
            for (Py_ssize_t row = 0; row < tokens; row += rows)
                kind->block(scores + row * wide, query + at, keys + row * width, NULL, NULL, width,
                            count, 0, 0);
            kind->softmax(scores, tokens, count, 1.0f / sqrtf((float)width));
            for (Py_ssize_t row = 0; row < width; row += rows)
                kind->block(mixed + row * wide, scores, values + row * tokens, NULL, NULL, tokens,
                            count, 0, 0);
            memcpy(out + at, mixed, (size_t)(width * wide) * sizeof(float));
        }
    }
}

/* Memory for the largest product of a layer, where tiles make it; the thread is set up for them. */
static void *scratch_for_tiles(const Kind *kind, Py_ssize_t tokens, Py_ssize_t depth)
{
    void *scratch = NULL;
#if defined(HAS_TILES)
    if (kind->tiles && tokens >= TILE_TOKENS)
        scratch = aligned_alloc(64, (tile_size(tokens, depth) * sizeof(Half) + 63) / 64 * 64);
    if (scratch) tiles_begin();
#else
    (void)kind, (void)tokens, (void)depth;
#endif
    return scratch;
}

/* `text` becomes the layer's output; 0, or -1 for want of memory. */
static int apply_layer(const Kind *kind, Packed *text, const Part *parts, int heads, float eps)
{
    Py_ssize_t tokens = text->tokens, depth = text->depth, step = 2 * kind->lanes;
    Py_ssize_t padded = (tokens + step - 1) / step * step, wide = parts[UP].rows;
    Py_ssize_t width = depth / heads, inner = wide > 3 * depth ? wide : 3 * depth;
    Py_ssize_t scratch = (tokens + width + 2 * kind->rows) * step + (tokens + kind->rows) * width +
                         (width + kind->rows) * tokens;
    Py_ssize_t size = padded * (inner + depth) + scratch;
    void *memory = malloc((size_t)size * sizeof(float) + 64);
    if (!memory) return -1;
    void *tiles = scratch_for_tiles(kind, tokens, wide > depth ? wide : depth);
    float *q = (float *)(((uintptr_t)memory + 63) / 64 * 64), *k = q + padded * depth;
    float *v = k + padded * depth, *mixed = q + padded * inner, *x = text->panels;
    all_block(kind, tiles, q, x, tokens, depth, parts[QUERY], NULL, 0);
    all_block(kind, tiles, k, x, tokens, depth, parts[KEY], NULL, 0);
    all_block(kind, tiles, v, x, tokens, depth, parts[VALUE], NULL, 0);
    attend(kind, mixed, q, k, v, tokens, depth, heads, mixed + padded * depth);
    all_block(kind, tiles, q, mixed, tokens, depth, parts[MIXED], x, 0);
    for (Py_ssize_t start = 0; start < tokens; start += step)
        kind->normalise(q + start * depth, parts[NORM1].weight, parts[NORM1].bias, depth,
                        panel_count(kind, tokens - start), eps);
    memcpy(mixed, q, (size_t)(padded * depth) * sizeof(float));
    all_block(kind, tiles, q, mixed, tokens, depth, parts[UP], NULL, 1);
    all_block(kind, tiles, x, q, tokens, wide, parts[DOWN], mixed, 0);
    for (Py_ssize_t start = 0; start < tokens; start += step)
        kind->normalise(x + start * depth, parts[NORM2].weight, parts[NORM2].bias, depth,
                        panel_count(kind, tokens - start), eps);
#if defined(HAS_TILES)
    if (tiles) tiles_end();
#endif
    free(tiles);
    free(memory);
    return 0;
}
