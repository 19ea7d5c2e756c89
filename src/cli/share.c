/* Where configs and models are found: see share.h. */
#include "cli/share.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "data/dataset.h"

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

static enum qb_status look_in_share(const char *path, char **out, struct qb_error *err)
{
    static const char *const folders[] = {"", "configs/", "configs/"}, *const suffixes[] = {"", "", ".yaml"};
    const char *const dir = share_dir();
    for (size_t i = 0; dir && i < sizeof folders / sizeof *folders; i++) {
        char *candidate = NULL;
        if (asprintf(&candidate, "%s/%s%s%s", dir, folders[i], path, suffixes[i]) < 0) {
            return qb_fail_memory(err, strlen(path));
        }
        if (qb_is_file(candidate)) {
            *out = candidate;
            return QB_OK;
        }
        free(candidate);
    }
    return QB_ENOTFOUND;
}

static enum qb_status look_in_cache(const char *path, char **out, struct qb_error *err)
{
    char *const candidate = qb_cache_dir(path);
    if (!candidate) {
        return qb_fail_memory(err, strlen(path));
    }
    if (!qb_is_file(candidate)) {
        free(candidate);
        return QB_ENOTFOUND;
    }
    *out = candidate;
    return QB_OK;
}

enum qb_status share_resolve(const char *what, const char *path, char **out, struct qb_error *err)
{
    if (access(path, F_OK) == 0) {
        *out = strdup(path);
        return *out ? QB_OK : qb_fail_memory(err, strlen(path));
    }
    if (path[0] == '/') {
        return qb_fail(err, QB_ENOTFOUND, "%s \"%s\" does not exist", what, path);
    }
    enum qb_status status = look_in_share(path, out, err);
    if (status == QB_ENOTFOUND) {
        status = look_in_cache(path, out, err);
    }
    if (status != QB_ENOTFOUND) {
        return status;
    }
    const bool published = strncmp(path, "mlperf-tiny/", strlen("mlperf-tiny/")) == 0;
    return qb_fail(err, QB_ENOTFOUND, "%s \"%s\" does not exist%s%s%s%s", what, path,
                   share_dir() ? " (nor under " : "", share_dir() ? share_dir() : "", share_dir() ? ")" : "",
                   published ? "; `qbench fetch mlperf-tiny` brings it" : "");
}
