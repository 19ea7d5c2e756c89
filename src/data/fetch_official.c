/* The official binary archive: see fetch_internal.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/fetch_internal.h"

enum {
    MAX_ARCHIVE = 256 << 20, /* it has 170 MB; a server that sends much more sends something else */
};

enum qb_status qb_fetch_official(const struct qb_fetch_plan *plan, const char *dir, const char *staging,
                                 const struct qb_fetch_io *io, struct qb_error *err)
{
    char names[QB_CIFAR_FILES][32], *part = NULL, *archive = qb_path_join(dir, plan->archive);
    const char *wanted[QB_CIFAR_FILES];
    const struct qb_download what = {
        .url = plan->url, .name = plan->archive, .md5 = plan->archive_md5, .max_bytes = MAX_ARCHIVE};
    enum qb_status status = QB_OK;
    if (!archive || asprintf(&part, "%s.part", archive) < 0) {
        free(archive);
        return qb_fail_memory(err, strlen(dir));
    }
    const int given = qb_is_file(archive);
    if (given) {
        qb_fetch_log(io, "using %s", archive);
        status = qb_download_check(&what, archive, err);
    } else {
        status = qb_download(&what, part, io, err);
    }
    for (unsigned i = 0; i < QB_CIFAR_FILES; i++) {
        snprintf(names[i], sizeof names[i], "%s.bin", qb_cifar_names[i]);
        wanted[i] = names[i];
    }
    if (status == QB_OK) {
        status = qb_archive_extract(given ? archive : part, wanted, QB_CIFAR_FILES,
                                    plan->rows * QB_CIFAR_RECORD, staging, io, err);
        if (status == QB_OK && !given) {
            unlink(part);
        }
    }
    free(archive);
    free(part);
    return status;
}
