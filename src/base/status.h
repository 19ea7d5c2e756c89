/* Status codes and error texts of the whole program.
 *
 * Every function that can fail returns enum qb_status and takes a `struct qb_error *err` (never NULL) as its
 * last argument. On failure err holds one sentence, without a newline, that names the place (file, line,
 * field, node), what was found, what was expected and, where there is one, the remedy. On success err is left
 * alone and outputs are written; on failure outputs are left alone. Libraries never print or exit: only
 * src/cli turns a status into an exit code (qb_status_exit_code). */
#ifndef QB_BASE_STATUS_H
#define QB_BASE_STATUS_H

#include <stdarg.h>

enum qb_status {
    QB_OK = 0,
    QB_EINPUT,       /* bad input: a file's content, a field, a number, an option */
    QB_ENOTFOUND,    /* a file, folder or data set that is not there */
    QB_EUNSUPPORTED, /* valid, but not for this program, this build or this CPU */
    QB_EIO,          /* the system refused: permission, disk full, network */
    QB_ENOMEM,
    QB_EINTERRUPTED, /* the user asked to stop (qb_interrupted()) */
    QB_EFAILED,      /* work was done and its verdict is negative, or a library failed inside */
};

struct qb_error {
    enum qb_status status;
    char text[1024];
};

/* Stores status and text, returns status. Long texts are cut, newlines become spaces. */
enum qb_status qb_fail(struct qb_error *err, enum qb_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum qb_status qb_vfail(struct qb_error *err, enum qb_status status, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* Puts "prefix: " in front of the text that err holds; returns err->status. */
enum qb_status qb_fail_prefix(struct qb_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The sentence for a failed allocation of `bytes`; returns QB_ENOMEM. */
enum qb_status qb_fail_memory(struct qb_error *err, unsigned long bytes);

/* 0 fine; 1 failed; 2 usage, bad input, missing or refused; 130 interrupted. */
int qb_status_exit_code(enum qb_status status);

/* Returns from the calling function when `call` is not QB_OK. For functions that own nothing at that point.
 */
#define QB_TRY(call)                                                                                         \
    do {                                                                                                     \
        const enum qb_status qb_try_status = (call);                                                         \
        if (qb_try_status != QB_OK) {                                                                        \
            return qb_try_status;                                                                            \
        }                                                                                                    \
    } while (0)

#endif
