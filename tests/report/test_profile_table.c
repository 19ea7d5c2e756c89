/* The table of layers: where fused work is counted, and which layers are compared. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "report/profile.h"

/* input -> conv -> conv_1 -> add(conv_1, conv) -> dense */
static const struct qb_profile_node nodes[] = {
    {"input", "input", {4, 4, 3}, 0, {-1, -1}},    {"conv", "conv", {4, 4, 8}, 1000, {0, -1}},
    {"conv_1", "conv", {4, 4, 8}, 2000, {1, -1}},  {"add", "add", {4, 4, 8}, 0, {2, 1}},
    {"dense", "dense", {1, 1, 10}, 1000, {3, -1}},
};
enum { NODES = 5 };

static void fused_work_is_counted_once(void **state)
{
    (void)state;
    struct qb_profile_time fused[NODES] = {{1, 1}, {2, 2}, {NAN, NAN}, {4, 5}, {1, 1}};
    struct qb_profile_time plain[NODES] = {{1, 1}, {4, 4}, {4, 4}, {2, 2}, {2, 2}};
    const struct qb_profile a = {.layers = fused, .whole = {8, 9}, .rounds = 20},
                            b = {.layers = plain, .whole = {13, 14}, .rounds = 20};
    assert_int_equal(qb_profile_home(nodes, NODES, &a, 2), 3);
    assert_int_equal(qb_profile_home(nodes, NODES, &b, 2), 2);
    assert_int_equal(qb_profile_home(nodes, NODES, &a, 1), 1);
    const struct qb_profile_column columns[] = {{"native", "avx2", "kernels", &a, 1},
                                                {"onednn", "avx2", "jit", &b, NAN}};
    struct qb_error err = {0};
    char *text = NULL;
    qbt_ok(qb_profile_render(nodes, NODES, columns, 2, 0, &text, &err), &err);
    assert_non_null(strstr(text, "in add"));
    const char *const add = strstr(text, "\nadd ");
    assert_non_null(add);
    /* 2,000 MACs of conv_1 in 4 us at 1 GMAC/s: half the roof. The other engine's addition is another work.
     */
    assert_non_null(strstr(add, "     4.00  50.0    50       2.00  15.4     -         -\n"));
    assert_non_null(strstr(text, "     2.00x\n"));
    assert_non_null(strstr(text, "whole run"));
    assert_non_null(strstr(text, "1.62x"));
    free(text);

    qbt_ok(qb_profile_render(nodes, NODES, columns, 2, 1, &text, &err), &err);
    json_t *const root = json_loads(text, 0, NULL);
    assert_non_null(root);
    json_t *const engine = json_array_get(json_object_get(root, "engines"), 0), *const layer = json_array_get(
                                                                                    json_object_get(engine,
                                                                                                    "layers"),
                                                                                    2);
    assert_string_equal(json_string_value(json_object_get(layer, "fused_into")), "add");
    assert_true(json_is_null(json_object_get(layer, "least_us")));
    json_decref(root);
    free(text);
}

/* Nothing that the engine timed reads the last node. */
static void work_that_no_step_shows_is_nowhere(void **state)
{
    (void)state;
    struct qb_profile_time times[NODES] = {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {NAN, NAN}};
    const struct qb_profile p = {.layers = times};
    assert_int_equal(qb_profile_home(nodes, NODES, &p, 4), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_work_is_counted_once),
        cmocka_unit_test(work_that_no_step_shows_is_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
