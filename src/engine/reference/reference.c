/* The reference engine's entry in the engine table: see reference.h. */
#include "engine/reference/reference.h"

#include "engine/reference/runner.h"

const struct qb_engine_ops qb_reference_ops = {
    .name = "reference",
    .summary = "plain C; defines the integer results bit for bit, adds floats in PyTorch's order",
    .emulates = true,
    .create_f32 = qb_reference_create_f32,
    .create_int8 = qb_reference_create_int8,
    .run = qb_runner_run,
    .destroy = qb_runner_destroy,
};
