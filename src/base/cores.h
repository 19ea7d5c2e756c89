/* The CPUs of this process as places for threads, through hwloc.
 *
 * The CPUs are those that the process might use when they were first asked for (its cpuset and affinity):
 * what is bound later narrows nothing. Places are numbered in the order of use: one CPU of every core before
 * the second ones of any; cores of the fastest kind first, then those with most CPUs at their third cache (a
 * hand-off between two such caches takes several times longer), then from the last core to the first, which
 * takes most interrupts. */
#ifndef QB_BASE_CORES_H
#define QB_BASE_CORES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Places, and those of them on cores of their own (0 .. qb_cores_distinct() - 1). 0 when hwloc cannot tell.
 */
int qb_cores_count(void);
int qb_cores_distinct(void);
/* The operating system's number of the CPU. */
int qb_cores_cpu(int place);
/* Bytes of the data cache of level 1, 2 or 3 that place 0 reads through; 0 when hwloc cannot tell. */
size_t qb_cores_cache(unsigned level);

/* Binds a thread; false when the system refuses, or there is no such place. */
bool qb_cores_bind(pthread_t thread, int place);
/* Moves the calling thread to the place and leaves it as free as it was. False when it may not go there. */
bool qb_cores_move(int place);

#endif
