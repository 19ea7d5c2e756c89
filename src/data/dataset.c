/* Finding and loading CIFAR-10: see dataset.h. */
#include "data/dataset.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/cifar.h"

const char *const qb_class_names[QB_CLASSES] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                "dog",      "frog",       "horse", "ship", "truck"};
const char *const qb_cifar_names[QB_CIFAR_FILES] = {"data_batch_1", "data_batch_2", "data_batch_3",
                                                    "data_batch_4", "data_batch_5", "test_batch"};

/* Where in a folder the files may lie, in order of preference. */
static const struct form {
    const char *folder, *suffix;
    enum qb_status (*read)(const char *path, size_t rows, struct qb_blob *records, struct qb_error *err);
} forms[] = {
    {".", ".bin", qb_cifar_bin_read},
    {"cifar-10-batches-bin", ".bin", qb_cifar_bin_read},
    {".", "", qb_cifar_pickle_read},
    {"cifar-10-batches-py", "", qb_cifar_pickle_read},
};
enum { FORMS = sizeof forms / sizeof forms[0] };

static char *batch_path(const char *dir, const struct form *form, unsigned file)
{
    char *path = NULL;
    const int in_dir = strcmp(form->folder, ".") == 0;
    return asprintf(&path, "%s/%s%s%s%s", dir, in_dir ? "" : form->folder, in_dir ? "" : "/",
                    qb_cifar_names[file], form->suffix) < 0
               ? NULL
               : path;
}

/* How many of the files first..last of a form are in `dir`. */
static unsigned count_files(const char *dir, const struct form *form, unsigned first, unsigned last)
{
    unsigned count = 0;
    for (unsigned i = first; i <= last; i++) {
        char *const path = batch_path(dir, form, i);
        count += path && qb_is_file(path);
        free(path);
    }
    return count;
}

/* The form of which `dir` holds most of the files first..last, the earlier one when equal; NULL when it holds
 * none. */
static const struct form *find_form(const char *dir, unsigned first, unsigned last)
{
    const struct form *best = NULL;
    unsigned most = 0;
    for (unsigned i = 0; i < FORMS; i++) {
        const unsigned count = count_files(dir, &forms[i], first, last);
        if (count > most) {
            most = count;
            best = &forms[i];
        }
    }
    return best;
}

static enum qb_status no_data_in(const char *dir, struct qb_error *err)
{
    if (!qb_is_dir(dir)) {
        return qb_fail(
            err, QB_ENOTFOUND,
            "%s: no such folder; give one that holds CIFAR-10 (cifar-10-batches-bin or cifar-10-batches-py), "
            "or run `qbench fetch cifar10`",
            dir);
    }
    return qb_fail(err, QB_ENOTFOUND,
                   "%s: no CIFAR-10 here (data_batch_1.bin .. test_batch.bin, cifar-10-batches-bin/ or "
                   "cifar-10-batches-py/ are looked for); run `qbench fetch cifar10`",
                   dir);
}

char *qb_cache_dir(const char *name)
{
    char *path = NULL;
    const char *base = getenv("QB_CACHE_DIR");
    int length = -1;
    if (base && *base) {
        length = asprintf(&path, "%s/%s", base, name);
    } else if ((base = getenv("XDG_CACHE_HOME")) &&
               *base == '/') { /* the XDG rule: a relative path is ignored */
        length = asprintf(&path, "%s/qbench/%s", base, name);
    } else {
        base = getenv("HOME");
        if (!base || !*base) {
            const struct passwd *const user = getpwuid(getuid());
            base = user ? user->pw_dir : ".";
        }
        length = asprintf(&path, "%s/.cache/qbench/%s", base, name);
    }
    return length < 0 ? NULL : path;
}

