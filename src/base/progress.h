/* How long work tells its caller where it is, and how it learns that the user wants to stop. */
#ifndef QB_BASE_PROGRESS_H
#define QB_BASE_PROGRESS_H

#include <stdint.h>

/* A sink for progress. `report` may be NULL: nobody listens. total == 0 means unknown. Called from one thread
 * at a time; the sink decides how often it draws. */
struct qb_progress {
    void (*report)(void *ctx, const char *what, uint64_t done, uint64_t total);
    void *ctx;
};

/* Safe with progress == NULL. */
void qb_progress_report(const struct qb_progress *progress, const char *what, uint64_t done, uint64_t total);

/* The one flag that SIGINT sets (qb_interrupt is async-signal-safe). Long loops poll qb_interrupted() and
 * return QB_EINTERRUPTED. */
void qb_interrupt(void);
int qb_interrupted(void);

#endif
