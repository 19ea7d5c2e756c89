/* Arena: alignment, zeroes, growth, refusals. */
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "testing.h"

static int make(void **state)
{
    *state = qb_arena_create();
    return *state ? 0 : -1;
}

static int destroy(void **state)
{
    qb_arena_destroy(*state);
    return 0;
}

static void arrays_are_aligned_zeroed_and_apart(void **state)
{
    enum { COUNT = 3000 };
    static unsigned char *got[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        /* Sizes around the alignment and, now and then, larger than a block. */
        const size_t size = i % 100 == 99 ? 100000 + i : 1 + i % 130;
        got[i] = qb_arena_array(*state, size, 1);
        assert_non_null(got[i]);
        assert_int_equal((uintptr_t)got[i] % 64, 0);
        for (size_t k = 0; k < size; k++) {
            assert_int_equal(got[i][k], 0);
        }
        memset(got[i], (int)(i & 0xff) | 1, size);
    }
    for (size_t i = 0; i < COUNT; i++) { /* nobody wrote into a neighbour */
        const size_t size = i % 100 == 99 ? 100000 + i : 1 + i % 130;
        assert_int_equal(got[i][0], (i & 0xff) | 1);
        assert_int_equal(got[i][size - 1], (i & 0xff) | 1);
    }
}

static void impossible_sizes_give_null(void **state)
{
    assert_null(qb_arena_array(*state, SIZE_MAX, 2));
    assert_null(qb_arena_array(*state, SIZE_MAX / 4, 8));
    assert_null(qb_arena_array(*state, SIZE_MAX, 1));
    assert_null(qb_arena_array(*state, 1, SIZE_MAX - 10));
    assert_non_null(qb_arena_array(*state, 10, 10)); /* still usable */
}

static void nothing_is_a_valid_pointer(void **state)
{
    assert_non_null(qb_arena_array(*state, 0, 8));
    assert_non_null(qb_arena_array(*state, 8, 0));
    assert_non_null(qb_arena_memdup(*state, "", 0));
}

static void copies(void **state)
{
    char text[] = "conv_1";
    char *const copy = qb_arena_strdup(*state, text), *const mem = qb_arena_memdup(*state, text, 3);
    text[0] = 'X';
    assert_string_equal(copy, "conv_1");
    assert_memory_equal(mem, "con", 3);
    assert_string_equal(qb_arena_printf(*state, "%s.%03d", "node", 7), "node.007");
    char *const empty = qb_arena_printf(*state, "%s", "");
    assert_string_equal(empty, "");
}

static void null_may_be_destroyed(void **state)
{
    (void)state;
    qb_arena_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arrays_are_aligned_zeroed_and_apart, make, destroy),
        cmocka_unit_test_setup_teardown(impossible_sizes_give_null, make, destroy),
        cmocka_unit_test_setup_teardown(nothing_is_a_valid_pointer, make, destroy),
        cmocka_unit_test_setup_teardown(copies, make, destroy),
        cmocka_unit_test(null_may_be_destroyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
