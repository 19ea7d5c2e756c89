/* Tails of convolutions: see fixed.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/native/fixed.h"
#include "engine/native/fixed_search.h"
#include "kernels/tail_ref.h"

enum { ULPS = 4, STEPS = 255 };

/* A place where the code goes up; margin: how far x and x - 1 are from the half between the two codes. */
struct step {
    int32_t x;
    double margin;
};

/* One channel's staircase over x in [low, high]. */
struct stairs {
    struct qb_multiplier multiplier;
    bool once;
    int32_t zero_point, first; /* the code below the first step */
    int32_t low, high;
    int32_t steps[STEPS];     /* the smallest x with code i + 1 or more; above `high`: none */
    struct step order[STEPS]; /* those in reach, the ones that constants miss most easily first */
    int count;
};

static int32_t code_at(const struct stairs *s, int32_t x)
{
    const int32_t code =
        (s->once ? qb_multiply_once(x, s->multiplier) : qb_multiply_twice(x, s->multiplier)) + s->zero_point;
    return code < s->first ? s->first : code > 255 ? 255 : code;
}

static double real_of(struct qb_multiplier m)
{
    return ldexp(m.mantissa, -31 - m.right);
}

/* Bisection, in a few places around the guess where these are known to hold the step. */
static void find_steps(struct stairs *s)
{
    const double real = real_of(s->multiplier);
    int64_t from = s->low;
    for (int i = 0; i < STEPS; i++) {
        const double guess = (i + 0.5 - s->zero_point) / real;
        int64_t end = (int64_t)s->high + 1;
        if (fabs(guess) < 0x1p30) {
            const int32_t before = (int32_t)guess - 4, behind = (int32_t)guess + 4;
            from = before >= from && before < end && code_at(s, before) <= i ? before + 1 : from;
            end = behind >= from && behind < end && code_at(s, behind) > i ? behind : end;
        }
        while (from < end) {
            const int64_t middle = from + (end - from) / 2;
            if (code_at(s, (int32_t)middle) > i) {
                end = middle;
            } else {
                from = middle + 1;
            }
        }
        s->steps[i] = (int32_t)(from < INT32_MAX ? from : INT32_MAX);
    }
}

/* Rounding twice moves a step by half of what the first rounding rounds to, away from 0. */
static double nudge_of(const struct stairs *s)
{
    return s->once || s->multiplier.right == 0 ? 0.0 : ldexp(1.0, -1 - s->multiplier.right);
}

static int by_margin(const void *a, const void *b)
{
    const double x = ((const struct step *)a)->margin, y = ((const struct step *)b)->margin;
    return (x > y) - (x < y);
}

static void order_steps(struct stairs *s)
{
    const double real = real_of(s->multiplier), nudge = nudge_of(s);
    for (int i = s->first; i < STEPS; i++) {
        const int32_t x = s->steps[i];
        if (x > s->low && x <= s->high) {
            const double half = i + 0.5 - s->zero_point;
            const double above = real * x + (x < 0 ? -nudge : nudge) - half,
                         below = half - (real * (x - 1) + (x - 1 < 0 ? -nudge : nudge));
            s->order[s->count++] = (struct step){x, above < below ? above : below};
        }
    }
    qsort(s->order, (size_t)s->count, sizeof *s->order, by_margin);
}

/* True when the tail (of one channel) gives the code of x. */
static bool right_at(const struct qb_tail *tail, const struct stairs *s, int32_t x)
{
    return qb_tail_ref(tail, x, 0, 0) == code_at(s, x);
}

/* Both staircases are monotone: they are equal when they are at the ends and on both sides of every step. One
 * x whose code is too low by one is what the patch is for. */
static bool proven(const struct qb_tail *tail, int32_t *patch, const struct stairs *s)
{
    *patch = INT32_MIN;
    for (int i = 0; i < s->count; i++) {
        const int32_t x = s->order[i].x;
        if (!right_at(tail, s, x - 1)) {
            return false;
        }
        if (right_at(tail, s, x)) {
            continue;
        }
        if (*patch != INT32_MIN) {
            return false;
        }
        *patch = x;
        if (!right_at(tail, s, x) || (x < s->high && !right_at(tail, s, x + 1))) {
            return false;
        }
    }
    return right_at(tail, s, s->low) && right_at(tail, s, s->high);
}

