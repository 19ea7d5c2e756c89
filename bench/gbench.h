/* Google Benchmark for C: benchmarks are functions over a context pointer. Its own flags, loop control,
 * statistics and reporters do the work, so that its tools (compare.py) read what we write. gbench.cc is the
 * one C++ file.
 *
 *     static void copy(struct gbench_run *run, void *ctx)
 *     {
 *         ... make what is measured; on failure gbench_fail(run, reason), clean up and return
 *         while (gbench_next(run)) {
 *             memcpy(dst, src, size);
 *         }
 *         gbench_counter(run, "MB/s", size * 1e-6 / gbench_seconds(run));
 *         ... free it
 *     }
 *
 * Google Benchmark calls the function several times for one result (while it looks for the number of
 * iterations, and once a repetition); what is made before the loop and freed behind it is never timed. Not
 * thread-safe. */
#ifndef QB_BENCH_GBENCH_H
#define QB_BENCH_GBENCH_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gbench_run;
typedef void gbench_fn(struct gbench_run *run, void *ctx);

/* Takes Google Benchmark's flags out of the arguments; the others stay. --help prints and exits. */
void gbench_init(int *argc, char **argv);
/* One line of the report's head, "context" in JSON. Each key once. */
void gbench_context(const char *key, const char *value);
/* `name` is copied, `ctx` must live until gbench_run_all returns. */
void gbench_register(const char *name, gbench_fn *fn, void *ctx);
/* Runs what the flags choose; returns an exit code: 0, 1 when gbench_fail was called, 2 when nothing matched
 * the filter. */
int gbench_run_all(void);
/* Frees all; the last call. */
void gbench_end(void);

/* Inside a benchmark. */

/* True as long as there is an iteration to do. */
bool gbench_next(struct gbench_run *run);
/* Behind the loop: CPU seconds of one iteration, measured as the report's column "CPU" is. NAN without a
 * loop. */
double gbench_seconds(const struct gbench_run *run);
/* A number beside the times, averaged like them over repetitions. NAN and infinity, which JSON lacks, are
 * left out. */
void gbench_counter(struct gbench_run *run, const char *name, double value);
void gbench_label(struct gbench_run *run, const char *text);
/* Instead of a result: not possible here (skip), or wrong (fail: gbench_run_all returns 1). */
void gbench_skip(struct gbench_run *run, const char *reason);
void gbench_fail(struct gbench_run *run, const char *reason);

#ifdef __cplusplus
}
#endif

#endif
