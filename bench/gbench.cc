// Google Benchmark behind a C interface: see gbench.h. Works with 1.6 and later.
#include "gbench.h"

#include <benchmark/benchmark.h>

#include <cmath>
#include <ctime>

struct gbench_run {
    benchmark::State &state;
    bool started;
    double begin, end;
};

static bool failed;

static double cpu_seconds()
{
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void gbench_init(int *argc, char **argv)
{
    benchmark::Initialize(argc, argv);
}

void gbench_context(const char *key, const char *value)
{
    benchmark::AddCustomContext(key, value);
}

void gbench_register(const char *name, gbench_fn *fn, void *ctx)
{
    benchmark::RegisterBenchmark(name, [fn, ctx](benchmark::State &state) {
        gbench_run run{state, false, 0, 0};
        fn(&run, ctx);
    })->Unit(benchmark::kMicrosecond);
}

int gbench_run_all(void)
{
    failed = false;
    const size_t matched = benchmark::RunSpecifiedBenchmarks();
    return failed ? 1 : matched == 0 ? 2 : 0;
}

void gbench_end(void)
{
    benchmark::ClearRegisteredBenchmarks();
    benchmark::Shutdown();
}

bool gbench_next(struct gbench_run *run)
{
    const bool more = run->state.KeepRunning();
    if (!run->started) {
        run->started = true;
        run->begin = cpu_seconds();
    } else if (!more) {
        run->end = cpu_seconds();
    }
    return more;
}

double gbench_seconds(const struct gbench_run *run)
{
    return run->end > run->begin ? (run->end - run->begin) / static_cast<double>(run->state.iterations())
                                 : NAN;
}

void gbench_counter(struct gbench_run *run, const char *name, double value)
{
    if (std::isfinite(value)) {
        run->state.counters[name] = value;
    }
}

void gbench_label(struct gbench_run *run, const char *text)
{
    run->state.SetLabel(text);
}

void gbench_skip(struct gbench_run *run, const char *reason)
{
    run->state.SkipWithError(reason);
}

void gbench_fail(struct gbench_run *run, const char *reason)
{
    failed = true;
    run->state.SkipWithError(reason);
}
