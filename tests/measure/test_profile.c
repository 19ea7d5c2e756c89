/* Time by layer: what the steps of an engine are charged with, and who is left out. */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "measure/profile.h"

/* Four nodes; node 1 is fused into node 2, node 3 has two pieces of work. */
struct stepper {
    struct qb_engine base;
    uint64_t spin_ns[4];
    size_t runs, watched;
};

static void spin(uint64_t ns)
{
    const uint64_t begin = qb_now_ns();
    while (qb_now_ns() - begin < ns) {
    }
}

static enum qb_status run(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                          struct qb_error *err)
{
    (void)images;
    (void)err;
    struct stepper *const s = (struct stepper *)engine;
    assert_int_equal(n, 1);
    s->runs++;
    s->watched += engine->step != NULL;
    for (int i = 0; i < 4; i++) {
        spin(s->spin_ns[i]);
        if (engine->step && i != 1) {
            engine->step(engine->step_ctx, i);
        }
    }
    if (engine->step) {
        spin(s->spin_ns[3]);
        engine->step(engine->step_ctx, 3);
    }
    memset(logits, 0, sizeof(float) * (size_t)engine->classes);
    return QB_OK;
}

static const struct qb_engine_ops ops = {.name = "stepper", .run = run};

static struct stepper make(uint64_t unit)
{
    return (struct stepper){.base = {.ops = &ops, .classes = 10, .batch = 1},
                            .spin_ns = {unit, 2 * unit, 3 * unit, 4 * unit}};
}

static void every_step_is_charged_with_its_time(void **state)
{
    (void)state;
    struct stepper slow = make(20000), quick = make(2000);
    struct qb_engine *const engines[] = {&slow.base, &quick.base};
    struct qb_profile out[2];
    struct qb_error err = {0};
    const uint8_t image[1] = {0};
    qbt_ok(qb_profile_measure(engines, 2, 4, image, 0.001, NULL, out, &err), &err);
    for (int e = 0; e < 2; e++) {
        const double unit = e == 0 ? 20 : 2;
        assert_int_equal(out[e].rounds, 20); /* the least number, although the time was up */
        assert_true(isnan(out[e].layers[1].least));
        assert_true(isnan(out[e].layers[1].median));
        /* A step takes what it spins at least, whatever else the machine does; less than half a microsecond
         * is lost to the clock that is taken off. */
        assert_true(out[e].layers[0].least > unit - 0.5);
        assert_true(out[e].layers[2].least > 5 * unit - 0.5);
        assert_true(out[e].layers[3].least > 8 * unit - 0.5);
        assert_true(out[e].layers[3].median >= out[e].layers[3].least);
        assert_true(out[e].whole.least > 10 * unit - 0.5);
        assert_null(engines[e]->step);
        qb_profile_free(&out[e]);
    }
    assert_int_equal(slow.watched, 20);
    assert_int_equal(slow.runs, 20 * 10); /* one that warms, eight without a clock, one with */
}

static enum qb_status refuse(struct qb_engine *engine, const uint8_t *images, int n, float *logits,
                             struct qb_error *err)
{
    (void)engine;
    (void)images;
    (void)n;
    (void)logits;
    return qb_fail(err, QB_EFAILED, "planted");
}

static void a_failing_engine_ends_it(void **state)
{
    (void)state;
    const struct qb_engine_ops failing = {.name = "failing", .run = refuse};
    struct qb_engine engine = {.ops = &failing, .classes = 10, .batch = 1};
    struct qb_engine *const engines[] = {&engine};
    struct qb_profile out[1] = {{0}};
    struct qb_error err = {0};
    const uint8_t image[1] = {0};
    assert_int_equal(qb_profile_measure(engines, 1, 4, image, 1, NULL, out, &err), QB_EFAILED);
    assert_string_equal(err.text, "planted");
    assert_null(out[0].layers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_is_charged_with_its_time),
        cmocka_unit_test(a_failing_engine_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
