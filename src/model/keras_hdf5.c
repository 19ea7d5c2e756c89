/* The only caller of libhdf5: walks a Keras file in a process of its own and sends what it finds
 * (keras_file.h).
 *
 * Layout (Keras' legacy H5 format, keras/src/legacy/saving/legacy_h5_format.py): attribute `model_config` of
 * the root; group `model_weights` with attribute `layer_names`; a group a layer with attribute
 * `weight_names`, whose entries are paths of datasets below it.
 *
 * No handle is closed and no buffer freed on purpose: the process ends behind qb_keras_hdf5_send, and closing
 * a damaged file is one more chance to crash. */
#include "model/keras_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <hdf5.h>

struct strings {
    char **items;
    size_t count;
};

/* A child whose parent is gone has nothing left to do. */
static void put(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        const ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(1);
        }
        p += n;
        size -= (size_t)n;
    }
}

static void send_text(int fd, enum qb_keras_record_kind kind, const char *text)
{
    const struct qb_keras_record record = {.kind = kind, .name_size = strlen(text)};
    put(fd, &record, sizeof record);
    put(fd, text, strlen(text));
}

/* A string attribute, scalar or one-dimensional, of variable or fixed length. `limit` bounds what is
 * allocated: no text is longer than the file. */
static enum qb_status read_strings(hid_t object, const char *name, size_t limit, struct strings *out,
                                   struct qb_error *err)
{
    if (H5Aexists(object, name) <= 0) {
        return qb_fail(err, QB_EINPUT, "attribute '%s' is missing", name);
    }
    const hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    const hid_t type = H5Aget_type(attribute);
    const hssize_t points = H5Sget_simple_extent_npoints(H5Aget_space(attribute));
    if (attribute < 0 || type < 0 || points < 0) {
        return qb_fail(err, QB_EINPUT, "attribute '%s' cannot be read: the file is damaged", name);
    }
    const htri_t variable = H5Tis_variable_str(type);
    const size_t size = H5Tget_size(type);
    size_t bytes;
    if (points == 0) { /* a layer without weights: its type may be anything */
        *out = (struct strings){NULL, 0};
        return QB_OK;
    }
    if (H5Tget_class(type) != H5T_STRING || variable < 0 || size == 0) {
        return qb_fail(err, QB_EINPUT, "attribute '%s' is not text", name);
    }
    const size_t count = (size_t)points;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > limit) {
        return qb_fail(err, QB_EINPUT,
                       "attribute '%s' claims to be longer than the file: the file is damaged", name);
    }
    char **const items = calloc(count, sizeof *items);
    char *const fixed = variable ? NULL : malloc(bytes);
    if (!items || (!variable && !fixed)) {
        return qb_fail_memory(err, bytes);
    }
    const hid_t memory = variable ? H5Tcopy(H5T_C_S1) : type;
    if (variable) {
        H5Tset_size(memory, H5T_VARIABLE);
        H5Tset_cset(memory, H5Tget_cset(type));
    }
    if (H5Aread(attribute, memory, variable ? (void *)items : (void *)fixed) < 0) {
        return qb_fail(err, QB_EINPUT, "attribute '%s' cannot be read: the file is damaged", name);
    }
    for (size_t i = 0; i < count; i++) {
        if (!variable) {
            items[i] = strndup(fixed + i * size, size);
        }
        if (!items[i]) {
            return qb_fail(err, QB_EINPUT, "entry %zu of attribute '%s' is empty", i, name);
        }
    }
    *out = (struct strings){items, count};
    return QB_OK;
}

/* External links lead to other files of the user's machine: none is followed. */
static herr_t refuse_link(const char *file, const char *group, const char *target_file,
                          const char *target_object, unsigned *flags, hid_t access, void *ctx)
{
    (void)file, (void)group, (void)target_file, (void)target_object, (void)flags, (void)access, (void)ctx;
    return -1;
}

static hid_t closed_access(hid_t class_id)
{
    const hid_t list = H5Pcreate(class_id);
    H5Pset_elink_cb(list, refuse_link, NULL);
    return list;
}

/* Only plain storage inside the file: no filters (a filter may load a plugin, and may inflate without limit),
 * no external files, no virtual datasets. */
static enum qb_status check_storage(hid_t dataset, size_t bytes, const char *name, struct qb_error *err)
{
    const hid_t list = H5Dget_create_plist(dataset);
    const H5D_layout_t layout = H5Pget_layout(list);
    if (list < 0 || layout == H5D_LAYOUT_ERROR) {
        return qb_fail(err, QB_EINPUT, "array '%s' cannot be read: the file is damaged", name);
    }
    if (H5Pget_nfilters(list) != 0) {
        return qb_fail(err, QB_EUNSUPPORTED,
                       "array '%s' is compressed; `h5repack -f NONE` writes a copy that is not", name);
    }
    if (layout == H5D_VIRTUAL || H5Pget_external_count(list) != 0) {
        return qb_fail(err, QB_EUNSUPPORTED, "array '%s' is stored in other files", name);
    }
    if (H5Dget_storage_size(dataset) < bytes) {
        return qb_fail(err, QB_EINPUT, "array '%s' holds fewer bytes than its shape needs", name);
    }
    return QB_OK;
}

