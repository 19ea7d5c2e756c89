/* Calibration samplers: see sampler.h. */
#include "data/sampler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/npy.h"
#include "base/rng.h"

/* A list of some million indices; more is a wrong file. */
enum { MAX_FILE = 16 << 20 };

void qb_sampler_parse(const char *text, struct qb_sampler *sampler)
{
    sampler->file = NULL;
    if (strcmp(text, "first") == 0) {
        sampler->kind = QB_SAMPLER_FIRST;
    } else if (strcmp(text, "random") == 0) {
        sampler->kind = QB_SAMPLER_RANDOM;
    } else {
        sampler->kind = QB_SAMPLER_FILE;
        sampler->file = text;
    }
}

static enum qb_status check_classes(const struct qb_sampler *sampler, const struct qb_dataset *set,
                                    struct qb_error *err)
{
    size_t have[QB_CLASSES] = {0};
    if (sampler->per_class == 0) {
        return qb_fail(err, QB_EINPUT, "samples per class: 0, at least 1 is expected");
    }
    for (size_t i = 0; i < set->count; i++) {
        have[set->labels[i]]++;
    }
    for (unsigned c = 0; c < QB_CLASSES; c++) {
        if (have[c] < sampler->per_class) {
            return qb_fail(err, QB_EINPUT,
                           "samples per class: %u asked for, class %u (%s) of %s has only %zu images",
                           sampler->per_class, c, qb_class_names[c], set->name, have[c]);
        }
    }
    return QB_OK;
}

static void draw_first(const struct qb_sampler *sampler, const struct qb_dataset *set, int64_t *indices)
{
    size_t taken[QB_CLASSES] = {0}, count = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (taken[set->labels[i]] < sampler->per_class) {
            taken[set->labels[i]]++;
            indices[count++] = (int64_t)i;
        }
    }
}

/* choice(a, n, replace=False) is a[permutation(len(a))[:n]], and permutation shuffles 0..len-1: shuffling the
 * indices of the class themselves gives the same images. `scratch` has room for all of them. */
static void draw_random(const struct qb_sampler *sampler, const struct qb_dataset *set, int64_t *scratch,
                        int64_t *indices)
{
    struct qb_rng rng;
    qb_rng_seed(&rng, sampler->seed);
    for (unsigned c = 0; c < QB_CLASSES; c++) {
        size_t count = 0;
        for (size_t i = 0; i < set->count; i++) {
            if (set->labels[i] == c) {
                scratch[count++] = (int64_t)i;
            }
        }
        qb_rng_shuffle(&rng, scratch, count);
        memcpy(indices + (size_t)c * sampler->per_class, scratch, sampler->per_class * sizeof *indices);
    }
}

static enum qb_status draw_by_class(const struct qb_sampler *sampler, const struct qb_dataset *set,
                                    int64_t **out, size_t *count, struct qb_error *err)
{
    QB_TRY(check_classes(sampler, set, err));
    *count = (size_t)sampler->per_class * QB_CLASSES; /* at most set->count: checked above */
    int64_t *const indices = malloc(*count * sizeof *indices), *const scratch =
                                                                   malloc(set->count * sizeof *scratch);
    if (!indices || !scratch) {
        free(indices);
        free(scratch);
        return qb_fail_memory(err, set->count * sizeof *scratch);
    }
    if (sampler->kind == QB_SAMPLER_FIRST) {
        draw_first(sampler, set, indices);
    } else {
        draw_random(sampler, set, scratch, indices);
    }
    free(scratch);
    *out = indices;
    return QB_OK;
}

/* `place` is "line 3" or "element 3". */
static enum qb_status check_index(const char *path, const char *place, size_t at, int64_t index,
                                  const struct qb_dataset *set, struct qb_error *err)
{
    if (index < 0 || (uint64_t)index >= set->count) {
        return qb_fail(err, QB_EINPUT, "%s: %s %zu: index %lld is outside 0..%zu, the %s images of %s", path,
                       place, at, (long long)index, set->count - 1,
                       set->split == QB_SPLIT_TRAIN ? "training" : "test", set->name);
    }
    return QB_OK;
}

