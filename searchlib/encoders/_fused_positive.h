/* A sparse head's logits above 0, exact, of which few are computed in full.

   Of a vocabulary's 30,000 logits some hundred are above 0. So weights and tokens are first
   multiplied in codes of one byte, which are whole numbers; a bound of what codes leave out
   (`_fused_codes.h`) tells the rows that may be above 0, and those alone are multiplied in float32,
   by the kernel that multiplies all of them elsewhere: the same bits. */

#if defined(HAS_COARSE)

/* Texts whose logits above 0 are sought. */
typedef struct {
    const Kind *kind;
    const Packed *packed;
    const Coarse *coarse;
    const float *weight, *bias;
    Py_ssize_t chunk;
    uint8_t *codes;   /* panel after panel, each (depth / 4, count * lanes, 4), p + 128 */
    Tokens *tokens;   /* of each panel */
    float *gathered;  /* a block of rows for each worker */
    float *out;       /* (texts, rows): logits, or 0 where they are not above */
} Positive;

/* To each of 16 sums four products, of numbers 0 ... 255 and -128 ... 127.
   Subtle: with the intrinsic, GCC 12 moves the sums to memory and back for each of them. */
static inline __attribute__((always_inline)) VNNI void add_products(__m512i *sums, __m512i tokens,
                                                                    __m512i weight)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sums) : "v"(tokens), "v"(weight));
}

/* found (rows): bits of the tokens of a panel with which these rows, from `row` on, may have a
   logit above 0. */
static inline __attribute__((always_inline)) VNNI void coarse_block(
    const Positive *all, Py_ssize_t which, Py_ssize_t row, uint32_t *found, int count)
{
    const Coarse *coarse = all->coarse;
    Py_ssize_t depth = coarse->depth, at = all->packed->panels[which].at;
    const __m512i *tokens = (const __m512i *)(all->codes + at * depth);
    const int8_t *codes = coarse->codes + row * depth;
    __m512i sums[COARSE_ROWS][2]; /* in registers: all loops over them are unrolled */
#pragma GCC unroll 12
    for (int r = 0; r < COARSE_ROWS; r++)
        for (int i = 0; i < count; i++) sums[r][i] = _mm512_set1_epi32(coarse->starts[row + r]);
    for (Py_ssize_t d = 0; d < depth; d += 4) {
        __m512i first = tokens[d / 4 * count], second = tokens[d / 4 * count + count - 1];
        __builtin_prefetch(codes + COARSE_ROWS * (2 * depth + d)); /* two blocks ahead */
#pragma GCC unroll 12
        for (int r = 0; r < COARSE_ROWS; r++) {
            int32_t four;
            memcpy(&four, codes + r * depth + d, sizeof four);
            __m512i weight = _mm512_set1_epi32(four);
            add_products(&sums[r][0], first, weight);
            if (count == 2) add_products(&sums[r][1], second, weight);
        }
    }
    const Tokens *of = &all->tokens[which];
#pragma GCC unroll 12
    for (int r = 0; r < COARSE_ROWS; r++) {
        __m512 norm = _mm512_set1_ps(coarse->norm[row + r]);
        __m512 shift = _mm512_set1_ps(coarse->shift[row + r]);
        found[r] = 0;
        for (int i = 0; i < count; i++) {
            __m512 more = _mm512_fmadd_ps(norm, _mm512_loadu_ps(of->rest + 16 * i),
                                          _mm512_loadu_ps(of->margin + 16 * i));
            more = _mm512_fmadd_ps(shift, _mm512_loadu_ps(of->inverse + 16 * i), more);
            __m512 sum = _mm512_add_ps(_mm512_cvtepi32_ps(sums[r][i]), more);
            __mmask16 not_above = _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_LE_OQ);
            found[r] |= (uint32_t)(uint16_t)~not_above << (16 * i);
        }
    }
}

static VNNI void coarse_block_of(const Positive *all, Py_ssize_t which, Py_ssize_t row,
                                 uint32_t *found)
{
    if (all->packed->panels[which].count == 2) coarse_block(all, which, row, found, 2);
    else coarse_block(all, which, row, found, 1);
}

