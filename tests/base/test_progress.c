/* Progress sink and the interrupt flag; the monotonic clock. */
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"
#include "testing.h"

struct seen {
    char what[32];
    uint64_t done, total;
};

static void note(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    struct seen *const seen = ctx;
    strncpy(seen->what, what, sizeof seen->what - 1);
    seen->done = done;
    seen->total = total;
}

static void reports_reach_the_sink(void **state)
{
    (void)state;
    struct seen seen = {0};
    const struct qb_progress progress = {.report = note, .ctx = &seen}, deaf = {0};
    qb_progress_report(&progress, "images", 3, 10);
    assert_string_equal(seen.what, "images");
    assert_int_equal(seen.done, 3);
    assert_int_equal(seen.total, 10);
    qb_progress_report(&deaf, "nobody", 1, 2);
    qb_progress_report(NULL, "nobody", 1, 2);
    assert_string_equal(seen.what, "images");
}

static void on_signal(int number)
{
    (void)number;
    qb_interrupt();
}

static void a_signal_sets_the_flag(void **state)
{
    (void)state;
    assert_false(qb_interrupted());
    void (*const old)(int) = signal(SIGINT, on_signal);
    raise(SIGINT);
    signal(SIGINT, old);
    assert_true(qb_interrupted());
}

static void time_does_not_run_back(void **state)
{
    (void)state;
    uint64_t last = qb_now_ns();
    for (unsigned i = 0; i < 10000; i++) {
        const uint64_t now = qb_now_ns();
        assert_true(now >= last);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_reach_the_sink),
        cmocka_unit_test(a_signal_sets_the_flag),
        cmocka_unit_test(time_does_not_run_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
