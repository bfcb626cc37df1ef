/* Layers of a BERT-like encoder over texts' panels. Devlin et al. 2019 (arXiv:1810.04805). */

typedef struct {
    const float *weight, *bias; /* (rows, depth), (rows,); of a norm: (depth,), (depth,) */
    Py_ssize_t rows;
    const Fixed *fixed; /* the weight in whole numbers; NULL without */
} Part;

enum { QUERY, KEY, VALUE, MIXED, NORM1, UP, DOWN, NORM2, PARTS };

/* Rows of a weight that stay in a core's cache while panels pass. */
static Py_ssize_t rows_in_chunk(const Kind *kind, const Packed *packed, Py_ssize_t depth, Part part)
{
    Py_ssize_t block = part.fixed ? BLOCK : kind->rows;
    if (packed->panels_count == 1) return SOME_BLOCKS * block;
    size_t bytes = (size_t)depth * (part.fixed ? sizeof(int16_t) : sizeof(float));
    Py_ssize_t rows = CHUNK / (Py_ssize_t)bytes / block * block;
    return rows < block ? block : rows;
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

/* Chunks of a matrix; the last one of floats has a whole block at least, and less than one beyond
   its size: no two chunks write the same rows. */
static Py_ssize_t chunks_of(const Kind *kind, const void *scratch, const Packed *packed,
                            Py_ssize_t depth, Part part)
{
    Py_ssize_t least = part.fixed ? 1 : kind->rows;
    Py_ssize_t count = (part.rows - least) / rows_in_chunk(kind, packed, depth, part) + 1;
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
    Py_ssize_t rows = kind->rows, chunk = rows_in_chunk(kind, packed, depth, part), first = which * chunk;
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

/* The same of panels in whole numbers: `codes`, `factors`. */
static void fixed_chunk(
    const Kind *kind, const FixedKind *fixed, float *out, const int16_t *codes,
    const float *factors, const Packed *packed, Py_ssize_t depth, Part part, const float *residual,
    int gelu, Py_ssize_t which)
{
    Py_ssize_t chunk = rows_in_chunk(kind, packed, depth, part), steps = steps_of(depth);
    Py_ssize_t end = (which + 1) * chunk < part.rows ? (which + 1) * chunk : part.rows;
    for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
        const Panel *panel = &packed->panels[p];
        for (Py_ssize_t r = which * chunk; r < end; r += BLOCK) {
            Py_ssize_t at = panel->at * part.rows + r * panel->count * kind->lanes;
            fixed->block(out + at, codes + panel->at * depth, factors + panel->at * steps,
                         part.fixed->codes + r * depth, part.fixed->factors + r * steps,
                         part.bias + r, residual ? residual + at : NULL, depth, panel->count,
                         end - r < BLOCK ? (int)(end - r) : BLOCK, gelu);
        }
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
    int16_t *codes;  /* panels in whole numbers, and their factors */
    float *factors;
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
    Py_ssize_t deepest = wide > packed->depth ? wide : packed->depth;
    Py_ssize_t fixed = packed->lanes * (deepest / 2 + steps_of(deepest));
    *scratch = (Scratch){.between = borrowed_numbers(between + workers * each + fixed),
                         .each = each};
    if (!scratch->between) return -1;
    scratch->attention = scratch->between + between;
    scratch->factors = scratch->attention + workers * each;
    scratch->codes = (int16_t *)(scratch->factors + packed->lanes * steps_of(deepest));
#if defined(HAS_TILES)
    if (kind->tiles && packed->shortest >= LONG) {
        scratch->tiles = borrowed_numbers(tile_size(packed->lanes, deepest) / 2);
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
    const FixedKind *fixed; /* NULL where products are of float32 */
    Packed *packed;
    Scratch scratch;
    const Part *parts; /* PARTS a layer */
    int heads;
    float eps;
} Layers;

enum { /* of a layer; FIX: what the next product reads */
    FIX, PROJECT, ATTEND, FIX_MIXED, MIX, NORMALISE, FIX_NORMAL, WIDEN, FIX_WIDE, NARROW, FINISH,
    PHASES
};

static Py_ssize_t layer_chunks(const void *job, Py_ssize_t phase)
{
    const Layers *all = job;
    const Packed *packed = all->packed;
    const Part *parts = all->parts + phase / PHASES * PARTS;
    static const int matrix[PHASES] = {
        [PROJECT] = QUERY, [MIX] = MIXED, [WIDEN] = UP, [NARROW] = DOWN};
    int step = (int)(phase % PHASES);
    if (step == FIX || step == FIX_MIXED || step == FIX_NORMAL || step == FIX_WIDE)
        return all->fixed ? packed->panels_count : 0;
    if (step == ATTEND) return packed->texts_count * all->heads;
    if (step == NORMALISE || step == FINISH) return packed->panels_count;
    Py_ssize_t depth = step == NARROW ? parts[UP].rows : packed->depth;
    return (step == PROJECT ? 3 : 1) *
           chunks_of(all->kind, all->scratch.tiles, packed, depth, parts[matrix[step]]);
}

static void fix_panel(const Layers *all, const float *numbers, Py_ssize_t depth, Py_ssize_t which)
{
    const Panel *panel = &all->packed->panels[which];
    all->fixed->fix_panel(numbers + panel->at * depth, depth, panel->count,
                          all->scratch.codes + panel->at * depth,
                          all->scratch.factors + panel->at * steps_of(depth));
}

/* A chunk of a matrix. `in`: what was fixed last, where numbers are whole. */
static void multiply_chunk(const Layers *all, float *out, const float *in, Py_ssize_t depth,
                           Part part, const float *residual, int gelu, Py_ssize_t which)
{
    if (all->fixed)
        fixed_chunk(all->kind, all->fixed, out, all->scratch.codes, all->scratch.factors,
                    all->packed, depth, part, residual, gelu, which);
    else
        block_chunk(all->kind, all->scratch.tiles, out, in, all->packed, depth, part, residual,
                    gelu, which);
}

static void layer_work(void *job, Py_ssize_t phase, Py_ssize_t chunk, int worker)
{
    const Layers *all = job;
    const Kind *kind = all->kind;
    Packed *packed = all->packed;
    const Part *parts = all->parts + phase / PHASES * PARTS;
    Py_ssize_t depth = packed->depth, wide = parts[UP].rows, size = packed->lanes * depth;
    float *x = packed->numbers, *q = all->scratch.between, *v = q + 2 * size;
    float *mixed = q + between_size(packed, wide) - size;
    switch (phase % PHASES) {
    case FIX: fix_panel(all, x, depth, chunk); break;
    case PROJECT: {
        Py_ssize_t each = chunks_of(kind, all->scratch.tiles, packed, depth, parts[QUERY]);
        multiply_chunk(all, q + chunk / each * size, x, depth, parts[QUERY + chunk / each], NULL, 0,
                       chunk % each);
        break;
    }
    case ATTEND:
        attend(kind, mixed, q, q + size, v, packed, &packed->texts[chunk / all->heads],
               chunk % all->heads, depth / all->heads,
               all->scratch.attention + worker * all->scratch.each);
        break;
    case FIX_MIXED: fix_panel(all, mixed, depth, chunk); break;
    case MIX: multiply_chunk(all, q, mixed, depth, parts[MIXED], x, 0, chunk); break;
    case NORMALISE:
        normalise_panel(kind, q, packed, chunk, parts[NORM1], all->eps);
        memcpy(mixed + packed->panels[chunk].at * depth, q + packed->panels[chunk].at * depth,
               (size_t)(packed->panels[chunk].count * kind->lanes * depth) * sizeof(float));
        break;
    case FIX_NORMAL: fix_panel(all, mixed, depth, chunk); break;
    case WIDEN: multiply_chunk(all, q, mixed, depth, parts[UP], NULL, 1, chunk); break;
    case FIX_WIDE: fix_panel(all, q, wide, chunk); break;
    case NARROW: multiply_chunk(all, x, q, wide, parts[DOWN], mixed, 0, chunk); break;
    default: normalise_panel(kind, x, packed, chunk, parts[NORM2], all->eps);
    }
}
