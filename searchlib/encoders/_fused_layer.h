/* One layer of a BERT-like encoder over a text's panels. Devlin et al. 2019 (arXiv:1810.04805). */

typedef struct {
    const float *weight, *bias; /* (rows, depth), (rows,); of a norm: (depth,), (depth,) */
    Py_ssize_t rows;
} Part;

enum { QUERY, KEY, VALUE, MIXED, NORM1, UP, DOWN, NORM2, PARTS };

/* Rows of a weight that stay in a core's cache while panels pass. */
static Py_ssize_t rows_in_chunk(const Kind *kind, const Packed *packed, Py_ssize_t depth)
{
    if (packed->panels_count == 1) return SOME_BLOCKS * kind->rows;
    Py_ssize_t rows = CHUNK / (Py_ssize_t)sizeof(float) / depth / kind->rows * kind->rows;
    return rows < kind->rows ? kind->rows : rows;
}

/* Whether tiles multiply a matrix, which they do in one go. `scratch`: theirs; NULL without. */
static int by_tiles(const Kind *kind, const void *scratch, const Packed *packed, Py_ssize_t depth,
                    Part part)
{
#if defined(HAS_TILES)
    return scratch && tiles_pay(kind, packed, depth) && part.rows % TILE_ROWS == 0;
#else
    (void)kind, (void)scratch, (void)packed, (void)depth, (void)part;
    return 0;
#endif
}

/* Chunks of a matrix; the last one has a whole block at least, and less than one beyond its size:
   no two chunks write the same rows. */
static Py_ssize_t chunks_of(const Kind *kind, const void *scratch, const Packed *packed,
                            Py_ssize_t depth, Part part)
{
    Py_ssize_t count = (part.rows - kind->rows) / rows_in_chunk(kind, packed, depth) + 1;
    return by_tiles(kind, scratch, packed, depth, part) ? 1 : count;
}

