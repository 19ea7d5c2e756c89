/* Additions, pools and pixels: see fixed.h. */
#include <string.h>

#include "engine/native/fixed.h"
#include "engine/native/fixed_search.h"
#include "kernels/tail_ref.h"

enum {
    PAIRS = 65536,
    MAX_TIGHT = 256,
    CANDIDATES = 9 * (QB_FIXED_OFFSETS + 1),
    PIXEL_STEPS = 12,
    POOL_LIMIT = 1 << 14
};

/* The codes of ADD for all pairs of codes, and the pairs whose exact sum is nearest to a half between two
 * codes: a wrong candidate fails at one of them. */
struct sums {
    struct qb_qparams first, second, dst;
    double ratio[2]; /* scale of each source over dst's */
    uint8_t code[256][256];
    int tight[MAX_TIGHT], count; /* 256 * first + second */
};

static void make_sums(const struct qb_qgraph *graph, int node, struct sums *s)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    struct qb_add add;
    uint8_t first[256], second[256];
    qb_add_init(graph, node, &add);
    add.low = 0; /* fewer codes than 8 bits are a step of its own */
    add.high = 255;
    s->first = graph->nodes[n->src[0]].q;
    s->second = graph->nodes[n->src[1]].q;
    s->dst = n->q;
    s->ratio[0] = (double)s->first.scale / (double)s->dst.scale;
    s->ratio[1] = (double)s->second.scale / (double)s->dst.scale;
    s->count = 0;
    for (int q = 0; q < 256; q++) {
        second[q] = (uint8_t)q;
    }
    for (int q = 0; q < 256; q++) {
        memset(first, q, sizeof first);
        qb_add_run(&add, first, second, sizeof first, s->code[q]);
    }
    for (int i = 0; i < PAIRS && s->count < MAX_TIGHT; i++) {
        const double sum =
            s->ratio[0] * (i / 256 - s->first.zero_point) + s->ratio[1] * (i % 256 - s->second.zero_point);
        if (fabs(sum - floor(sum) - 0.5) < 0x1p-11) {
            s->tight[s->count++] = i;
        }
    }
}

static bool same_quick(const struct sums *s, const struct qb_tail *t, bool conv_first, int pair)
{
    const int first = pair / 256, second = pair % 256;
    const int y = (conv_first ? first : second) - t->conv_zero_point;
    if (y < (int)t->conv_low || y > (int)t->conv_high) {
        return true; /* no code of the convolution */
    }
    const float v = qb_tail_quick(t, (float)y, (uint8_t)(conv_first ? second : first));
    return fabsf(v) < QB_TAIL_LIMIT && qb_tail_code(v, t->zero_point, t->low) == s->code[first][second];
}

static bool all_quick(const struct sums *s, const struct qb_tail *t, bool conv_first)
{
    for (int i = 0; i < s->count; i++) {
        if (!same_quick(s, t, conv_first, s->tight[i])) {
            return false;
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        if (!same_quick(s, t, conv_first, i)) {
            return false;
        }
    }
    return true;
}

bool qb_native_fixed_add_tail(const struct qb_qgraph *graph, int node, int conv, struct qb_tail *tail)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    const bool conv_first = n->src[0] == conv;
    struct sums s;
    make_sums(graph, node, &s);
    const struct qb_qparams own = conv_first ? s.first : s.second, res = conv_first ? s.second : s.first;
    const double conv_ratio = s.ratio[!conv_first], res_ratio = s.ratio[conv_first];
    int32_t low, high;
    qb_code_limits(&own, &low, &high);
    struct qb_tail t = {.residual = QB_TAIL_ADD,
                        .quick = true,
                        .zero_point = n->q.zero_point,
                        .low = n->relu ? n->q.zero_point : 0,
                        .conv_zero_point = own.zero_point,
                        .conv_low = graph->nodes[conv].relu ? 0.0F : (float)(low - own.zero_point),
                        .conv_high = (float)(high - own.zero_point)};
    for (int i = 0; i < CANDIDATES; i++) {
        t.quick_conv = qb_moved((float)conv_ratio, qb_outwards(i % 3));
        t.quick_res = qb_moved((float)res_ratio, qb_outwards(i / 3 % 3));
        t.quick_offset = (float)(res_ratio * -res.zero_point + qb_outwards(i / 9) * QB_FIXED_OFFSET);
        if (all_quick(&s, &t, conv_first)) {
            *tail = t;
            return true;
        }
    }
    return false;
}

