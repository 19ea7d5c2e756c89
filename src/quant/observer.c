/* The table of observers: see observer.h. */
#include "quant/observer.h"

#include <string.h>

const struct qb_observer_ops *const qb_observers[] = {
    &qb_observer_minmax,
    &qb_observer_moving_average_minmax,
    &qb_observer_per_channel_minmax,
    &qb_observer_histogram,
    NULL,
};

const struct qb_observer_ops *qb_observer_find(const char *name)
{
    for (const struct qb_observer_ops *const *ops = qb_observers; *ops; ops++) {
        if (strcmp((*ops)->name, name) == 0) {
            return *ops;
        }
    }
    return NULL;
}
