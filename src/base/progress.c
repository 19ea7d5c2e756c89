/* Progress and interruption: see progress.h. */
#include "base/progress.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t interrupted;

void qb_progress_report(const struct qb_progress *progress, const char *what, uint64_t done, uint64_t total)
{
    if (progress && progress->report) {
        progress->report(progress->ctx, what, done, total);
    }
}

void qb_interrupt(void)
{
    interrupted = 1;
}

int qb_interrupted(void)
{
    return interrupted;
}
