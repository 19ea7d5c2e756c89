/* What the test programs share: paths of the source tree and of ../shared, temporary folders, honest SKIPs.
 */
#ifndef QB_TESTING_H
#define QB_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/status.h"

/* Exit code that ctest shows as "Skipped". */
#define QBT_SKIP 77

/* Path of `relative` inside the source tree (QB_SOURCE_DIR), or inside the folder `shared` beside it. The
 * returned string is static storage of the caller's thread, valid until eight more calls. */
const char *qbt_source(const char *relative);
const char *qbt_shared(const char *relative);

/* 1 when `../shared/relative` exists. A test that needs it calls qbt_require_shared first, which skips the
 * cmocka test with a line naming what is absent. */
int qbt_have_shared(const char *relative);
void qbt_require_shared(const char *relative);

/* A fresh folder under $TMPDIR, removed with everything in it by qbt_rmtree. */
char *qbt_mkdtemp(void);
void qbt_rmtree(char *dir);

/* Fails the test and prints the error text unless `status` is QB_OK. */
#define qbt_ok(status, err) qbt_ok_at((status), (err), __FILE__, __LINE__)
void qbt_ok_at(enum qb_status status, const struct qb_error *err, const char *file, int line);

/* Fails the test unless `status` is `want` and the error text is one line that contains `needle`. */
#define qbt_error(status, want, err, needle)                                                                 \
    qbt_error_at((status), (want), (err), (needle), __FILE__, __LINE__)
void qbt_error_at(enum qb_status status, enum qb_status want, const struct qb_error *err, const char *needle,
                  const char *file, int line);

#endif
