/* Where configs and models are found: the user's path first, then the folder that came with the program, then
 * what `qbench fetch` brought. */
#ifndef QB_CLI_SHARE_H
#define QB_CLI_SHARE_H

#include "base/status.h"

/* The folder that holds configs/ and models/: $QB_SHARE_DIR, else share/qbench beside the binary's bin/, else
 * the source tree that the binary was built in. NULL when none is there. Static storage. */
const char *share_dir(void);

/* NULL-terminated list of folders with shipped schemes, for qb_scheme_load. Static storage. */
const char *const *share_scheme_dirs(void);

/* Resolves a path as written: itself when it exists, else under share_dir() (for experiments also
 * "configs/NAME.yaml" of a bare NAME), else in the cache folder. malloc'd. QB_ENOTFOUND names `what` and the
 * path. */
enum qb_status share_resolve(const char *what, const char *path, char **out, struct qb_error *err);

#endif
