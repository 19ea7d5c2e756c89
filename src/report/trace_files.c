/* See trace_files.h. */
#include "report/trace_files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>

#include "base/file.h"
#include "base/npy.h"
#include "base/progress.h"
#include "model/inspect_out.h"

enum { PATH = 4096, NAME = 128 };

/* "07_conv_3": safe as a file name, in execution order when sorted. */
static void file_stem(size_t index, const char *name, char out[NAME])
{
    size_t used = (size_t)snprintf(out, NAME, "%02zu_", index);
    for (; *name && used < NAME - 1; name++) {
        out[used++] = isalnum((unsigned char)*name) || strchr("._-", *name) ? *name : '_';
    }
    out[used] = 0;
}

/* ---- arrays ---- */

static enum qb_status write_array(const char *folder, const char *part, const char *stem, const char *suffix,
                                  enum qb_npy_type type, struct qb_shape shape, const void *data,
                                  struct qb_error *err)
{
    char path[PATH];
    const size_t dims[3] = {(size_t)shape.h, (size_t)shape.w, (size_t)shape.c};
    if (snprintf(path, sizeof path, "%s/%s%s%s.npy", folder, part, stem, suffix) >= PATH) {
        return qb_fail(err, QB_EINPUT, "%s: the path is too long", folder);
    }
    return qb_interrupted() ? qb_fail(err, QB_EINTERRUPTED, "interrupted")
                            : qb_npy_write(path, type, 3, dims, data, err);
}

static enum qb_status write_codes(const char *folder, const char *stem, const struct qb_trace_tensor *t,
                                  struct qb_error *err)
{
    if (t->q.dtype == QB_QUINT8) {
        return write_array(folder, "integer/", stem, ".codes", QB_NPY_U8, t->shape, t->codes, err);
    }
    int8_t *const outside = malloc(t->count);
    if (!outside) {
        return qb_fail_memory(err, t->count);
    }
    for (size_t i = 0; i < t->count; i++) {
        outside[i] = (int8_t)(t->codes[i] - 128);
    }
    const enum qb_status status =
        write_array(folder, "integer/", stem, ".codes", QB_NPY_I8, t->shape, outside, err);
    free(outside);
    return status;
}

static enum qb_status write_arrays(const struct qb_trace *trace, const struct trace_source *source,
                                   const char *folder, struct qb_error *err)
{
    char stem[NAME];
    QB_TRY(write_array(folder, "", "image", "", QB_NPY_U8, source->shape, source->pixels, err));
    for (size_t i = 0; i < trace->integer_count; i++) {
        const struct qb_trace_tensor *const t = &trace->integer[i];
        file_stem(i, t->name, stem);
        QB_TRY(t->codes ? write_codes(folder, stem, t, err) : QB_OK);
        QB_TRY(write_array(folder, "integer/", stem, "", QB_NPY_F32, t->shape, t->real, err));
    }
    for (size_t i = 0; i < trace->real_count; i++) {
        const struct qb_trace_tensor *const t = &trace->real[i];
        file_stem(i, t->name, stem);
        QB_TRY(write_array(folder, "float/", stem, "", QB_NPY_F32, t->shape, t->real, err));
    }
    return QB_OK;
}

/* ---- statistics ---- */

static json_t *histogram_json(const struct qb_tensor_stats *stats, bool *failed)
{
    json_t *const list = json_array();
    for (int i = 0; i < QB_TRACE_BINS; i++) {
        *failed |= json_array_append_new(list, json_integer((json_int_t)stats->histogram[i])) != 0;
    }
    return list;
}

/* What both kinds of tensors have. */
static json_t *tensor_json(size_t index, const struct qb_trace_tensor *t, const char *part, bool *failed)
{
    char stem[NAME], file[2 * NAME];
    json_t *const item = json_object();
    file_stem(index, t->name, stem);
    snprintf(file, sizeof file, "%s/%s.npy", part, stem);
    qb_json_put(item, "name", qb_json_text(t->name), failed);
    qb_json_put(item, "operator", qb_json_text(t->op), failed);
    qb_json_put(item, "file", qb_json_text(file), failed);
    qb_json_put(item, "shape", qb_json_ints((const int[]){t->shape.h, t->shape.w, t->shape.c}, 3), failed);
    qb_json_put(item, "min", qb_json_real(t->stats.min), failed);
    qb_json_put(item, "max", qb_json_real(t->stats.max), failed);
    qb_json_put(item, "mean", qb_json_real(t->stats.mean), failed);
    qb_json_put(item, "sd", qb_json_real(t->stats.sd), failed);
    qb_json_put(item, "histogram", histogram_json(&t->stats, failed), failed);
    return item;
}

