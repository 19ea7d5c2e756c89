/* A trace (src/measure/trace.h) as a folder of files. */
#ifndef QB_REPORT_TRACE_FILES_H
#define QB_REPORT_TRACE_FILES_H

#include "measure/trace.h"

/* What the files say about their origin. */
struct trace_source {
    const char *model, *image; /* paths, or the index in words */
    const struct qb_qgraph *qgraph;
    struct qb_shape shape; /* of the image */
    const uint8_t *pixels;
    int label; /* -1: unknown */
};

/* Makes `folder`, which must not exist or be empty, with: image.npy (u8 [h, w, c]); integer/NN_NAME.codes.npy
 * (u8 or i8, the type outside) and integer/NN_NAME.npy (float32, dequantized) of every node of the integer
 * graph; float/NN_NAME.npy of every node of the float graph; stats.csv, one line a tensor; stats.json, the
 * same with histograms. All tensors are [h, w, c]. Written beside it and renamed: after any failure there is
 * no such folder, or the empty one as before. */
enum qb_status trace_write(const struct qb_trace *trace, const struct trace_source *source,
                           const char *folder, struct qb_error *err);

#endif
