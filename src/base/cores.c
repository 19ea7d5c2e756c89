/* Places for threads: see cores.h. */
#include "base/cores.h"

#include <stdlib.h>
#include <hwloc.h>

static hwloc_topology_t topology;
static int *places, count, distinct;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A core with what is left of its CPUs. */
struct core {
    hwloc_bitmap_t cpus;
    int kind;       /* hwloc sorts kinds from thrifty to fast; -1: not known */
    int neighbours; /* CPUs that share its third cache */
    int number;
};

static int compare(const void *a, const void *b)
{
    const struct core *const x = a, *const y = b;
    return x->kind != y->kind               ? y->kind - x->kind
           : x->neighbours != y->neighbours ? y->neighbours - x->neighbours
                                            : y->number - x->number;
}

static int count_neighbours(hwloc_obj_t core, hwloc_const_bitmap_t allowed)
{
    const hwloc_obj_t cache = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_L3CACHE, core);
    const hwloc_bitmap_t shared = cache ? hwloc_bitmap_alloc() : NULL;
    if (!shared) {
        return 0;
    }
    hwloc_bitmap_and(shared, cache->cpuset, allowed);
    const int n = hwloc_bitmap_weight(shared);
    hwloc_bitmap_free(shared);
    return n;
}

/* Rounds over the cores, each giving its last CPU that is left. */
static void order(struct core *cores, int core_count, int cpus)
{
    qsort(cores, (size_t)core_count, sizeof *cores, compare);
    while (count < cpus) {
        const int before = count;
        for (int i = 0; i < core_count; i++) {
            const int cpu = hwloc_bitmap_last(cores[i].cpus);
            if (cpu >= 0) {
                places[count++] = cpu;
                hwloc_bitmap_clr(cores[i].cpus, (unsigned)cpu);
            }
        }
        distinct = before == 0 ? count : distinct;
        if (count == before) { /* CPUs that belong to no core */
            return;
        }
    }
}

static void list(hwloc_const_bitmap_t allowed)
{
    const int cpus = hwloc_bitmap_weight(allowed), all = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    struct core *const cores = all > 0 ? calloc((size_t)all, sizeof *cores) : NULL;
    places = cpus > 0 ? calloc((size_t)cpus, sizeof *places) : NULL;
    int used = 0;
    for (int i = 0; cores && places && i < all; i++) {
        const hwloc_obj_t core = hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, (unsigned)i);
        const hwloc_bitmap_t left = hwloc_bitmap_alloc();
        if (!left) {
            break;
        }
        hwloc_bitmap_and(left, core->cpuset, allowed);
        cores[used++] = (struct core){.cpus = left,
                                      .kind = hwloc_cpukinds_get_by_cpuset(topology, core->cpuset, 0),
                                      .neighbours = count_neighbours(core, allowed),
                                      .number = i};
    }
    if (places) {
        order(cores, used, cpus);
    }
    for (int i = 0; i < used; i++) {
        hwloc_bitmap_free(cores[i].cpus);
    }
    free(cores);
}

/* The topology stays: binding needs it. */
static void look(void)
{
    if (hwloc_topology_init(&topology) != 0) {
        topology = NULL;
        return;
    }
    const hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    if (allowed && hwloc_topology_load(topology) == 0 &&
        hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_PROCESS) == 0) {
        list(allowed);
    }
    hwloc_bitmap_free(allowed);
}

int qb_cores_count(void)
{
    pthread_once(&once, look);
    return count;
}

int qb_cores_distinct(void)
{
    pthread_once(&once, look);
    return distinct;
}

int qb_cores_cpu(int place)
{
    return place < qb_cores_count() ? places[place] : -1;
}

size_t qb_cores_cache(unsigned level)
{
    const int cpu = qb_cores_cpu(0);
    hwloc_obj_t o = cpu >= 0 ? hwloc_get_pu_obj_by_os_index(topology, (unsigned)cpu) : NULL;
    while (o && !(hwloc_obj_type_is_dcache(o->type) && o->attr->cache.depth == level)) {
        o = o->parent;
    }
    return o ? (size_t)o->attr->cache.size : 0;
}

bool qb_cores_bind(pthread_t thread, int place)
{
    const int cpu = qb_cores_cpu(place);
    const hwloc_bitmap_t set = cpu >= 0 ? hwloc_bitmap_alloc() : NULL;
    const bool bound = set && hwloc_bitmap_only(set, (unsigned)cpu) == 0 &&
                       hwloc_set_thread_cpubind(topology, thread, set, 0) == 0;
    hwloc_bitmap_free(set);
    return bound;
}

bool qb_cores_move(int place)
{
    const int cpu = qb_cores_cpu(place);
    const hwloc_bitmap_t before = cpu >= 0 ? hwloc_bitmap_alloc() : NULL;
    const bool moved = before && hwloc_get_cpubind(topology, before, HWLOC_CPUBIND_THREAD) == 0 &&
                       hwloc_bitmap_isset(before, (unsigned)cpu) && qb_cores_bind(pthread_self(), place) &&
                       hwloc_set_cpubind(topology, before, HWLOC_CPUBIND_THREAD) == 0;
    hwloc_bitmap_free(before);
    return moved;
}
