/* Greedy flips: see adaround.h. Everything is double and sequential, so that the codes depend on nothing but
 * the inputs. */
#include "quant/adaround.h"

#include <string.h>

/* A gain below this share of t^2 H_ii is rounding noise; without the limit two flips could undo each other
 * for ever. FLIPS_EACH bounds the work where they would. */
static const double least_gain = 1e-9;
enum { FLIPS_EACH = 8 };

struct channel {
    const struct qb_rounding *r;
    const float *wei;
    int8_t *codes;
    double scale, zero_point;
    double *error;    /* d */
    double *gradient; /* H d */
    double *step;     /* what a flip adds to d: +- scale, 0 where there is no other code */
};

/* The neighbour on the other side of the weight. */
static void start(struct channel *c)
{
    const size_t depth = c->r->depth;
    for (size_t i = 0; i < depth; i++) {
        const int code = c->codes[i];
        c->error[i] = c->scale * ((double)code - c->zero_point) - (double)c->wei[i];
        const int other = c->error[i] < 0 ? code + 1 : code - 1;
        c->step[i] = other < c->r->low || other > c->r->high ? 0 : c->scale * (double)(other - code);
    }
    for (size_t i = 0; i < depth; i++) {
        const double *const row = c->r->gram + i * depth;
        double sum = 0;
        for (size_t j = 0; j < depth; j++) {
            sum += row[j] * c->error[j];
        }
        c->gradient[i] = sum;
    }
}

static double loss(const struct channel *c)
{
    double sum = 0;
    for (size_t i = 0; i < c->r->depth; i++) {
        sum += c->error[i] * c->gradient[i];
    }
    return sum;
}

/* The flip with the largest gain, depth when none is worth it. */
static size_t best_flip(const struct channel *c)
{
    const size_t depth = c->r->depth;
    size_t best = depth;
    double most = 0;
    for (size_t i = 0; i < depth; i++) {
        const double own = c->step[i] * c->step[i] * c->r->gram[i * depth + i];
        const double gain = -(2 * c->step[i] * c->gradient[i] + own);
        if (gain > most && gain > least_gain * own) {
            most = gain;
            best = i;
        }
    }
    return best;
}

static void flip(struct channel *c, size_t i)
{
    const double *const row = c->r->gram + i * c->r->depth, step = c->step[i];
    for (size_t j = 0; j < c->r->depth; j++) {
        c->gradient[j] += step * row[j];
    }
    c->codes[i] = (int8_t)(c->codes[i] + (step > 0 ? 1 : -1));
    c->error[i] += step;
    c->step[i] = -step;
}

void qb_adaround(const struct qb_rounding *r, double *scratch, struct qb_rounding_result *out)
{
    *out = (struct qb_rounding_result){0};
    memcpy(r->codes, r->nearest, r->channels * r->depth);
    for (size_t k = 0; k < r->channels; k++) {
        const size_t q = r->scale_count == 1 ? 0 : k;
        struct channel c = {.r = r,
                            .wei = r->wei + k * r->depth,
                            .codes = r->codes + k * r->depth,
                            .scale = (double)r->scales[q],
                            .zero_point = (double)r->zero_points[q],
                            .error = scratch,
                            .gradient = scratch + r->depth,
                            .step = scratch + 2 * r->depth};
        start(&c);
        out->before += loss(&c);
        for (size_t flips = 0, i; flips < FLIPS_EACH * r->depth && (i = best_flip(&c)) < r->depth; flips++) {
            flip(&c, i);
        }
        out->after += loss(&c);
        for (size_t i = 0; i < r->depth; i++) {
            out->flips += c.codes[i] != r->nearest[k * r->depth + i];
        }
    }
}