static enum qb_status parse_npy(const char *path, const struct qb_blob *file, const struct qb_dataset *set,
                                int64_t **out, size_t *count, struct qb_error *err)
{
    struct qb_npy npy;
    QB_TRY(qb_npy_parse(path, file->data, file->size, &npy, err));
    enum qb_status status = QB_OK;
    int64_t *indices = NULL;
    if (npy.type == QB_NPY_F32 || npy.type == QB_NPY_F64) {
        status =
            qb_fail(err, QB_EINPUT,
                    "%s: floating-point numbers, indices must be integers (save .astype('int64'))", path);
    } else if (npy.dims != 1) {
        status = qb_fail(err, QB_EINPUT, "%s: an array of %d dimensions, a list of indices has one", path,
                         npy.dims);
    } else if (!(indices = malloc((npy.count + 1) * sizeof *indices))) {
        status = qb_fail_memory(err, npy.count * sizeof *indices);
    }
    for (size_t i = 0; status == QB_OK && i < npy.count; i++) {
        indices[i] = qb_npy_int(&npy, i);
        status = check_index(path, "element", i, indices[i], set, err);
    }
    *count = npy.count;
    qb_npy_free(&npy);
    if (status != QB_OK) {
        free(indices);
        return status;
    }
    *out = indices;
    return QB_OK;
}

static enum qb_status parse_line(const char *path, size_t line, char *text, const struct qb_dataset *set,
                                 int64_t *indices, size_t *count, struct qb_error *err)
{
    static const char blanks[] = " \t\r";
    text[strcspn(text, "#")] = 0;
    text += strspn(text, blanks);
    if (!*text) {
        return QB_OK;
    }
    char *end;
    errno = 0;
    const long long index = strtoll(text, &end, 10);
    if (end == text || end[strspn(end, blanks)] || errno) {
        text[strcspn(text, "\r")] = 0;
        return qb_fail(err, QB_EINPUT,
                       "%s: line %zu: \"%.40s\" is not an index; one integer a line is expected", path, line,
                       text);
    }
    QB_TRY(check_index(path, "line", line, index, set, err));
    indices[(*count)++] = index;
    return QB_OK;
}

static enum qb_status parse_text(const char *path, const struct qb_blob *file, const struct qb_dataset *set,
                                 int64_t **out, size_t *count, struct qb_error *err)
{
    char *const text = (char *)file->data, *const end = text + file->size;
    size_t lines = 1;
    for (const char *p = text; p < end; p++) {
        if (*p == 0) {
            return qb_fail(err, QB_EINPUT,
                           "%s: line %zu: a zero byte; a text file or a .npy file is expected", path, lines);
        }
        lines += *p == '\n';
    }
    int64_t *const indices = malloc(lines * sizeof *indices);
    if (!indices) {
        return qb_fail_memory(err, lines * sizeof *indices);
    }
    enum qb_status status = QB_OK;
    size_t line = 1;
    *count = 0;
    for (char *p = text, *next; p && status == QB_OK; p = next, line++) {
        next = strchr(p, '\n');
        if (next) {
            *next++ = 0;
        }
        status = parse_line(path, line, p, set, indices, count, err);
    }
    if (status != QB_OK) {
        free(indices);
        return status;
    }
    *out = indices;
    return QB_OK;
}

static enum qb_status draw_file(const char *path, const struct qb_dataset *set, int64_t **out, size_t *count,
                                struct qb_error *err)
{
    struct qb_blob file;
    const enum qb_status read = qb_file_read(path, MAX_FILE, &file, err);
    if (read == QB_ENOTFOUND) {
        return qb_fail(err, read,
                       "%s: no such file; the calibration list is \"first\", \"random\" or a file of indices",
                       path);
    }
    QB_TRY(read);
    const size_t length = strlen(path);
    const int npy = (length > 4 && strcmp(path + length - 4, ".npy") == 0) ||
                    (file.size >= 6 && memcmp(file.data, "\x93NUMPY", 6) == 0);
    const enum qb_status status =
        npy ? parse_npy(path, &file, set, out, count, err) : parse_text(path, &file, set, out, count, err);
    qb_blob_free(&file);
    if (status == QB_OK && *count == 0) {
        free(*out);
        return qb_fail(err, QB_EINPUT, "%s: no indices in it", path);
    }
    return status;
}

enum qb_status qb_sample_draw(const struct qb_sampler *sampler, const struct qb_dataset *set,
                              struct qb_sample *out, struct qb_error *err)
{
    int64_t *indices = NULL;
    size_t count = 0;
    QB_TRY(sampler->kind == QB_SAMPLER_FILE ? draw_file(sampler->file, set, &indices, &count, err)
                                            : draw_by_class(sampler, set, &indices, &count, err));
    out->indices = indices;
    out->count = count;
    qb_hash64(indices, count * sizeof *indices, out->hash);
    return QB_OK;
}

void qb_sample_free(struct qb_sample *sample)
{
    free(sample->indices);
    *sample = (struct qb_sample){0};
}
