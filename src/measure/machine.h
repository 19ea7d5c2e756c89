/* What this machine is: everything a reader of a latency needs, readable without root; "unknown" is a value.
 */
#ifndef QB_MEASURE_MACHINE_H
#define QB_MEASURE_MACHINE_H

#include "base/status.h"

struct qb_machine {
    char cpu[96];      /* brand string */
    char stepping[48]; /* "family 6 model 143 stepping 8": brand strings of guests are often masked */
    char isas[64];     /* qb_cpu_isas() */
    char microcode[24], kernel[136], virtualization[32], governor[32], compiler[96], os[96];
    int cores, threads, packages; /* allowed to this process, from hwloc; 0 when hwloc cannot tell */
    char caches[96];              /* "L1d 48K L2 1M L3 32M" */
    double load;                  /* 1-minute load average at the time of the call; -1 unknown */
    char id[17]; /* 64-bit hash of what does not change between runs: the machine in row keys */
};
/* Call it before qb_bind_thread: a bound thread may be all that is left of the allowed set. */
void qb_machine_describe(struct qb_machine *out);

/* Binds the calling thread to the first place of base/cores.h; 0 when it worked. */
int qb_bind_thread(void);

#endif