static enum qb_status send_array(int fd, hid_t group, const char *name, size_t limit, struct qb_error *err)
{
    const hid_t dataset = H5Dopen2(group, name, closed_access(H5P_DATASET_ACCESS));
    if (dataset < 0) {
        return qb_fail(err, QB_EINPUT, "array '%s' is missing or damaged", name);
    }
    const hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    const int dims = H5Sget_simple_extent_ndims(space);
    hsize_t shape[QB_KERAS_MAX_DIMS] = {0};
    if (H5Tget_class(type) != H5T_FLOAT || H5Tget_size(type) != sizeof(float)) {
        return qb_fail(err, QB_EUNSUPPORTED, "array '%s' is not float32", name);
    }
    if (dims < 0 || dims > QB_KERAS_MAX_DIMS || H5Sget_simple_extent_dims(space, shape, NULL) != dims) {
        return qb_fail(err, QB_EINPUT, "array '%s' has %d dimensions, at most %d are expected", name, dims,
                       QB_KERAS_MAX_DIMS);
    }
    struct qb_keras_record record = {
        .kind = QB_KERAS_ARRAY, .dims = (uint32_t)dims, .name_size = strlen(name)};
    size_t bytes = sizeof(float);
    for (int i = 0; i < dims; i++) {
        record.shape[i] = shape[i];
        if (__builtin_mul_overflow(bytes, (size_t)shape[i], &bytes) || bytes > limit) {
            return qb_fail(err, QB_EINPUT,
                           "array '%s' claims to be larger than the file: the file is damaged", name);
        }
    }
    QB_TRY(check_storage(dataset, bytes, name, err));
    float *const data = calloc(1, bytes + 1);
    if (!data) {
        return qb_fail_memory(err, bytes);
    }
    if (H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
        return qb_fail(err, QB_EINPUT, "array '%s' cannot be read: the file is damaged", name);
    }
    record.data_size = bytes;
    put(fd, &record, sizeof record);
    put(fd, name, record.name_size);
    put(fd, data, bytes);
    return QB_OK;
}

static enum qb_status send_layer(int fd, hid_t weights, const char *layer, size_t limit, struct qb_error *err)
{
    const hid_t group = H5Gopen2(weights, layer, closed_access(H5P_GROUP_ACCESS));
    if (group < 0) {
        return qb_fail(err, QB_EINPUT, "group 'model_weights/%s' is missing or damaged", layer);
    }
    struct strings names;
    if (read_strings(group, "weight_names", limit, &names, err) != QB_OK) {
        return qb_fail_prefix(err, "group 'model_weights/%s'", layer);
    }
    send_text(fd, QB_KERAS_LAYER, layer);
    for (size_t i = 0; i < names.count; i++) {
        if (send_array(fd, group, names.items[i], limit, err) != QB_OK) {
            return qb_fail_prefix(err, "layer '%s'", layer);
        }
    }
    return QB_OK;
}

static enum qb_status send_file(const struct qb_blob *blob, int fd, struct qb_error *err)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    /* The image is copied by H5Pset_file_image; the core driver without backing store never touches the disk.
     */
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    void *const image = malloc(blob->size + 1);
    if (!image) {
        return qb_fail_memory(err, blob->size + 1);
    }
    memcpy(image, blob->data, blob->size);
    if (H5Pset_fapl_core(access, 65536, 0) < 0 || H5Pset_file_image(access, image, blob->size) < 0) {
        return qb_fail(err, QB_EFAILED, "libhdf5 does not take a file from memory");
    }
    const hid_t file = H5Fopen("memory", H5F_ACC_RDONLY, access);
    if (file < 0) {
        return qb_fail(err, QB_EINPUT, "not an HDF5 file, or cut short or damaged");
    }
    struct strings config, layers;
    if (read_strings(file, "model_config", blob->size, &config, err) != QB_OK) {
        return qb_fail_prefix(err, "not a whole Keras model (model.save writes one, save_weights does not)");
    }
    if (config.count != 1) {
        return qb_fail(err, QB_EINPUT, "attribute 'model_config' has %zu entries, one is expected",
                       config.count);
    }
    send_text(fd, QB_KERAS_CONFIG, config.items[0]);
    const hid_t weights = H5Gopen2(file, "model_weights", closed_access(H5P_GROUP_ACCESS));
    if (weights < 0) {
        return qb_fail(err, QB_EINPUT, "group 'model_weights' is missing or damaged");
    }
    if (read_strings(weights, "layer_names", blob->size, &layers, err) != QB_OK) {
        return qb_fail_prefix(err, "group 'model_weights'");
    }
    for (size_t i = 0; i < layers.count; i++) {
        QB_TRY(send_layer(fd, weights, layers.items[i], blob->size, err));
    }
    return QB_OK;
}

void qb_keras_hdf5_send(const struct qb_blob *file, int fd)
{
    struct qb_error err;
    if (send_file(file, fd, &err) == QB_OK) {
        send_text(fd, QB_KERAS_END, "");
        return;
    }
    const struct qb_keras_record record = {
        .kind = QB_KERAS_ERROR, .status = (uint32_t)err.status, .name_size = strlen(err.text)};
    put(fd, &record, sizeof record);
    put(fd, err.text, record.name_size);
}