static int shift(const struct qb_trace_tensor *t)
{
    return t->q.dtype == QB_QINT8 ? -128 : 0;
}

static json_t *integer_json(const struct qb_trace *trace, size_t index, bool *failed)
{
    const struct qb_trace_tensor *const t = &trace->integer[index];
    json_t *const item = tensor_json(index, t, "integer", failed);
    const bool codes = t->codes != NULL;
    qb_json_put(item, "scale", codes ? qb_json_real((double)t->q.scale) : json_null(), failed);
    qb_json_put(item, "zero_point", codes ? json_integer(t->q.zero_point + shift(t)) : json_null(), failed);
    qb_json_put(item, "dtype", qb_json_text(codes ? qb_dtype_name(t->q.dtype) : "float32"), failed);
    qb_json_put(item, "first_code", codes ? json_integer(shift(t)) : json_null(), failed);
    qb_json_put(item, "at_low_end", codes ? qb_json_real((double)t->low / (double)t->count) : json_null(),
                failed);
    qb_json_put(item, "at_high_end", codes ? qb_json_real((double)t->high / (double)t->count) : json_null(),
                failed);
    const bool compared = t->origin >= 0;
    qb_json_put(item, "float_tensor", compared ? qb_json_text(trace->real[t->origin].name) : json_null(),
                failed);
    qb_json_put(item, "sqnr_db", compared ? qb_json_real(qb_deviation_sqnr(&t->deviation)) : json_null(),
                failed);
    qb_json_put(item, "cosine", compared ? qb_json_real(qb_deviation_cosine(&t->deviation)) : json_null(),
                failed);
    qb_json_put(item, "max_error", compared ? qb_json_real(t->max_error) : json_null(), failed);
    return item;
}

