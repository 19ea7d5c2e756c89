/* An engine whose every run is written down: which one, how many images. */
#ifndef QB_TEST_FAKE_ENGINE_H
#define QB_TEST_FAKE_ENGINE_H

#include "engine/engine.h"

enum { FAKE_LOG = 1 << 20 };

struct fake_log {
    size_t count;         /* runs; entries behind FAKE_LOG are not kept */
    uint8_t id[FAKE_LOG]; /* of the engine */
    int n[FAKE_LOG];
};

struct fake_engine {
    struct qb_engine base;
    struct fake_log *log;
    uint8_t id;
    unsigned spin;  /* steps of busy work a run */
    size_t slow;    /* the first runs, as many as this, take five milliseconds more */
    size_t runs;    /* so far */
    size_t fail_at; /* this run (counted from 1) fails; 0: none */
    size_t nan_at;  /* this run's last logit is NaN; 0: none */
    int hop;        /* 1: every run moves the thread to the other one of cpus */
    unsigned cpus[2];
};

/* Ten classes; logit c of an image is its byte c. */
void fake_engine_init(struct fake_engine *fake, struct fake_log *log, uint8_t id, int batch, unsigned spin);

#endif
