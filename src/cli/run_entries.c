/* The combinations that this CPU and this call are about: see run.h. */
#include "cli/run.h"

#include <stdlib.h>
#include <string.h>

/* An instruction set that the plan names but this CPU lacks. */
static enum qb_isa isa_named(const char *name)
{
    int isa = QB_ISA_COUNT - 1;
    while (isa > 0 && strcmp(qb_isa_name((enum qb_isa)isa), name) != 0) {
        isa--;
    }
    return (enum qb_isa)isa;
}

/* What the plan asks for and this CPU lacks is shown as SKIPPED; what the user asks for now (QB_ISA, --isa)
 * is an error. */
static enum qb_status choose_isa(struct run_entry *entry, struct qb_error *err)
{
    const char *const name = entry->plan->isa;
    if (strcmp(entry->plan->engine, "reference") == 0) {
        entry->isa = QB_ISA_REF; /* it has but one form, whatever it is allowed */
        return QB_OK;
    }
    const enum qb_status status = qb_cpu_select(name, &entry->isa, err);
    if (status == QB_EUNSUPPORTED && strcmp(name, "best") != 0) {
        entry->unavailable = *err;
        entry->isa = isa_named(name);
        return QB_OK;
    }
    return status;
}

/* Several names may come to one instruction set: "best" and its own. */
static bool is_repeated(const struct run_entry *entries, size_t count, const struct run_entry *e)
{
    for (size_t i = 0; i < count; i++) {
        const struct run_entry *const f = &entries[i];
        if (e->scheme == f->scheme && e->isa == f->isa && e->plan->threads == f->plan->threads &&
            strcmp(e->plan->engine, f->plan->engine) == 0) {
            return true;
        }
    }
    return false;
}

/* All combinations of the plan, each once. */
static enum qb_status list_entries(struct run *run, struct qb_error *err)
{
    for (size_t i = 0; i < run->plan.entry_count; i++) {
        const struct qb_plan_entry *const p = &run->plan.entries[i];
        struct run_entry entry = {.plan = p, .scheme = &run->schemes[p->scheme - run->plan.schemes]};
        QB_TRY(choose_isa(&entry, err));
        if (!is_repeated(run->entries, run->entry_count, &entry)) {
            run->entries[run->entry_count++] = entry;
        }
    }
    return QB_OK;
}

enum qb_status run_entries_make(struct run *run, const char *only_isa, struct qb_error *err)
{
    enum qb_isa only = QB_ISA_COUNT;
    if (only_isa) {
        QB_TRY(qb_cpu_select(only_isa, &only, err));
    }
    run->schemes = calloc(run->plan.scheme_count, sizeof *run->schemes);
    run->entries = calloc(run->plan.entry_count, sizeof *run->entries);
    if (!run->schemes || !run->entries) {
        return qb_fail_memory(err, run->plan.entry_count * sizeof *run->entries);
    }
    for (size_t i = 0; i < run->plan.scheme_count; i++) {
        run->schemes[i].scheme = &run->plan.schemes[i];
    }
    QB_TRY(list_entries(run, err));
    size_t kept = 0;
    for (size_t i = 0; i < run->entry_count; i++) {
        if (only == QB_ISA_COUNT || run->entries[i].isa == only) {
            run->entries[kept++] = run->entries[i];
        }
    }
    run->entry_count = kept;
    for (size_t i = 0; i < kept; i++) {
        run->entries[i].rows = calloc(run->plan.measure.batch_count, sizeof *run->entries[i].rows);
        if (!run->entries[i].rows) {
            return qb_fail_memory(err, run->plan.measure.batch_count * sizeof *run->entries[i].rows);
        }
    }
    return kept
               ? QB_OK
               : qb_fail(err, QB_EINPUT, "%s: no combination is left for --isa %s", run->plan.path, only_isa);
}

static bool is_onednn(const struct run_entry *entry)
{
    return strncmp(entry->plan->engine, "onednn", 6) == 0;
}

bool run_wants_children(struct run *run)
{
    bool any = false, several = false;
    run->onednn_isa = qb_cpu_best(QB_ISA_AMX);
    for (size_t i = 0; i < run->entry_count; i++) {
        const struct run_entry *const e = &run->entries[i];
        /* "ref" is no level of oneDNN: such an entry is refused and caps nothing. */
        if (is_onednn(e) && e->unavailable.status == QB_OK && e->isa != QB_ISA_REF) {
            several |= any && e->isa != run->onednn_isa;
            run->onednn_isa = e->isa;
            any = true;
        }
    }
    return several;
}
