/* What the test programs share: see testing.h. */
#include "testing.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *join(const char *middle, const char *relative)
{
    static char ring[8][4096];
    static unsigned next;
    const char *const root = getenv("QB_SOURCE_DIR");
    char *const out = ring[next++ % 8];
    snprintf(out, sizeof ring[0], "%s%s%s", root ? root : ".", middle, relative);
    return out;
}

const char *qbt_source(const char *relative)
{
    return join("/", relative);
}

const char *qbt_shared(const char *relative)
{
    return join("/../shared/", relative);
}

int qbt_have_shared(const char *relative)
{
    return access(qbt_shared(relative), R_OK) == 0;
}

void qbt_require_shared(const char *relative)
{
    if (!qbt_have_shared(relative)) {
        print_message("SKIP: ../shared/%s is not here\n", relative);
        skip();
    }
}

char *qbt_mkdtemp(void)
{
    const char *const base = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/qbench-test-XXXXXX", base ? base : "/tmp") < 0 || !mkdtemp(path)) {
        fail_msg("cannot make a temporary folder");
    }
    return path;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void qbt_rmtree(char *dir)
{
    if (dir) {
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        free(dir);
    }
}

void qbt_ok_at(enum qb_status status, const struct qb_error *err, const char *file, int line)
{
    if (status != QB_OK) {
        print_error("status %d: %s\n", (int)status, err->text);
        _fail(file, line);
    }
}

void qbt_error_at(enum qb_status status, enum qb_status want, const struct qb_error *err, const char *needle,
                  const char *file, int line)
{
    if (status != want || !strstr(err->text, needle) || strchr(err->text, '\n')) {
        print_error("status %d (wanted %d), text \"%s\" (wanted one line with \"%s\")\n", (int)status,
                    (int)want, err->text, needle);
        _fail(file, line);
    }
}
