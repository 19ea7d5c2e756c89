/* Error texts and exit codes. */
#include <string.h>

#include "testing.h"

static void texts_are_one_line(void **state)
{
    (void)state;
    struct qb_error err;
    assert_int_equal(qb_fail(&err, QB_EIO, "%s: line %d\nsecond\r\tend", "f.yaml", 7), QB_EIO);
    assert_int_equal(err.status, QB_EIO);
    assert_string_equal(err.text, "f.yaml: line 7 second  end");
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    struct qb_error err;
    char text[4 * sizeof err.text];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    qb_fail(&err, QB_EINPUT, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    qb_fail_prefix(&err, "%s", "place");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "place: xxx", 10);
    qb_fail_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(err.text[0], 'x');
}

static void prefix_keeps_the_status(void **state)
{
    (void)state;
    struct qb_error err;
    qb_fail(&err, QB_ENOTFOUND, "no such file");
    assert_int_equal(qb_fail_prefix(&err, "model %s", "a.onnx"), QB_ENOTFOUND);
    assert_string_equal(err.text, "model a.onnx: no such file");
}

static void memory_names_the_size(void **state)
{
    (void)state;
    struct qb_error err;
    qbt_error(qb_fail_memory(&err, 123456), QB_ENOMEM, &err, "123456 bytes");
}

static void exit_codes(void **state)
{
    (void)state;
    assert_int_equal(qb_status_exit_code(QB_OK), 0);
    assert_int_equal(qb_status_exit_code(QB_EFAILED), 1);
    assert_int_equal(qb_status_exit_code(QB_ENOMEM), 1);
    assert_int_equal(qb_status_exit_code(QB_EINPUT), 2);
    assert_int_equal(qb_status_exit_code(QB_ENOTFOUND), 2);
    assert_int_equal(qb_status_exit_code(QB_EUNSUPPORTED), 2);
    assert_int_equal(qb_status_exit_code(QB_EIO), 2);
    assert_int_equal(qb_status_exit_code(QB_EINTERRUPTED), 130);
}

static enum qb_status try_twice(enum qb_status first, int *reached)
{
    QB_TRY(first);
    *reached = 1;
    return QB_EFAILED;
}

static void try_returns_at_once(void **state)
{
    (void)state;
    int reached = 0;
    assert_int_equal(try_twice(QB_EINPUT, &reached), QB_EINPUT);
    assert_int_equal(reached, 0);
    assert_int_equal(try_twice(QB_OK, &reached), QB_EFAILED);
    assert_int_equal(reached, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_one_line),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(prefix_keeps_the_status),
        cmocka_unit_test(memory_names_the_size),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(try_returns_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