/* Every panel through one chunk of a matrix. */
static void block_chunk(
    const Kind *kind, void *scratch, float *out, const float *in, const Packed *packed,
    Py_ssize_t depth, Part part, const float *residual, int gelu, Py_ssize_t which)
{
#if defined(HAS_TILES)
    if (by_tiles(kind, scratch, packed, depth, part)) {
        tiles_block(scratch, out, in, packed, depth, part.weight, part.bias, part.rows, residual,
                    gelu);
        return;
    }
#endif
    Py_ssize_t rows = kind->rows, chunk = rows_in_chunk(kind, packed, depth), first = which * chunk;
    int last = which + 1 == chunks_of(kind, scratch, packed, depth, part);
    Py_ssize_t end = last ? part.rows : first + chunk;
    if (packed->panels_count == 1) {
        int count = packed->panels[0].count;
        Py_ssize_t at = first * count * kind->lanes;
        multiply_apart(kind, out + at, in, part.weight + first * depth, part.bias + first,
                       residual ? residual + at : NULL, depth, count, end - first, gelu);
        return;
    }
    for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
        const Panel *panel = &packed->panels[p];
        for (Py_ssize_t row = first; row < end; row += rows) {
            Py_ssize_t r = row + rows > end ? end - rows : row;
            Py_ssize_t at = panel->at * part.rows + r * panel->count * kind->lanes;
            kind->block(out + at, in + panel->at * depth, part.weight + r * depth, part.bias + r,
                        residual ? residual + at : NULL, depth, panel->count, 1,
                        p ? 0 : 2 * rows * depth, gelu);
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

static void normalise_panel(const Kind *kind, float *numbers, const Packed *packed, Py_ssize_t which,
                            Part norm, float eps)
{
    const Panel *panel = &packed->panels[which];
    kind->normalise(numbers + panel->at * packed->depth, norm.weight, norm.bias, packed->depth,
                    panel->count, eps);
}

/* Memory that all layers use: what is between two matrices, what each worker needs for attention,
   and what tiles split. */
typedef struct {
    float *between, *attention;
    Py_ssize_t each; /* numbers of attention that are one worker's */
    void *tiles;     /* NULL without */
} Scratch;

static Py_ssize_t between_size(const Packed *packed, Py_ssize_t wide)
{
    Py_ssize_t inner = wide > 3 * packed->depth ? wide : 3 * packed->depth;
    return packed->lanes * (inner + packed->depth);
}

/* Scratch for layers `wide` at their widest; 0, or -1 for want of memory. */
static int make_scratch(Scratch *scratch, const Kind *kind, const Packed *packed, Py_ssize_t wide,
                        int heads, int workers)
{
    Py_ssize_t longest = packed->longest, width = packed->depth / heads, step = packed->step;
    Py_ssize_t each = (longest + 2 * width + 2 * kind->rows) * step +
                      (longest + kind->rows) * width + (width + kind->rows) * longest;
    Py_ssize_t between = between_size(packed, wide);
    each = (each + 15) / 16 * 16;
    *scratch = (Scratch){borrowed_numbers(between + workers * each), NULL, each, NULL};
    if (!scratch->between) return -1;
    scratch->attention = scratch->between + between;
#if defined(HAS_TILES)
    if (kind->tiles && packed->shortest >= LONG) {
        Py_ssize_t depth = wide > packed->depth ? wide : packed->depth;
        scratch->tiles = borrowed_numbers(tile_size(packed->lanes, depth) / 2);
        if (scratch->tiles) tiles_begin();
    }
#endif
    return 0;
}

static void free_scratch(Scratch *scratch)
{
#if defined(HAS_TILES)
    if (scratch->tiles) tiles_end();
#endif
    return_numbers(scratch->tiles);
    return_numbers(scratch->between);
}

/* Texts that go through layers, which become each layer's output. */
typedef struct {
    const Kind *kind;
    Packed *packed;
    Scratch scratch;
    const Part *parts; /* PARTS a layer */
    int heads;
    float eps;
} Layers;

enum { PROJECT, ATTEND, MIX, NORMALISE, WIDEN, NARROW, FINISH, PHASES }; /* of a layer */

static Py_ssize_t layer_chunks(const void *job, Py_ssize_t phase)
{
    const Layers *all = job;
    const Packed *packed = all->packed;
    const Part *parts = all->parts + phase / PHASES * PARTS;
    static const int matrix[PHASES] = {QUERY, 0, MIXED, 0, UP, DOWN, 0};
    int step = (int)(phase % PHASES);
    if (step == ATTEND) return packed->texts_count * all->heads;
    if (step == NORMALISE || step == FINISH) return packed->panels_count;
    Py_ssize_t depth = step == NARROW ? parts[UP].rows : packed->depth;
    return (step == PROJECT ? 3 : 1) *
           chunks_of(all->kind, all->scratch.tiles, packed, depth, parts[matrix[step]]);
}

static void layer_work(void *job, Py_ssize_t phase, Py_ssize_t chunk, int worker)
{
    const Layers *all = job;
    const Kind *kind = all->kind;
    Packed *packed = all->packed;
    const Part *parts = all->parts + phase / PHASES * PARTS;
    Py_ssize_t depth = packed->depth, wide = parts[UP].rows, size = packed->lanes * depth;
    void *tiles = all->scratch.tiles;
    float *x = packed->numbers, *q = all->scratch.between, *v = q + 2 * size;
    float *mixed = q + between_size(packed, wide) - size;
    switch (phase % PHASES) {
    case PROJECT: {
        Py_ssize_t each = chunks_of(kind, tiles, packed, depth, parts[QUERY]);
        block_chunk(kind, tiles, q + chunk / each * size, x, packed, depth,
                    parts[QUERY + chunk / each], NULL, 0, chunk % each);
        break;
    }
    case ATTEND:
        attend(kind, mixed, q, q + size, v, packed, &packed->texts[chunk / all->heads],
               chunk % all->heads, depth / all->heads,
               all->scratch.attention + worker * all->scratch.each);
        break;
    case MIX:
        block_chunk(kind, tiles, q, mixed, packed, depth, parts[MIXED], x, 0, chunk);
        break;
    case NORMALISE:
        normalise_panel(kind, q, packed, chunk, parts[NORM1], all->eps);
        memcpy(mixed + packed->panels[chunk].at * depth, q + packed->panels[chunk].at * depth,
               (size_t)(packed->panels[chunk].count * kind->lanes * depth) * sizeof(float));
        break;
    case WIDEN:
        block_chunk(kind, tiles, q, mixed, packed, depth, parts[UP], NULL, 1, chunk);
        break;
    case NARROW:
        block_chunk(kind, tiles, x, q, packed, wide, parts[DOWN], mixed, 0, chunk);
        break;
    default:
        normalise_panel(kind, x, packed, chunk, parts[NORM2], all->eps);
    }
}
