/* What this CPU and its operating system can run, asked once, and the cap a user sets.
 * Source: Intel SDM vol. 1 ch. 13 and 14.3 (CPUID and XCR0 together), Linux arch_prctl(2) for AMX. */
#ifndef QB_BASE_CPU_H
#define QB_BASE_CPU_H

#include "base/status.h"

/* In rising order of preference. Not a chain: a CPU may have AVX512-VNNI without AVX-VNNI. */
enum qb_isa { QB_ISA_REF, QB_ISA_AVX2, QB_ISA_AVXVNNI, QB_ISA_AVX512VNNI, QB_ISA_AMX, QB_ISA_COUNT };

/* "ref", "avx2", "avxvnni", "avx512vnni", "amx". */
const char *qb_isa_name(enum qb_isa isa);

/* 1 when CPUID and XCR0 allow `isa` here (for AMX also the kernel's permission, asked for on first use).
 * CPUID runs once a process: it costs microseconds under a hypervisor. Thread-safe. */
int qb_cpu_has(enum qb_isa isa);

/* The best ISA this CPU has, not above `cap` in the order of the enum. */
enum qb_isa qb_cpu_best(enum qb_isa cap);

/* Names of what is here, best last: "ref avx2 avx512vnni". Static storage. */
const char *qb_cpu_isas(void);

/* Resolves a user's choice. `name` NULL or "best": the environment variable QB_ISA if set (and not empty),
 * else the best there is. A name that does not exist, or that this CPU lacks, is an error that lists what is
 * there. */
enum qb_status qb_cpu_select(const char *name, enum qb_isa *out, struct qb_error *err);

#endif