static bool same_sum(const struct sums *s, const struct qb_addition *a, int pair)
{
    const int first = pair / 256, second = pair % 256;
    const float sum =
        fmaf(a->scale[0], (float)first, a->offset[0]) + fmaf(a->scale[1], (float)second, a->offset[1]);
    return qb_tail_code(sum * a->dst_inverse, a->zero_point, a->low) == s->code[first][second];
}

static bool all_sums(const struct sums *s, const struct qb_addition *a)
{
    for (int i = 0; i < s->count; i++) {
        if (!same_sum(s, a, s->tight[i])) {
            return false;
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        if (!same_sum(s, a, i)) {
            return false;
        }
    }
    return true;
}

enum qb_status qb_native_fixed_add(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                                   struct qb_addition *add, struct qb_error *err)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    struct sums s;
    make_sums(graph, node, &s);
    *add = (struct qb_addition){
        .dst_inverse = 1.0F, .zero_point = n->q.zero_point, .low = n->relu ? n->q.zero_point : 0};
    for (int i = 0; i < CANDIDATES; i++) {
        add->scale[0] = qb_moved((float)s.ratio[0], qb_outwards(i % 3));
        add->scale[1] = qb_moved((float)s.ratio[1], qb_outwards(i / 3 % 3));
        add->offset[0] = (float)(s.ratio[0] * -s.first.zero_point + qb_outwards(i / 9) * QB_FIXED_OFFSET);
        add->offset[1] = (float)(s.ratio[1] * -s.second.zero_point);
        if (all_sums(&s, add)) {
            return QB_OK;
        }
    }
    add->table = qb_arena_memdup(arena, s.code, sizeof s.code);
    return add->table ? QB_OK : qb_fail_memory(err, sizeof s.code);
}

bool qb_native_fixed_pool(const struct qb_qgraph *graph, int node, struct qb_pool *pool)
{
    struct qb_avgpool exact;
    qb_avgpool_init(graph, node, &exact);
    const int32_t n = exact.kh * exact.kw;
    if (n > POOL_LIMIT) {
        return false;
    }
    pool->minus = 128 * n;
    pool->zero_point = 128;
    for (int ulps = 0; ulps <= 8; ulps++) { /* a factor above 1 / n takes halves away from code 128 */
        pool->inverse = qb_moved(1.0F / (float)n, ulps);
        int32_t sum = 0;
        while (sum <= 255 * n && qb_tail_code((float)(sum - pool->minus) * pool->inverse, pool->zero_point,
                                              0) == qb_avgpool_code(&exact, sum)) {
            sum++;
        }
        if (sum > 255 * n) {
            return true;
        }
    }
    return false;
}

bool qb_native_fixed_input(const struct qb_qgraph *graph, struct qb_quantize *quantize)
{
    const struct qb_qparams q = graph->nodes[0].q;
    uint8_t table[256];
    qb_input_table(graph->arithmetic, &q, table);
    for (int i = 0; i <= PIXEL_STEPS; i++) { /* a factor above 1 / s takes halves away from 0 */
        qb_quantize_init(qb_moved(1.0F / q.scale, i ? 1 << (i - 1) : 0), q.zero_point, quantize);
        if (memcmp(quantize->table, table, sizeof table) == 0) {
            return true;
        }
    }
    memcpy(quantize->table, table, sizeof table);
    return false;
}
