/* See pair.h. */
#include "cli/pair.h"

#include "cli/cli.h"
#include "cli/share.h"
#include "quant/equalize.h"

static enum qb_status load(const char *model, const char *scheme_name, struct qb_arena *arena,
                           struct qb_scheme *scheme, struct pair *out, struct qb_error *err)
{
    QB_TRY(qb_scheme_load(scheme_name, share_scheme_dirs(), arena, scheme, err));
    if (scheme->fp32) {
        return qb_fail(err, QB_EINPUT, "--scheme fp32: there is nothing to quantize; name an integer scheme");
    }
    QB_TRY(pipeline_graph_load(model, &out->graph, err));
    return out->graph->quantized
               ? qb_fail(err, QB_EINPUT, "%s: is quantized already; give the float model", model)
               : QB_OK;
}

enum qb_status pair_make(const char *model, const char *scheme, const struct calibration_options *calibration,
                         struct pair *out, struct qb_error *err)
{
    struct qb_sampler sampler;
    const struct pipeline_calibration how = calibration_of(calibration, &sampler);
    struct qb_arena *const arena = qb_arena_create();
    struct qb_scheme loaded = {0};
    struct pair pair = {0};
    enum qb_status status =
        arena ? load(model, scheme, arena, &loaded, &pair, err) : qb_fail_memory(err, sizeof(void *));
    if (status == QB_OK) {
        status = pipeline_quantize(pair.graph, &loaded, &how, &cli_progress, &pair.qgraph, err);
    }
    cli_progress_end();
    if (status == QB_OK && (loaded.refine & QB_REFINE_EQUALIZE)) {
        const char *note; /* the same pairs and numbers as in pipeline_quantize */
        pair.file = pair.graph;
        pair.graph = NULL;
        status = qb_equalize(pair.file, &pair.graph, &note, err);
    }
    qb_arena_destroy(arena);
    if (status != QB_OK) {
        pair_free(&pair);
        return status;
    }
    *out = pair;
    return QB_OK;
}

void pair_free(struct pair *pair)
{
    qb_qgraph_free(pair->qgraph);
    qb_graph_free(pair->graph);
    qb_graph_free(pair->file);
    *pair = (struct pair){0};
}