/* out: a text's logits of the marked rows, of `count` from `first` on; of the others 0. */
static void exact_rows(const Positive *all, Py_ssize_t text, Py_ssize_t first, Py_ssize_t count,
                       const uint8_t *marked, float *gathered)
{
    const Kind *kind = all->kind;
    const Packed *packed = all->packed;
    Py_ssize_t depth = packed->depth, step = packed->step, rows[MOST_ROWS], some = 0;
    Py_ssize_t from = packed->texts[text].first, to = from + packed->texts[text].tokens;
    float *out = all->out + text * all->coarse->rows + first;
    float best[COARSE_ROWS * MOST_LANES] __attribute__((aligned(64)));
    float found[COARSE_ROWS * 2 * MOST_LANES] __attribute__((aligned(64)));
    float largest[COARSE_ROWS];
    memset(out, 0, (size_t)count * sizeof *out);
    for (Py_ssize_t r = 0; r < count; r++) {
        rows[some] = r;
        some += marked[r];
    }
    for (Py_ssize_t i = 0; i < COARSE_ROWS * kind->lanes; i++) best[i] = -INFINITY;
    for (Py_ssize_t i = 0; i < some; i += COARSE_ROWS) {
        Py_ssize_t here = some - i < COARSE_ROWS ? some - i : COARSE_ROWS;
        for (Py_ssize_t r = 0; r < COARSE_ROWS; r++) /* the last one again, where there are fewer */
            memcpy(gathered + r * depth,
                   all->weight + (first + rows[i + (r < here ? r : here - 1)]) * depth,
                   (size_t)depth * sizeof(float));
        for (Py_ssize_t p = from / step; p * step < to; p++) {
            const Panel *panel = &packed->panels[p];
            Py_ssize_t end = panel->at + panel->width;
            kind->block(found, packed->numbers + panel->at * depth, gathered, NULL, NULL, depth,
                        panel->count, 1, 0, 0);
            kind->larger(best, found, COARSE_ROWS, panel->count,
                         from > panel->at ? from - panel->at : 0, (to < end ? to : end) - panel->at);
        }
        kind->largest(largest, best, COARSE_ROWS);
        for (Py_ssize_t r = 0; r < here; r++)
            out[rows[i + r]] = largest[r] + all->bias[first + rows[i + r]];
    }
}

static Py_ssize_t positive_chunks(const void *job, Py_ssize_t phase)
{
    const Positive *all = job;
    return phase == 0 ? all->packed->panels_count
                      : (all->coarse->rows + all->chunk - 1) / all->chunk;
}

static void positive_work(void *job, Py_ssize_t phase, Py_ssize_t which, int worker)
{
    const Positive *all = job;
    const Packed *packed = all->packed;
    if (phase == 0) {
        const Panel *panel = &packed->panels[which];
        code_panel(packed->numbers + panel->at * packed->depth, packed->depth, panel->count,
                   all->coarse->left_out, all->codes + panel->at * packed->depth,
                   &all->tokens[which]);
        return;
    }
    Py_ssize_t rows = all->coarse->rows, first = which * all->chunk;
    Py_ssize_t count = rows - first < all->chunk ? rows - first : all->chunk;
    uint32_t kept[COARSE_ROWS + MOST_ROWS], *found = kept + COARSE_ROWS;
    uint8_t marked[MOST_ROWS] = {0};
    float *gathered = all->gathered + worker * COARSE_ROWS * packed->depth;
    for (Py_ssize_t p = 0; p < packed->panels_count; p++) {
        const Panel *panel = &packed->panels[p];
        Py_ssize_t end = panel->at + panel->width;
        for (Py_ssize_t r = 0; r < count; r += COARSE_ROWS) {
            Py_ssize_t last = rows - COARSE_ROWS - first; /* the last block begins earlier */
            coarse_block_of(all, p, first + (r < last ? r : last), found + (r < last ? r : last));
        }
        for (Py_ssize_t t = panel->text; t < packed->texts_count; t++) {
            Py_ssize_t from = packed->texts[t].first, to = from + packed->texts[t].tokens;
            if (from >= end) break;
            Py_ssize_t begin = from > panel->at ? from - panel->at : 0;
            Py_ssize_t width = (to < end ? to : end) - panel->at - begin;
            uint32_t its = (uint32_t)((1ull << width) - 1) << begin;
            for (Py_ssize_t r = 0; r < count; r++) marked[r] |= (found[r] & its) != 0;
            if (to > end) break;
            exact_rows(all, t, first, count, marked, gathered);
            memset(marked, 0, sizeof marked);
        }
    }
}

/* out (texts, rows): the largest logit of each row with a text's tokens where that is above 0, else
   a number that is not. 0, or -1 without memory. `kind`: of 16 lanes. */
static int all_positive(const Kind *kind, const Packed *packed, const float *weight,
                        const float *bias, const Coarse *coarse, float *out, int workers)
{
    Py_ssize_t depth = packed->depth, chunk = whole_blocks(CHUNK / depth, COARSE_ROWS);
    Positive all = {.kind = kind, .packed = packed, .coarse = coarse, .weight = weight,
                    .bias = bias, .chunk = chunk, .out = out};
    workers = workers < 1 ? 1 : workers < MOST_WORKERS ? workers : MOST_WORKERS;
    all.codes = (uint8_t *)aligned_numbers(packed->lanes * depth / 4);
    all.tokens = malloc((size_t)packed->panels_count * sizeof *all.tokens);
    all.gathered = aligned_numbers(workers * COARSE_ROWS * depth);
    int failed = !all.codes || !all.tokens || !all.gathered ? -1 : 0;
    if (!failed) {
        Team team = {.work = positive_work, .chunks = positive_chunks, .job = &all, .phases = 2};
        work_together(&team, workers);
    }
    free(all.codes);
    free(all.tokens);
    free(all.gathered);
    return failed;
}
#endif
