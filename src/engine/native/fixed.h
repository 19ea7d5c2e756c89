/* Arithmetic `tflite` on the float formulas of the kernels.
 *
 * Its codes are staircases: a sum of products has at most 255 places where the code goes up by one, an
 * addition 65,536 pairs, a pool one code a sum. So instead of 64-bit products for every code, constants of
 * the floating-point formulas are searched for with which they take the very same steps, and each choice is
 * proven on all steps that can be reached. Where none is found, sums of products keep the 64 bits (rule
 * INTEGER), and the others are looked up in a table. */
#ifndef QB_ENGINE_NATIVE_FIXED_H
#define QB_ENGINE_NATIVE_FIXED_H

#include "base/arena.h"
#include "engine/reference/arithmetic.h"
#include "kernels/add/add.h"
#include "kernels/avgpool/avgpool.h"
#include "kernels/quantize/quantize.h"
#include "kernels/tail.h"

/* The codes of `r`, clamped from `low` on, by rule FIXED, or INTEGER where a channel has no constants:
 * zero_point, low and what the rule has for channels. reach[k] is the largest |sum of products| of channel k.
 */
enum qb_status qb_native_fixed_tail(const struct qb_requant *r, const int64_t *reach, int32_t low,
                                    struct qb_arena *arena, struct qb_tail *tail, struct qb_error *err);
/* The same by rule INTEGER. */
enum qb_status qb_native_integer_tail(const struct qb_requant *r, int32_t low, struct qb_arena *arena,
                                      struct qb_tail *tail, struct qb_error *err);

/* Arithmetics tflite and ort: how ADD `node` happens in the tail of `conv`, one of its sources: residual,
 * zero_point, low, conv_* and quick_*, all else 0. False when no constants are right. */
bool qb_native_fixed_add_tail(const struct qb_qgraph *graph, int node, int conv, struct qb_tail *tail);

/* ADD by the kernels' formula, or with a table in `arena`; NULL table: proven. */
enum qb_status qb_native_fixed_add(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                                   struct qb_addition *add, struct qb_error *err);

/* minus, inverse and zero_point; false for windows beyond what can be proven. */
bool qb_native_fixed_pool(const struct qb_qgraph *graph, int node, struct qb_pool *pool);

/* The codes of `graph`'s pixels; false: only the table is right, which is what the ref kernel reads. */
bool qb_native_fixed_input(const struct qb_qgraph *graph, struct qb_quantize *quantize);

#endif
