/* Status codes and error texts: see status.h. */
#include "base/status.h"

#include <stdio.h>
#include <string.h>

static void flatten(char *text)
{
    for (; *text; text++) {
        if (*text == '\n' || *text == '\r' || *text == '\t') {
            *text = ' ';
        }
    }
}

enum qb_status qb_vfail(struct qb_error *err, enum qb_status status, const char *format, va_list args)
{
    vsnprintf(err->text, sizeof err->text, format, args);
    flatten(err->text);
    err->status = status;
    return status;
}

enum qb_status qb_fail(struct qb_error *err, enum qb_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    qb_vfail(err, status, format, args);
    va_end(args);
    return status;
}

enum qb_status qb_fail_prefix(struct qb_error *err, const char *format, ...)
{
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    const int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->text - 3) {
        const size_t room = sizeof err->text - (size_t)used - 3, length = strlen(old);
        const size_t kept = length < room ? length : room;
        char *const end = err->text + used;
        memcpy(end, ": ", 2);
        memcpy(end + 2, old, kept);
        end[2 + kept] = 0;
    }
    flatten(err->text);
    return err->status;
}

enum qb_status qb_fail_memory(struct qb_error *err, unsigned long bytes)
{
    return qb_fail(err, QB_ENOMEM, "out of memory: %lu bytes could not be allocated", bytes);
}

int qb_status_exit_code(enum qb_status status)
{
    switch (status) {
    case QB_OK: return 0;
    case QB_EINPUT:
    case QB_ENOTFOUND:
    case QB_EUNSUPPORTED:
    case QB_EIO: return 2;
    case QB_EINTERRUPTED: return 130;
    case QB_ENOMEM:
    case QB_EFAILED: return 1;
    }
    return 1;
}
