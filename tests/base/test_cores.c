/* The order of places on machines that hwloc makes up: cores before their second CPUs, one cache after the
 * other. A process looks once, so that each machine has a process of its own. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <hwloc.h>

#include "base/cores.h"

/* Makes hwloc see `machine` (its synthetic description) with the CPUs `cpus` alone, or all. */
static int pretend(const char *machine, const char *cpus)
{
    hwloc_topology_t topology;
    const hwloc_bitmap_t set = hwloc_bitmap_alloc();
    char *const dir = qbt_mkdtemp(), path[4096];
    snprintf(path, sizeof path, "%s/machine.xml", dir);
    const int bad =
        hwloc_topology_init(&topology) || hwloc_topology_set_synthetic(topology, machine) ||
        hwloc_topology_load(topology) ||
        (cpus && (hwloc_bitmap_list_sscanf(set, cpus) || hwloc_topology_restrict(topology, set, 0))) ||
        hwloc_topology_export_xml(topology, path, 0);
    hwloc_topology_destroy(topology);
    hwloc_bitmap_free(set);
    setenv("HWLOC_XMLFILE", path, 1);
    const int count = bad ? 0 : qb_cores_count(); /* reads the file */
    qbt_rmtree(dir);
    return count;
}

/* What a look at such a machine finds, as text. */
static char *look(const char *machine, const char *cpus)
{
    static char text[1024];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int count = pretend(machine, cpus);
        FILE *const out = fdopen(ends[1], "w");
        if (!out) {
            _exit(1);
        }
        fprintf(out, "%d of %d:", qb_cores_distinct(), count);
        for (int i = 0; i < count; i++) {
            fprintf(out, " %d", qb_cores_cpu(i));
        }
        fprintf(out, "; L1 %zu L2 %zu", qb_cores_cache(1), qb_cores_cache(2));
        fclose(out);
        _exit(qb_cores_cpu(count) == -1 ? 0 : 1);
    }
    close(ends[1]);
    const ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(n > 0);
    text[n] = 0;
    return text;
}

static void orders(void **state)
{
    (void)state;
    assert_string_equal(look("core:1 pu:1", NULL), "1 of 1: 0; L1 0 L2 0");
    assert_string_equal(look("package:1 l3:1 l2:4(size=1048576) l1:1(size=32768) core:1 pu:1", NULL),
                        "4 of 4: 3 2 1 0; L1 32768 L2 1048576");
    /* Two CPUs a core, numbered one after the other, and a round over the cores after the other. */
    assert_string_equal(look("package:1 l3:1 core:3 pu:2", NULL), "3 of 6: 5 3 1 4 2 0; L1 0 L2 0");
    assert_string_equal(look("package:1 l3:1 core:3 pu:2(indexes=0,3,1,4,2,5)", NULL),
                        "3 of 6: 5 4 3 2 1 0; L1 0 L2 0");
    /* The cache with most CPUs of this process first. */
    assert_string_equal(look("package:1 l3:2 core:4 pu:1", NULL), "8 of 8: 7 6 5 4 3 2 1 0; L1 0 L2 0");
    assert_string_equal(look("package:1 l3:2 core:4 pu:1", "0-2,6"), "4 of 4: 2 1 0 6; L1 0 L2 0");
}

/* On this machine: at least one place, where a thread can be. */
static void this_machine(void **state)
{
    (void)state;
    if (qb_cores_count() == 0) {
        print_message("SKIP: hwloc cannot tell the CPUs of this machine\n");
        skip();
    }
    assert_in_range(qb_cores_distinct(), 1, qb_cores_count());
    for (int i = 0; i < qb_cores_count(); i++) {
        for (int j = 0; j < i; j++) {
            assert_int_not_equal(qb_cores_cpu(i), qb_cores_cpu(j));
        }
    }
    assert_false(qb_cores_bind(pthread_self(), qb_cores_count()));
    assert_false(qb_cores_move(qb_cores_count()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(orders), cmocka_unit_test(this_machine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
