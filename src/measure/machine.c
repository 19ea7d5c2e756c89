/* What this machine is: see machine.h. */
#include "measure/machine.h"

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <hwloc.h>

#include "base/cores.h"
#include "base/cpu.h"
#include "base/hash.h"

#define SET(field, ...) snprintf((field), sizeof(field), __VA_ARGS__)

static void cut_newline(char *text)
{
    text[strcspn(text, "\n")] = 0;
}

/* First line of a small file; false when there is none. */
static bool read_line(const char *path, char *out, size_t size)
{
    FILE *const f = fopen(path, "re");
    const bool good = f && fgets(out, (int)size, f) && out[0] != '\n';
    if (f) {
        fclose(f);
    }
    if (good) {
        cut_newline(out);
    }
    return good;
}

struct cpuinfo {
    char brand[96], microcode[24];
    int family, model, stepping; /* -1 unknown */
    bool hypervisor;
};

/* The first processor of /proc/cpuinfo. */
static void read_cpuinfo(struct cpuinfo *out)
{
    *out = (struct cpuinfo){
        .brand = "unknown", .microcode = "unknown", .family = -1, .model = -1, .stepping = -1};
    FILE *const f = fopen("/proc/cpuinfo", "re");
    char *line = NULL;
    size_t capacity = 0;
    while (f && getline(&line, &capacity, f) > 1) { /* an empty line ends a processor */
        char *value = strchr(line, ':');
        if (!value) {
            continue;
        }
        char *const end = value;
        value += value[1] == ' ' ? 2 : 1;
        cut_newline(value);
        *end = 0;
        line[strcspn(line, "\t")] = 0;
        if (strcmp(line, "model name") == 0) {
            SET(out->brand, "%s", value);
        } else if (strcmp(line, "microcode") == 0) {
            SET(out->microcode, "%s", value);
        } else if (strcmp(line, "cpu family") == 0) {
            out->family = atoi(value);
        } else if (strcmp(line, "model") == 0) {
            out->model = atoi(value);
        } else if (strcmp(line, "stepping") == 0) {
            out->stepping = atoi(value);
        } else if (strcmp(line, "flags") == 0) {
            out->hypervisor = strstr(value, " hypervisor") != NULL;
        }
    }
    free(line);
    if (f) {
        fclose(f);
    }
}

/* The hypervisor's signature is CPUID leaf 0x40000000 (a convention of all vendors; Linux
 * Documentation/virt/kvm). */
static void read_virtualization(bool hypervisor, char *out, size_t size)
{
    static const struct {
        const char *signature, *name;
    } known[] = {{"KVMKVMKVM", "KVM"},          {"Microsoft Hv", "Hyper-V"}, {"VMwareVMware", "VMware"},
                 {"XenVMMXenVMM", "Xen"},       {"bhyve bhyve ", "bhyve"},   {"TCGTCGTCGTCG", "QEMU TCG"},
                 {"VBoxVBoxVBox", "VirtualBox"}};
    if (!hypervisor) {
        snprintf(out, size, "none");
        return;
    }
    uint32_t a, words[3];
    char signature[sizeof words + 1] = "";
    __cpuid(0x40000000, a, words[0], words[1], words[2]);
    memcpy(signature, words, sizeof words);
    snprintf(out, size, "%s", signature[0] ? signature : "unknown");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(signature, known[i].signature) == 0) {
            snprintf(out, size, "%s", known[i].name);
        }
    }
}

static void read_os(char *out, size_t size)
{
    static const char key[] = "PRETTY_NAME=";
    char line[256];
    snprintf(out, size, "unknown");
    FILE *const f = fopen("/etc/os-release", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            char *const value = line + strlen(key) + (line[strlen(key)] == '"');
            value[strcspn(value, "\"\n")] = 0;
            snprintf(out, size, "%s", value);
            break;
        }
    }
    if (f) {
        fclose(f);
    }
}

/* Appends " L2 1M" for the first cache of a type. */
static void append_cache(hwloc_topology_t topology, hwloc_obj_type_t type, const char *name, char *out,
                         size_t size)
{
    const hwloc_obj_t cache = hwloc_get_obj_by_type(topology, type, 0);
    if (cache && cache->attr->cache.size > 0) {
        const unsigned long long kib = cache->attr->cache.size >> 10;
        const size_t used = strlen(out);
        const bool mega = kib >= 1024 && kib % 1024 == 0;
        snprintf(out + used, size - used, "%s%s %llu%c", used ? " " : "", name, mega ? kib >> 10 : kib,
                 mega ? 'M' : 'K');
    }
}

static int count_objects(hwloc_topology_t topology, hwloc_obj_type_t type)
{
    const int n = hwloc_get_nbobjs_by_type(topology, type);
    return n > 0 ? n : 0;
}

static void read_topology(struct qb_machine *out)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) == 0) {
        hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING);
        if (hwloc_topology_load(topology) == 0) {
            out->cores = count_objects(topology, HWLOC_OBJ_CORE);
            out->threads = count_objects(topology, HWLOC_OBJ_PU);
            out->packages = count_objects(topology, HWLOC_OBJ_PACKAGE);
            append_cache(topology, HWLOC_OBJ_L1CACHE, "L1d", out->caches, sizeof out->caches);
            append_cache(topology, HWLOC_OBJ_L2CACHE, "L2", out->caches, sizeof out->caches);
            append_cache(topology, HWLOC_OBJ_L3CACHE, "L3", out->caches, sizeof out->caches);
        }
        hwloc_topology_destroy(topology);
    }
    if (!out->caches[0]) {
        SET(out->caches, "unknown");
    }
}

void qb_machine_describe(struct qb_machine *out)
{
    struct qb_machine m = {.load = -1};
    struct cpuinfo cpu;
    struct utsname name;
    char text[512];
    read_cpuinfo(&cpu);
    SET(m.cpu, "%s", cpu.brand);
    SET(m.stepping, "family %d model %d stepping %d", cpu.family, cpu.model, cpu.stepping);
    SET(m.isas, "%s", qb_cpu_isas());
    SET(m.microcode, "%s", cpu.microcode);
    if (uname(&name) == 0) {
        SET(m.kernel, "%s %s", name.sysname, name.release);
    } else {
        SET(m.kernel, "unknown");
    }
    read_virtualization(cpu.hypervisor, m.virtualization, sizeof m.virtualization);
    if (!read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", m.governor, sizeof m.governor)) {
        SET(m.governor, "unknown");
    }
#ifdef __clang__
    SET(m.compiler, "clang %s", __clang_version__);
#else
    SET(m.compiler, "gcc %s", __VERSION__);
#endif
    read_os(m.os, sizeof m.os);
    read_topology(&m);
    getloadavg(&m.load, 1);
    /* Not in the id: kernel, governor, load and the allowed CPUs (they change between runs of one machine),
     * and the compiler (the binary's hash stands for it). */
    const int used =
        SET(text, "%s|%s|%s|%s|%s|%s", m.cpu, m.stepping, m.isas, m.microcode, m.virtualization, m.caches);
    qb_hash64(text, (size_t)used, m.id);
    *out = m;
}

int qb_bind_thread(void)
{
    return qb_cores_bind(pthread_self(), 0) ? 0 : -1;
}
