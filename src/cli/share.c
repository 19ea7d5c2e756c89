/* Where configs and models are found: see share.h. */
#include "cli/share.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

const char *share_dir(void)
{
    static char dir[PATH_MAX];
    static const char *const places[] = {"/../share/qbench", "/../.."};
    if (dir[0]) {
        return dir;
    }
    const char *const set = getenv("QB_SHARE_DIR");
    if (set && *set) {
        return set;
    }
    char exe[PATH_MAX], probe[PATH_MAX + 64];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) {
        return NULL;
    }
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(probe, sizeof probe, "%s%s/configs/schemes", exe, places[i]);
        if (qb_is_dir(probe)) {
            probe[strlen(probe) - strlen("/configs/schemes")] = 0;
            return realpath(probe, dir);
        }
    }
    return NULL;
}

const char *const *share_scheme_dirs(void)
{
    static char path[PATH_MAX + 32];
    static const char *list[2];
    const char *const dir = share_dir();
    if (dir && !list[0]) {
        snprintf(path, sizeof path, "%s/configs/schemes", dir);
        list[0] = path;
    }
    return list;
}

enum qb_status share_resolve(const char *what, const char *path, char **out, struct qb_error *err)
{
    char *found = NULL;
    if (access(path, F_OK) == 0) {
        found = strdup(path);
        if (!found) {
            return qb_fail_memory(err, strlen(path));
        }
        *out = found;
        return QB_OK;
    }
    const char *const dir = share_dir();
    static const char *const forms[] = {"%s/%s", "%s/configs/%s", "%s/configs/%s.yaml"};
    for (size_t i = 0; dir && path[0] != '/' && i < sizeof forms / sizeof forms[0]; i++) {
        char *candidate = NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        const int length = asprintf(&candidate, forms[i], dir, path);
#pragma GCC diagnostic pop
        if (length < 0) {
            return qb_fail_memory(err, strlen(path));
        }
        if (qb_is_file(candidate)) {
            *out = candidate;
            return QB_OK;
        }
        free(candidate);
    }
    return qb_fail(err, QB_ENOTFOUND, "%s \"%s\" does not exist%s%s%s", what, path,
                   dir && path[0] != '/' ? " (nor under " : "", dir && path[0] != '/' ? dir : "",
                   dir && path[0] != '/' ? ")" : "");
}
