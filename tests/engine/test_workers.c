/* The native engine's workers: every one is called once a job, meetings order what they write, each has a
 * core of its own, the caller stays free, and an idle set of workers sleeps. */
#include "testing.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/cores.h"
#include "engine/native/workers.h"

enum { MOST = 4, PHASES = 50, JOBS = 200 };

static struct qb_workers *make(int threads)
{
    struct qb_workers *workers = NULL;
    struct qb_error err;
    qbt_ok(qb_workers_create(threads, &workers, &err), &err);
    return workers;
}

/* Plain ints: only meetings and the ends of jobs keep them apart. */
struct phases {
    struct qb_workers *workers;
    int threads, calls[MOST], at[MOST], wrong[MOST];
};

static void pass_phases(void *ctx, int worker)
{
    struct phases *const p = ctx;
    p->calls[worker]++;
    for (int phase = 1; phase <= PHASES; phase++) {
        p->at[worker] = phase;
        qb_workers_meet(p->workers, worker);
        for (int i = 0; i < p->threads; i++) {
            p->wrong[worker] += p->at[i] != phase;
        }
        qb_workers_meet(p->workers, worker);
    }
}

static void meetings(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST; threads++) {
        struct phases p = {.workers = make(threads), .threads = threads};
        for (int job = 1; job <= JOBS; job++) {
            qb_workers_run(p.workers, pass_phases, &p);
            for (int i = 0; i < threads; i++) {
                assert_int_equal(p.calls[i], job);
                assert_int_equal(p.at[i], PHASES);
                assert_int_equal(p.wrong[i], 0);
            }
        }
        qb_workers_free(p.workers);
    }
    qb_workers_free(NULL);
}

static void note_cpus(void *ctx, int worker)
{
    cpu_set_t *const sets = ctx;
    sched_getaffinity(0, sizeof sets[worker], &sets[worker]);
}

static void cores(void **state)
{
    (void)state;
    cpu_set_t before, after, sets[2];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    struct qb_workers *const workers = make(2);
    const bool bound = qb_workers_bound(workers);
    for (int i = 0; i < 20; i++) {
        qb_workers_run(workers, note_cpus, sets);
        assert_true(CPU_EQUAL(&sets[0], &before));
        if (bound) {
            assert_int_equal(CPU_COUNT(&sets[1]), 1);
            assert_true(CPU_ISSET((size_t)qb_cores_cpu(1), &sets[1]));
        }
    }
    qb_workers_free(workers);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    if (!bound) {
        print_message("nothing bound: %d cores\n", qb_cores_distinct());
    }
    assert_true(bound || qb_cores_distinct() < 2);
}

/* A caller on the CPU of the other worker is moved, and stays as free as it was. */
static void aside(void **state)
{
    (void)state;
    if (qb_cores_distinct() < 2) {
        print_message("SKIP: one core\n");
        skip();
    }
    cpu_set_t before, sets[2];
    struct qb_workers *const workers = make(2);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_true(qb_cores_move(1));
    assert_int_equal(sched_getcpu(), qb_cores_cpu(1));
    qb_workers_run(workers, note_cpus, sets);
    assert_true(CPU_EQUAL(&sets[0], &before));
    /* One that may be nowhere else works there. */
    assert_true(qb_cores_bind(pthread_self(), 1));
    for (int i = 0; i < 3; i++) {
        qb_workers_run(workers, note_cpus, sets);
        assert_int_equal(CPU_COUNT(&sets[0]), 1);
        assert_true(CPU_ISSET((size_t)qb_cores_cpu(1), &sets[0]));
    }
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    qb_workers_free(workers);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Three workers that spun through a pause would use up to three times its length. */
static void idle(void **state)
{
    (void)state;
    struct phases p = {.workers = make(MOST), .threads = MOST};
    qb_workers_run(p.workers, pass_phases, &p);
    const double before = cpu_seconds();
    nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
    assert_true(cpu_seconds() - before < 0.2);
    qb_workers_run(p.workers, pass_phases, &p);
    assert_int_equal(p.calls[MOST - 1], 2);
    qb_workers_free(p.workers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meetings),
        cmocka_unit_test(cores),
        cmocka_unit_test(aside),
        cmocka_unit_test(idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