static bool search(const struct stairs *s, const struct qb_tail *tail, float *bia, float *scale,
                   int32_t *patch)
{
    const float real = (float)real_of(s->multiplier);
    for (int i = 0; i <= QB_FIXED_OFFSETS; i++) {
        *bia = (float)(nudge_of(s) + qb_outwards(i) * QB_FIXED_OFFSET);
        for (int n = 0; n <= 2 * ULPS; n++) {
            *scale = qb_moved(real, qb_outwards(n));
            if (proven(tail, patch, s)) {
                return true;
            }
        }
    }
    return false;
}

enum qb_status qb_native_integer_tail(const struct qb_requant *r, int32_t low, struct qb_arena *arena,
                                      struct qb_tail *tail, struct qb_error *err)
{
    const size_t count = (size_t)qb_blocks(r->oc) * QB_BLOCK;
    float *const unread = qb_arena_array(arena, count, sizeof *unread);
    int32_t *const start = qb_arena_array(arena, count, sizeof *start),
                   *const multiplier = qb_arena_array(arena, count, sizeof *multiplier),
                   *const round = qb_arena_array(arena, count, sizeof *round),
                   *const shift = qb_arena_array(arena, count, sizeof *shift);
    if (!unread || !start || !multiplier || !round || !shift) {
        return qb_fail_memory(err, 5 * count * sizeof *start);
    }
    memcpy(start, r->bia_codes, (size_t)r->oc * sizeof *start);
    for (int k = 0; k < r->oc; k++) {
        multiplier[k] = r->multipliers[k].mantissa;
        shift[k] = r->multipliers[k].right;
        round[k] = shift[k] ? 1 << (shift[k] - 1) : 0;
    }
    *tail = (struct qb_tail){.rule = QB_TAIL_INTEGER,
                             .bia = unread,
                             .scale = unread,
                             .start = start,
                             .multiplier = multiplier,
                             .round = round,
                             .shift = shift,
                             .once = r->once,
                             .zero_point = r->zero_point,
                             .low = low};
    return QB_OK;
}

enum qb_status qb_native_fixed_tail(const struct qb_requant *r, const int64_t *reach, int32_t low,
                                    struct qb_arena *arena, struct qb_tail *tail, struct qb_error *err)
{
    const size_t count = (size_t)qb_blocks(r->oc) * QB_BLOCK, channels = (size_t)r->oc;
    float *const bia = qb_arena_array(arena, count, sizeof *bia), *const scale = qb_arena_array(
                                                                      arena, count, sizeof *scale);
    int32_t *const start = qb_arena_array(arena, count, sizeof *start);
    int32_t *const patch = qb_arena_array(arena, count, sizeof *patch);
    if (!bia || !scale || !start || !patch) {
        return qb_fail_memory(err, 4 * count * sizeof *start);
    }
    memcpy(start, r->bia_codes, channels * sizeof *start);
    *tail = (struct qb_tail){.rule = QB_TAIL_FIXED,
                             .bia = bia,
                             .scale = scale,
                             .start = start,
                             .patch = patch,
                             .sign = r->once ? 0 : INT32_MIN,
                             .zero_point = r->zero_point,
                             .low = low};
    for (size_t k = 0; k < channels; k++) {
        static const int32_t nothing = 0;
        struct stairs s = {.multiplier = r->multipliers[k],
                           .once = r->once,
                           .zero_point = r->zero_point,
                           .first = low,
                           .low = (int32_t)(start[k] - reach[k]),
                           .high = (int32_t)(start[k] + reach[k])};
        struct qb_tail one = *tail;
        one.bia = &bia[k];
        one.scale = &scale[k];
        one.start = &nothing;
        one.patch = &patch[k];
        find_steps(&s);
        order_steps(&s);
        if (!search(&s, &one, &bia[k], &scale[k], &patch[k])) {
            return qb_native_integer_tail(r, low, arena, tail, err);
        }
    }
    return QB_OK;
}
