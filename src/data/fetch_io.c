/* What the fetches share: log lines, interruption, the lock on the folder. See fetch_internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "data/fetch_internal.h"

void qb_fetch_log(const struct qb_fetch_io *io, const char *format, ...)
{
    if (!io->log) {
        return;
    }
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    io->log(io->log_ctx, line);
}

enum qb_status qb_fetch_interrupted(struct qb_error *err)
{
    return qb_fail(err, QB_EINTERRUPTED, "interrupted; the same command again goes on");
}

static enum qb_status wait_for(int fd, const char *dir, const struct qb_fetch_io *io, struct qb_error *err)
{
    for (int said = 0; flock(fd, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR);
         said = 1) {
        if (qb_interrupted()) {
            return qb_fetch_interrupted(err);
        }
        if (!said) {
            qb_fetch_log(io, "waiting for another fetch into %s", dir);
        }
        usleep(100000);
    }
    return QB_OK;
}

enum qb_status qb_fetch_lock(const char *dir, const struct qb_fetch_io *io, int *fd, struct qb_error *err)
{
    QB_TRY(qb_make_dirs(dir, err));
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        return qb_fail(err, QB_EIO, "%s: cannot be opened: %s", dir, strerror(errno));
    }
    const enum qb_status status = wait_for(*fd, dir, io, err);
    if (status != QB_OK) {
        close(*fd);
    }
    return status;
}
