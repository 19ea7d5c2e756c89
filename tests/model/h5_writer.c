/* See h5_writer.h. */
#include "h5_writer.h"

#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <hdf5.h>

static void check(hid_t id)
{
    assert_true(id >= 0);
}

/* A one-dimensional string attribute, or a scalar one with count 0. */
static void put_strings(hid_t object, const char *name, const char *const *items, size_t count, int variable)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    const hsize_t n = count;
    enum { FIXED = 64 };
    H5Tset_size(type, variable || count == 0 ? H5T_VARIABLE : FIXED);
    const hid_t space = count ? H5Screate_simple(1, &n, NULL) : H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    check(attribute);
    char fixed[16][FIXED] = {0};
    for (size_t i = 0; i < count; i++) {
        strncpy(fixed[i], items[i], FIXED - 1);
    }
    check(H5Awrite(attribute, type, variable || count == 0 ? (const void *)items : (const void *)fixed));
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static void put_weight(hid_t group, const struct h5_weight *weight, int deflate)
{
    hsize_t shape[4];
    size_t count = 1;
    for (int i = 0; i < weight->dims; i++) {
        shape[i] = weight->shape[i];
        count *= weight->shape[i];
    }
    float *const ramp = malloc(count * sizeof *ramp);
    assert_non_null(ramp);
    for (size_t i = 0; i < count; i++) {
        ramp[i] = (float)i;
    }
    const hid_t links = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if (deflate) {
        H5Pset_chunk(create, weight->dims, shape);
        H5Pset_deflate(create, 6);
    }
    const hid_t space = H5Screate_simple(weight->dims, shape, NULL);
    const hid_t set = H5Dcreate2(group, weight->name, H5T_IEEE_F32LE, space, links, create, H5P_DEFAULT);
    check(set);
    check(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                   weight->values ? weight->values : ramp));
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(create);
    H5Pclose(links);
    free(ramp);
}

void h5_write(const char *path, const char *config, const struct h5_weight *weights, size_t count, int keras3,
              int deflate)
{
    const char *layers[16];
    size_t layer_count = 0;
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    check(file);
    put_strings(file, "model_config", &config, 0, 1);
    const hid_t root = H5Gcreate2(file, "model_weights", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    check(root);
    for (size_t i = 0; i < count;) {
        const char *names[16];
        size_t n = 0;
        const hid_t group = H5Gcreate2(root, weights[i].layer, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        check(group);
        layers[layer_count++] = weights[i].layer;
        for (; i < count && strcmp(weights[i].layer, layers[layer_count - 1]) == 0; i++) {
            names[n++] = weights[i].name;
            put_weight(group, &weights[i], deflate);
        }
        put_strings(group, "weight_names", names, n, keras3);
        H5Gclose(group);
    }
    put_strings(root, "layer_names", layers, layer_count, keras3);
    H5Gclose(root);
    H5Fclose(file);
}
