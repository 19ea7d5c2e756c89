/* The description of this machine: every field is filled, counts agree with the kernel's, the id is stable.
 */
#include "testing.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/cores.h"
#include "base/cpu.h"
#include "measure/machine.h"

static void every_field(void **state)
{
    struct qb_machine m;
    cpu_set_t allowed;
    (void)state;
    memset(&m, 0xff, sizeof m);
    qb_machine_describe(&m);
    const char *const fields[] = {m.cpu,      m.stepping, m.isas, m.microcode, m.kernel, m.virtualization,
                                  m.governor, m.compiler, m.os,   m.caches};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        print_message("%s\n", fields[i]);
        assert_int_not_equal(fields[i][0], 0);
        assert_null(strchr(fields[i], '\n'));
    }
    assert_string_equal(m.isas, qb_cpu_isas());
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    if (m.threads > 0) { /* 0: hwloc cannot tell */
        assert_int_equal(m.threads, CPU_COUNT(&allowed));
        assert_in_range(m.cores, 1, m.threads);
        assert_in_range(m.packages, 1, m.cores);
    }
    assert_int_equal(strspn(m.id, "0123456789abcdef"), 16);
    assert_int_equal(m.id[16], 0);
}

static void id_is_stable(void **state)
{
    struct qb_machine first, bound;
    (void)state;
    qb_machine_describe(&first);
    assert_int_equal(qb_bind_thread(), 0);
    qb_machine_describe(&bound);
    assert_string_equal(first.id, bound.id);
}

static void bind_takes_the_first_place(void **state)
{
    cpu_set_t before, after;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(qb_bind_thread(), 0);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_int_equal(CPU_COUNT(&after), 1);
    assert_true(CPU_ISSET((size_t)qb_cores_cpu(0), &after));
    assert_int_equal(sched_getcpu(), qb_cores_cpu(0));
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field), cmocka_unit_test(bind_takes_the_first_place),
        cmocka_unit_test(id_is_stable), /* last: leaves the thread bound */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
