/* The largest product of each row of a weight with the tokens of each text. */

/* found (rows, count * lanes), products of some rows with a panel: each text's largest in each
   lane go to best (rows, lanes), and when its last token has come, the largest of all lanes to its
   row of out (texts, stride). */
static void keep_largest(const Kind *kind, const Packed *packed, const Panel *panel,
                         const float *found, Py_ssize_t rows, float *best, float *out,
                         Py_ssize_t stride)
{
    Py_ssize_t end = panel->at + panel->width;
    for (Py_ssize_t t = panel->text; t < packed->texts_count; t++) {
        Py_ssize_t from = packed->texts[t].first, to = from + packed->texts[t].tokens;
        if (from >= end) return;
        kind->larger(best, found, rows, panel->count, from > panel->at ? from - panel->at : 0,
                     (to < end ? to : end) - panel->at);
        if (to > end) return;
        kind->largest(out + t * stride, best, rows);
    }
}

/* Texts whose largest product with each row of a weight is sought. */
typedef struct {
    const Kind *kind;
    const Packed *packed;
    const float *weight;
    Py_ssize_t count, chunk; /* rows of the weight, and how many at a time */
    float *out;              /* (texts, count) */
} Largest;

static Py_ssize_t largest_chunks(const void *job, Py_ssize_t phase)
{
    const Largest *all = job;
    (void)phase;
    return (all->count + all->chunk - 1) / all->chunk;
}

static void largest_work(void *job, Py_ssize_t phase, Py_ssize_t which, int worker)
{
    const Largest *all = job;
    const Kind *kind = all->kind;
    const Packed *packed = all->packed;
    Py_ssize_t depth = packed->depth, rows = kind->rows, lanes = kind->lanes;
    Py_ssize_t first = which * all->chunk, end = first + all->chunk;
    float best[MOST_ROWS * MOST_LANES] __attribute__((aligned(64)));
    float found[MOST_ROWS * 2 * MOST_LANES] __attribute__((aligned(64)));
    (void)phase, (void)worker;
    end = end < all->count ? end : all->count;
    for (Py_ssize_t i = 0; i < (end - first) * lanes; i++) best[i] = -INFINITY;
    if (packed->panels_count == 1 && end - first >= rows) {
        multiply_apart(kind, found, packed->numbers, all->weight + first * depth, NULL, NULL, depth,
                       packed->panels[0].count, end - first, 0);
        keep_largest(kind, packed, &packed->panels[0], found, end - first, best, all->out + first,
                     all->count);
        return;
    }
    for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
        const Panel *panel = &packed->panels[p];
        for (Py_ssize_t row = first; row < end; row += rows) {
            /* the last block begins earlier; what it repeats is left out */
            Py_ssize_t r = row + rows > all->count ? all->count - rows : row, repeated = row - r;
            kind->block(found, packed->numbers + panel->at * depth, all->weight + r * depth, NULL,
                        NULL, depth, panel->count, 1, p ? 0 : 2 * rows * depth, 0);
            keep_largest(kind, packed, panel, found + repeated * panel->count * lanes,
                         rows - repeated, best + (row - first) * lanes, all->out + row, all->count);
        }
    }
}

/* out (texts, count): the largest product of each row of the weight with a text's tokens. */
static void all_largest(const Kind *kind, const Packed *packed, const float *weight,
                        Py_ssize_t count, float *out, int workers)
{
    Py_ssize_t depth = packed->depth;
    Py_ssize_t chunk = CHUNK / (Py_ssize_t)sizeof(float) / depth;
    if (packed->panels_count == 1) chunk = MANY_BLOCKS * kind->rows;
    chunk = whole_blocks(chunk < count ? chunk : count, kind->rows);
    Largest all = {kind, packed, weight, count, chunk, out};
    Team team = {.work = largest_work, .chunks = largest_chunks, .job = &all, .phases = 1};
    work_together(&team, workers);
}
