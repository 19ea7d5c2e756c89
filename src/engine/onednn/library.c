/* The oneDNN library of the process: see library.h and onednn.h. */
#include "engine/onednn/library.h"

#include <oneapi/dnnl/dnnl_debug.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "engine/onednn/onednn.h"

static pthread_mutex_t cap_lock = PTHREAD_MUTEX_INITIALIZER;
static bool cap_fixed;
static enum qb_isa cap; /* of the first engine, once cap_fixed */

static pthread_once_t version_once = PTHREAD_ONCE_INIT;
static char version_text[48];

static void describe_version(void)
{
    const dnnl_version_t *v = dnnl_version();
    const char *runtime = v->cpu_runtime == DNNL_RUNTIME_OMP          ? "omp"
                          : v->cpu_runtime == DNNL_RUNTIME_TBB        ? "tbb"
                          : v->cpu_runtime == DNNL_RUNTIME_SEQ        ? "sequential"
                          : v->cpu_runtime == DNNL_RUNTIME_THREADPOOL ? "threadpool"
                                                                      : "other run time";
    snprintf(version_text, sizeof version_text, "%d.%d.%d (%.8s, %s)", v->major, v->minor, v->patch, v->hash,
             runtime);
}

const char *qb_onednn_version(void)
{
    pthread_once(&version_once, describe_version);
    return version_text;
}

static enum qb_status set_cap(enum qb_isa isa, struct qb_error *err)
{
    /* Index: enum qb_isa. AMX below the best would be this value too: oneDNN's newer AMX levels then stay
     * off. */
    static const dnnl_cpu_isa_t levels[QB_ISA_COUNT] = {
        [QB_ISA_AVX2] = dnnl_cpu_isa_avx2,
        [QB_ISA_AVXVNNI] = dnnl_cpu_isa_avx2_vnni,
        [QB_ISA_AVX512VNNI] = dnnl_cpu_isa_avx512_core_vnni,
        [QB_ISA_AMX] = dnnl_cpu_isa_avx512_core_amx,
    };
    const dnnl_status_t status = dnnl_set_max_cpu_isa(levels[isa]);
    if (status == dnnl_unimplemented) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "this oneDNN was built without ISA dispatch control, so ISA \"%s\" cannot "
                       "be asked of it; run without an ISA cap",
                       qb_isa_name(isa));
    }
    if (status != dnnl_success) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "oneDNN was used before in this process, so its ISA can no longer be "
                       "capped to \"%s\"; that row needs its own process",
                       qb_isa_name(isa));
    }
    return QB_OK;
}

enum qb_status qb_dnnl_check_threads(int threads, struct qb_error *err)
{
    const unsigned runtime = dnnl_version()->cpu_runtime;
    if (runtime == DNNL_RUNTIME_OMP || (runtime == DNNL_RUNTIME_SEQ && threads == 1)) {
        return QB_OK;
    }
    return qb_fail(
        err, QB_EUNSUPPORTED,
        "oneDNN %s does not take its threads from OpenMP, so a run on %d thread%s cannot be had from it; "
        "use a build of oneDNN for OpenMP",
        qb_onednn_version(), threads, threads == 1 ? "" : "s");
}

enum qb_status qb_dnnl_cap_isa(enum qb_isa isa, struct qb_error *err)
{
    if (isa == QB_ISA_REF) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "oneDNN has no scalar level to cap to; use the engine \"reference\" for ISA "
                       "\"ref\"");
    }
    const enum qb_isa best = qb_cpu_best(QB_ISA_AMX);
    const enum qb_isa wanted = isa < best ? isa : best;
    enum qb_status status = QB_OK;
    pthread_mutex_lock(&cap_lock);
    if (!cap_fixed) {
        status = wanted < best ? set_cap(wanted, err) : QB_OK;
        if (status == QB_OK) {
            cap = wanted;
            cap_fixed = true;
        }
    } else if (wanted != cap) {
        status = qb_fail(err, QB_EUNSUPPORTED,
                         "oneDNN reads its ISA once: this process runs it at \"%s\", so ISA \"%s\" "
                         "needs its own process",
                         qb_isa_name(cap), qb_isa_name(wanted));
    }
    pthread_mutex_unlock(&cap_lock);
    return status;
}

bool qb_dnnl_fuses_exactly(const dnnl_version_t *version)
{
    return version->major < 3 || (version->major == 3 && version->minor < 12);
}

const char *qb_dnnl_isa(void)
{
    static const char prefix[] = "cpu_isa_";
    const char *name = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa());
    return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name;
}

bool qb_dnnl_has_vnni(void)
{
    /* The levels are bit sets (dnnl_types.h): a level has what the bits of another say. */
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    const unsigned ymm = dnnl_cpu_isa_avx2_vnni, zmm = dnnl_cpu_isa_avx512_core_vnni;
    return (isa & ymm) == ymm || (isa & zmm) == zmm;
}

enum qb_simd qb_dnnl_simd(void)
{
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    const unsigned ymm = dnnl_cpu_isa_avx2, zmm = dnnl_cpu_isa_avx512_core;
    return (isa & zmm) == zmm ? QB_SIMD_AVX512 : (isa & ymm) == ymm ? QB_SIMD_AVX2 : QB_SIMD_BASE;
}

enum qb_status qb_dnnl_fail(struct qb_error *err, dnnl_status_t status, const char *what)
{
    const enum qb_status kind = status == dnnl_out_of_memory   ? QB_ENOMEM
                                : status == dnnl_unimplemented ? QB_EUNSUPPORTED
                                                               : QB_EFAILED;
    return qb_fail(err, kind, "%s: oneDNN %s says \"%s\"", what, qb_onednn_version(),
                   dnnl_status2str(status));
}
