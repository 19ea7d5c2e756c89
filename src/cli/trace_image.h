/* Every tensor of one image in a folder, for the commands that offer it. */
#ifndef QB_CLI_TRACE_IMAGE_H
#define QB_CLI_TRACE_IMAGE_H

#include "cli/pair.h"

struct trace_request {
    const char *model;    /* the file of the networks, for messages and the statistics */
    const char *image;    /* the index of a test image, or a .npy file, uint8 [h, w, c] */
    const char *output;   /* the folder to make */
    const char *data_dir; /* of the test images; NULL: wherever they are */
};

/* Runs the image through pair->qgraph, and pair->graph unless it is NULL; writes the folder
 * (report/trace_files.h), and what the networks say of the image to standard output. */
enum qb_status trace_image(const struct trace_request *request, const struct pair *pair,
                           struct qb_error *err);

#endif
