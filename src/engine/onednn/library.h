/* What the process shares of oneDNN: the ISA cap, which the library reads once, and failures as sentences. */
#ifndef QB_ENGINE_ONEDNN_LIBRARY_H
#define QB_ENGINE_ONEDNN_LIBRARY_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>

#include "base/cpu.h"
#include "base/status.h"
#include "engine/onednn/tails.h"

/* An error unless this build of oneDNN runs on exactly `threads` threads when asked to: OpenMP's do,
 * sequential ones for one thread; TBB's and SYCL's take what the machine has. */
enum qb_status qb_dnnl_check_threads(int threads, struct qb_error *err);

/* Applies the cap; before any other call of oneDNN. The best ISA of this CPU, or above, means no cap: oneDNN
 * then also uses what it knows beyond our list (bf16, AMX variants). A second, different cap in one process
 * is an error. */
enum qb_status qb_dnnl_cap_isa(enum qb_isa isa, struct qb_error *err);

/* Whether what oneDNN `version` fuses is arithmetic onednn to the bit. Since 3.12 it rounds behind each of
 * two scales on CPUs with AVX512 (onednn_3_12); elsewhere nobody has looked. */
bool qb_dnnl_fuses_exactly(const dnnl_version_t *version);

/* "avx512_core_bf16": what oneDNN dispatches to at most; static storage. */
const char *qb_dnnl_isa(void);
/* u8 x s8 dot products are exact; without VNNI vpmaddubsw saturates pair sums to int16. */
bool qb_dnnl_has_vnni(void);

/* The widest registers that oneDNN uses under its cap; our own code beside it stays within them. */
enum qb_simd qb_dnnl_simd(void);

/* "WHAT: oneDNN says STATUS"; QB_ENOMEM, QB_EUNSUPPORTED or QB_EFAILED. */
enum qb_status qb_dnnl_fail(struct qb_error *err, dnnl_status_t status, const char *what);

#endif
