/* One layer of a BERT-like encoder over a text's panels. Devlin et al. 2019 (arXiv:1810.04805). */

typedef struct {
    const float *weight, *bias; /* (rows, depth), (rows,); of a norm: (depth,), (depth,) */
    Py_ssize_t rows;
} Part;

enum { QUERY, KEY, VALUE, MIXED, NORM1, UP, DOWN, NORM2, PARTS };

/* Every panel through one matrix. `scratch`: for tiles; NULL without. */
static void all_block(
    const Kind *kind, void *scratch, float *out, const float *in, const Packed *packed,
    Py_ssize_t depth, Part part, const float *residual, int gelu)
{
#if defined(HAS_TILES)
    if (scratch && tiles_pay(kind, packed, depth) && part.rows % TILE_ROWS == 0) {
        tiles_block(scratch, out, in, packed, depth, part.weight, part.bias, part.rows, residual,
                    gelu);
        return;
    }
#endif
    Py_ssize_t rows = kind->rows, chunk = CHUNK / (Py_ssize_t)sizeof(float) / depth / rows * rows;
    chunk = chunk < rows ? rows : chunk;
    for (Py_ssize_t first = 0; first < part.rows; first += chunk)
        for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
            const Panel *panel = &packed->panels[p];
            for (Py_ssize_t row = first; row < first + chunk && row < part.rows; row += rows) {
                Py_ssize_t r = row + rows > part.rows ? part.rows - rows : row;
                Py_ssize_t at = panel->at * part.rows + r * panel->count * kind->lanes;
                kind->block(out + at, in + panel->at * depth, part.weight + r * depth,
                            part.bias + r, residual ? residual + at : NULL, depth, panel->count,
                            p == 0, gelu);
            }
        }
}

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

/* softmax(Q K' / sqrt(width)) V for every head of one text; keys (tokens + rows, width), values
   (width + rows, tokens), scores (tokens + rows, 2 * lanes), mixed (width + rows, 2 * lanes) and
   queries (width, 2 * lanes) are scratch. */
static void attend(
    const Kind *kind, float *out, const float *query, const float *key, const float *value,
    const Packed *packed, const Text *text, int heads, float *scratch)
{
    Py_ssize_t depth = packed->depth, tokens = text->tokens, last = text->first + tokens;
    Py_ssize_t width = depth / heads, rows = kind->rows, step = packed->step;
    float *scores = scratch, *mixed = scores + (tokens + rows) * step;
    float *queries = mixed + (width + rows) * step;
    float *keys = queries + width * step, *values = keys + (tokens + rows) * width;
    memset(keys + tokens * width, 0, (size_t)(rows * width) * sizeof(float));
    memset(values + width * tokens, 0, (size_t)(rows * tokens) * sizeof(float));
    for (int head = 0; head < heads; head++) {
        gather_rows(keys, key, packed, text, head, width);
        gather(values, tokens, value, packed, text->first, last, head, width);
        for (Py_ssize_t token = text->first; token < last; token += step) {
            Py_ssize_t end = token + step < last ? token + step : last;
            int count = end - token > kind->lanes ? 2 : 1;
            Py_ssize_t wide = count * kind->lanes;
            if (end - token < wide) memset(queries, 0, (size_t)(width * wide) * sizeof(float));
            gather(queries, wide, query, packed, token, end, head, width);
            for (Py_ssize_t row = 0; row < tokens; row += rows)
                kind->block(scores + row * wide, queries, keys + row * width, NULL, NULL, width,
                            count, 0, 0);
            kind->softmax(scores, tokens, count, 1.0f / sqrtf((float)width));
            for (Py_ssize_t row = 0; row < width; row += rows)
                kind->block(mixed + row * wide, scores, values + row * tokens, NULL, NULL, tokens,
                            count, 0, 0);
            scatter(out, mixed, wide, packed, token, end, head, width);
        }
    }
}

static void all_normalise(const Kind *kind, float *numbers, const Packed *packed, Part norm,
                          float eps)
{
    for (Py_ssize_t p = 0; p < packed->panels_count; p++)
        kind->normalise(numbers + packed->panels[p].at * packed->depth, norm.weight, norm.bias,
                        packed->depth, packed->panels[p].count, eps);
}

/* Memory that all layers use: what is between two matrices, and what tiles split. */
typedef struct {
    float *between;
    void *tiles; /* NULL without */
} Scratch;

static Py_ssize_t between_size(const Packed *packed, Py_ssize_t wide)
{
    Py_ssize_t inner = wide > 3 * packed->depth ? wide : 3 * packed->depth;
    return packed->lanes * (inner + packed->depth);
}

/* Scratch for layers `wide` at their widest; 0, or -1 for want of memory. */
static int make_scratch(Scratch *scratch, const Kind *kind, const Packed *packed, Py_ssize_t wide,
                        int heads)
{
    Py_ssize_t longest = packed->longest, width = packed->depth / heads, step = packed->step;
    Py_ssize_t attention = (longest + 2 * width + 2 * kind->rows) * step +
                           (longest + kind->rows) * width + (width + kind->rows) * longest;
    *scratch = (Scratch){borrowed_numbers(between_size(packed, wide) + attention), NULL};
#if defined(HAS_TILES)
    if (scratch->between && kind->tiles && packed->shortest >= LONG) {
        Py_ssize_t depth = wide > packed->depth ? wide : packed->depth;
        scratch->tiles = borrowed_numbers(tile_size(packed->lanes, depth) / 2);
        if (scratch->tiles) tiles_begin();
    }
#endif
    return scratch->between ? 0 : -1;
}

static void free_scratch(Scratch *scratch)
{
#if defined(HAS_TILES)
    if (scratch->tiles) tiles_end();
#endif
    give_back(scratch->tiles);
    give_back(scratch->between);
}

/* The texts become the layer's output. */
static void apply_layer(const Kind *kind, Packed *packed, const Scratch *scratch, const Part *parts,
                        int heads, float eps)
{
    Py_ssize_t depth = packed->depth, wide = parts[UP].rows, all = packed->lanes * depth;
    void *tiles = scratch->tiles;
    float *q = scratch->between, *k = q + all, *v = k + all, *x = packed->numbers;
    float *mixed = q + between_size(packed, wide) - all, *attention = mixed + all;
    all_block(kind, tiles, q, x, packed, depth, parts[QUERY], NULL, 0);
    all_block(kind, tiles, k, x, packed, depth, parts[KEY], NULL, 0);
    all_block(kind, tiles, v, x, packed, depth, parts[VALUE], NULL, 0);
    for (Py_ssize_t t = 0; t < packed->texts_count; t++)
        attend(kind, mixed, q, k, v, packed, &packed->texts[t], heads, attention);
    all_block(kind, tiles, q, mixed, packed, depth, parts[MIXED], x, 0);
    all_normalise(kind, q, packed, parts[NORM1], eps);
    memcpy(mixed, q, (size_t)all * sizeof(float));
    all_block(kind, tiles, q, mixed, packed, depth, parts[UP], NULL, 1);
    all_block(kind, tiles, x, q, packed, wide, parts[DOWN], mixed, 0);
    all_normalise(kind, x, packed, parts[NORM2], eps);
}
