/* The native engine: integer graphs on this project's own kernels (kernels/), equal to the reference engine
 * bit for bit on every ISA. */
#ifndef QB_ENGINE_NATIVE_NATIVE_H
#define QB_ENGINE_NATIVE_NATIVE_H

#include "engine/engine.h"

extern const struct qb_engine_ops qb_native_ops;

#endif