enum qb_status qb_data_locate(const char *dir, char **out, struct qb_error *err)
{
    const char *const variable = getenv("QB_DATA_DIR");
    const int from_variable = !dir && variable && *variable;
    const char *const named = from_variable ? variable : dir;
    if (named) {
        if (!find_form(named, 0, QB_CIFAR_FILES - 1)) {
            no_data_in(named, err);
            return from_variable ? qb_fail_prefix(err, "QB_DATA_DIR") : err->status;
        }
        *out = strdup(named);
        return *out ? QB_OK : qb_fail_memory(err, strlen(named));
    }
    /* Places nobody named count only when they are complete: an interrupted fetch must read as "not there".
     */
    char *const cache = qb_cache_dir("cifar10");
    if (!cache) {
        return qb_fail_memory(err, 0);
    }
    const char *const places[] = {cache, "data"};
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        for (unsigned k = 0; k < FORMS; k++) {
            if (count_files(places[i], &forms[k], 0, QB_CIFAR_FILES - 1) == QB_CIFAR_FILES) {
                *out = strdup(places[i]);
                free(cache);
                return *out ? QB_OK : qb_fail_memory(err, 0);
            }
        }
    }
    qb_fail(err, QB_ENOTFOUND,
            "CIFAR-10 was not found in %s nor in ./data; run `qbench fetch cifar10`, or name its folder with "
            "--data-dir or "
            "QB_DATA_DIR",
            cache);
    free(cache);
    return err->status;
}

/* Puts records behind the set's images so far: planes to NHWC. */
static void add_records(struct qb_dataset *set, const struct qb_blob *records)
{
    const size_t rows = records->size / QB_CIFAR_RECORD;
    for (size_t i = 0; i < rows; i++) {
        const uint8_t *const record = records->data + i * QB_CIFAR_RECORD;
        uint8_t *const image = set->images + (set->count + i) * QB_IMAGE_BYTES;
        set->labels[set->count + i] = record[0];
        for (size_t p = 0; p < QB_CIFAR_PLANE; p++) {
            for (size_t c = 0; c < QB_IMAGE_C; c++) {
                image[p * QB_IMAGE_C + c] = record[1 + c * QB_CIFAR_PLANE + p];
            }
        }
    }
    set->count += rows;
}

enum qb_status qb_dataset_load(const char *dir, enum qb_split split, struct qb_dataset *out,
                               struct qb_error *err)
{
    const unsigned first = split == QB_SPLIT_TRAIN ? 0 : QB_CIFAR_TRAIN_FILES;
    const unsigned last = split == QB_SPLIT_TRAIN ? QB_CIFAR_TRAIN_FILES - 1 : QB_CIFAR_TRAIN_FILES;
    const struct form *form = find_form(dir, first, last);
    if (!form) {
        form =
            find_form(dir, 0, QB_CIFAR_FILES - 1); /* the other split is there: name the file that is not */
    }
    if (!form) {
        return no_data_in(dir, err);
    }
    const size_t rows = (size_t)(last - first + 1) * QB_CIFAR_ROWS;
    struct qb_dataset set = {.name = "cifar10", .split = split};
    struct qb_sha256_stream *const sha = qb_sha256_begin();
    enum qb_status status = QB_OK;
    set.images = malloc(rows * QB_IMAGE_BYTES);
    set.labels = malloc(rows);
    if (!set.images || !set.labels || !sha) {
        status = qb_fail_memory(err, rows * QB_IMAGE_BYTES);
    }
    for (unsigned i = first; i <= last && status == QB_OK; i++) {
        struct qb_blob records;
        char *const path = batch_path(dir, form, i);
        if (!path) {
            status = qb_fail_memory(err, 0);
        } else if (!qb_is_file(path)) {
            status = qb_fail(err, QB_ENOTFOUND,
                             "%s: missing, the other files of CIFAR-10 are there; run `qbench fetch cifar10`",
                             path);
        } else {
            status = form->read(path, QB_CIFAR_ROWS, &records, err);
        }
        free(path);
        if (status == QB_OK) {
            qb_sha256_add(sha, records.data, records.size);
            add_records(&set, &records);
            qb_blob_free(&records);
        }
    }
    if (sha) {
        qb_sha256_end(sha, set.sha256);
    }
    if (status != QB_OK) {
        qb_dataset_free(&set);
        return status;
    }
    *out = set;
    return QB_OK;
}

void qb_dataset_free(struct qb_dataset *set)
{
    free(set->images);
    free(set->labels);
    *set = (struct qb_dataset){0};
}