static json_t *index_or_null(int value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static enum qb_status write_json(const struct qb_trace *trace, const struct trace_source *source,
                                 const char *path, struct qb_error *err)
{
    bool failed = false;
    json_t *const root = json_object(), *const integer = json_array(), *const real = json_array();
    for (size_t i = 0; i < trace->integer_count; i++) {
        failed |= json_array_append_new(integer, integer_json(trace, i, &failed)) != 0;
    }
    for (size_t i = 0; i < trace->real_count; i++) {
        failed |= json_array_append_new(real, tensor_json(i, &trace->real[i], "float", &failed)) != 0;
    }
    qb_json_put(root, "schema_version", json_integer(1), &failed);
    qb_json_put(root, "model", qb_json_text(source->model), &failed);
    qb_json_put(root, "image", qb_json_text(source->image), &failed);
    qb_json_put(root, "label", index_or_null(source->label), &failed);
    qb_json_put(root, "scheme", qb_json_text(source->qgraph->scheme), &failed);
    qb_json_put(root, "arithmetic", qb_json_text(qb_arithmetic_name(source->qgraph->arithmetic)), &failed);
    qb_json_put(root, "accumulate", qb_json_text(qb_accumulate_name(source->qgraph->accumulate)), &failed);
    qb_json_put(root, "integer_prediction", index_or_null(trace->integer_prediction), &failed);
    qb_json_put(root, "float_prediction", index_or_null(trace->real_prediction), &failed);
    qb_json_put(root, "integer", integer, &failed);
    qb_json_put(root, "float", real, &failed);
    char *text = NULL;
    QB_TRY(qb_json_dump(root, failed, &text, err));
    const enum qb_status status = qb_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

static void print_number(FILE *out, double value)
{
    fputc(',', out);
    if (isfinite(value)) {
        fprintf(out, "%.9g", value);
    }
}

static void print_line(FILE *out, const char *network, size_t index, const struct qb_trace_tensor *t)
{
    char stem[NAME];
    const bool integer = t->codes != NULL, compared = t->origin >= 0;
    file_stem(index, t->name, stem); /* needs no quoting */
    fprintf(out, "%s,%s,%s,%d,%d,%d", network, stem, t->op, t->shape.h, t->shape.w, t->shape.c);
    print_number(out, t->stats.min);
    print_number(out, t->stats.max);
    print_number(out, t->stats.mean);
    print_number(out, t->stats.sd);
    print_number(out, integer ? (double)t->q.scale : (double)NAN);
    print_number(out, integer ? t->q.zero_point + shift(t) : (double)NAN);
    print_number(out, integer ? (double)t->low / (double)t->count : (double)NAN);
    print_number(out, integer ? (double)t->high / (double)t->count : (double)NAN);
    print_number(out, compared ? qb_deviation_sqnr(&t->deviation) : (double)NAN);
    print_number(out, compared ? qb_deviation_cosine(&t->deviation) : (double)NAN);
    print_number(out, compared ? t->max_error : (double)NAN);
    fputs("\r\n", out);
}

static enum qb_status write_csv(const struct qb_trace *trace, const char *path, struct qb_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&text, &size);
    if (!out) {
        return qb_fail_memory(err, 4096);
    }
    fputs("network,tensor,operator,h,w,c,min,max,mean,sd,scale,zero_point,at_low_end,at_high_end,sqnr_db,"
          "cosine,"
          "max_error\r\n",
          out);
    for (size_t i = 0; i < trace->integer_count; i++) {
        print_line(out, "integer", i, &trace->integer[i]);
    }
    for (size_t i = 0; i < trace->real_count; i++) {
        print_line(out, "float", i, &trace->real[i]);
    }
    const enum qb_status status =
        fclose(out) == 0 ? qb_file_write(path, text, size, err) : qb_fail_memory(err, size);
    free(text);
    return status;
}

/* ---- the folder ---- */

static enum qb_status make_dir(const char *path, struct qb_error *err)
{
    return mkdir(path, 0777) == 0 ? QB_OK
                                  : qb_fail(err, QB_EIO, "%s: cannot be made: %s", path, strerror(errno));
}

static enum qb_status fill(const struct qb_trace *trace, const struct trace_source *source,
                           const char *folder, struct qb_error *err)
{
    char path[PATH + 16];
    snprintf(path, sizeof path, "%s/integer", folder);
    QB_TRY(make_dir(path, err));
    if (trace->real_count) {
        snprintf(path, sizeof path, "%s/float", folder);
        QB_TRY(make_dir(path, err));
    }
    QB_TRY(write_arrays(trace, source, folder, err));
    snprintf(path, sizeof path, "%s/stats.csv", folder);
    QB_TRY(write_csv(trace, path, err));
    snprintf(path, sizeof path, "%s/stats.json", folder);
    return write_json(trace, source, path, err);
}

/* Nothing there, or an empty folder. */
static enum qb_status check_free(const char *folder, struct qb_error *err)
{
    struct stat info;
    if (!folder[0]) {
        return qb_fail(err, QB_EINPUT, "--output: the name of the folder is empty");
    }
    if (lstat(folder, &info) != 0) {
        return errno == ENOENT ? QB_OK : qb_fail(err, QB_EIO, "%s: %s", folder, strerror(errno));
    }
    DIR *const dir = S_ISDIR(info.st_mode) ? opendir(folder) : NULL;
    if (!dir) {
        return qb_fail(err, QB_EINPUT, "%s: is no empty folder; name one that does not exist yet", folder);
    }
    int entries = 0;
    while (readdir(dir)) {
        entries++;
    }
    closedir(dir);
    return entries <= 2 ? QB_OK /* itself and its parent */
                        : qb_fail(err, QB_EINPUT, "%s: the folder is not empty; nothing was written", folder);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *level)
{
    (void)info, (void)type, (void)level;
    return remove(path);
}

enum qb_status trace_write(const struct qb_trace *trace, const struct trace_source *source,
                           const char *folder, struct qb_error *err)
{
    char name[PATH], temporary[PATH];
    size_t length = strlen(folder);
    QB_TRY(check_free(folder, err));
    while (length > 1 && folder[length - 1] == '/') {
        length--;
    }
    if (length >= PATH - 16) {
        return qb_fail(err, QB_EINPUT, "%.100s...: the path is too long", folder);
    }
    snprintf(name, sizeof name, "%.*s", (int)length, folder);
    snprintf(temporary, sizeof temporary, "%.*s.XXXXXX", (int)length, folder);
    if (!mkdtemp(temporary)) {
        return qb_fail(err, QB_EIO, "%s: cannot be made: %s", name, strerror(errno));
    }
    enum qb_status status = fill(trace, source, temporary, err);
    if (status == QB_OK && (chmod(temporary, 0755) != 0 || rename(temporary, name) != 0)) {
        status = qb_fail(err, QB_EIO, "%s: cannot be made: %s", name, strerror(errno));
    }
    if (status != QB_OK) {
        nftw(temporary, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
    return status;
}
