/* The check that everything which quantizes starts with. */
#ifndef QB_QUANT_SCHEME_CHECK_H
#define QB_QUANT_SCHEME_CHECK_H

#include "config/scheme.h"

/* qb_scheme_check, and the scheme must not be "fp32". */
enum qb_status qb_scheme_check_integer(const struct qb_scheme *scheme, struct qb_error *err);

#endif
