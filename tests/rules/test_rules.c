/* The rule of the rooms: data flows one way, so a file may include headers of its own room, of rooms before
 * it in the order below, and of base. Reads every #include "room/..." under src/ and kernels/: kernels may
 * use base only, and is used by the engine room and those behind it. */
#include "testing.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

static const char *const rooms[] = {"base",    "config", "data",   "model", "quant",  "engine",
                                    "measure", "store",  "report", "cli",   "kernels"};
enum { ROOMS = sizeof rooms / sizeof rooms[0], BASE = 0, ENGINE = 5, KERNELS = ROOMS - 1 };

static size_t root_length;
static int files, broken;

static int room_of(const char *path)
{
    for (int i = 0; i < ROOMS; i++) {
        const size_t n = strlen(rooms[i]);
        if (strncmp(path, rooms[i], n) == 0 && path[n] == '/') {
            return i;
        }
    }
    return -1;
}

/* 1 when a file of room `from` may include one of room `to`. */
static int allowed(int from, int to)
{
    if (from == KERNELS) {
        return to == KERNELS || to == BASE;
    }
    return to == KERNELS ? from >= ENGINE : to <= from;
}

static int check_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)ftw;
    const char *const dot = strrchr(path, '.');
    if (flag != FTW_F || !dot || (strcmp(dot, ".c") != 0 && strcmp(dot, ".h") != 0)) {
        return 0;
    }
    const int from = room_of(path + root_length);
    FILE *const f = fopen(path, "r");
    if (!f || from < 0) {
        print_error("%s: not readable, or in no known room\n", path);
        broken++;
        if (f) {
            fclose(f);
        }
        return 0;
    }
    files++;
    char line[512], target[256];
    for (int number = 1; fgets(line, sizeof line, f); number++) {
        if (sscanf(line, " # include \"%255[^\"]\"", target) != 1) {
            continue;
        }
        const int to = room_of(target);
        if (to >= 0 && !allowed(from, to)) {
            print_error("%s:%d: %s may not include %s\n", path, number, rooms[from], target);
            broken++;
        }
    }
    fclose(f);
    return 0;
}

/* `tree`: the folder whose sub-folders are rooms; `dir`: where to start. */
static void walk(const char *tree, const char *dir)
{
    root_length = strlen(tree);
    assert_int_equal(nftw(dir, check_file, 16, FTW_PHYS), 0);
}

static void includes_follow_the_data(void **state)
{
    (void)state;
    walk(qbt_source("src/"), qbt_source("src"));
    walk(qbt_source(""), qbt_source("kernels"));
    assert_true(files > 40);
    assert_int_equal(broken, 0);
}

static void the_rule_itself_can_refuse(void **state)
{
    (void)state;
    assert_int_equal(room_of("model/graph.h"), 3);
    assert_int_equal(room_of("modelling.h"), -1);
    assert_true(allowed(room_of("quant/x"), room_of("model/x")));
    assert_false(allowed(room_of("model/x"), room_of("quant/x")));
    assert_false(allowed(room_of("base/x"), room_of("cli/x")));
    assert_int_equal(room_of("kernels/conv/conv.h"), KERNELS);
    assert_int_equal(room_of("engine/engine.h"), ENGINE);
    assert_true(allowed(KERNELS, BASE));
    assert_false(allowed(KERNELS, ENGINE));
    assert_false(allowed(room_of("quant/x"), KERNELS));
    assert_true(allowed(room_of("cli/x"), KERNELS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(includes_follow_the_data),
        cmocka_unit_test(the_rule_itself_can_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
