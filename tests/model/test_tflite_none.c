/* The message of a program that was built without flatbuffers. */
#include "testing.h"

#include "model/tflite.h"

static void test_message(void **state)
{
    (void)state;
    uint8_t bytes[] = "\x1c\0\0\0TFL3";
    const struct qb_blob file = {bytes, sizeof bytes};
    struct qb_graph *graph = NULL;
    struct qb_error err;
    qbt_error(qb_tflite_import("a.tflite", &file, &graph, &err), QB_EUNSUPPORTED, &err,
              "a.tflite: a TensorFlow Lite file, and this program was built without flatbuffers: install");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_message)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
