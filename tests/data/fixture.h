/* What the tests of the data room share: files with made-up content. */
#ifndef QB_TESTS_DATA_FIXTURE_H
#define QB_TESTS_DATA_FIXTURE_H

#include "base/file.h"
#include "data/cifar.h"
#include "testing.h"

/* A growing byte string. */
struct bytes {
    uint8_t *data;
    size_t size, capacity;
};
void bytes_add(struct bytes *b, const void *data, size_t size);
void bytes_text(struct bytes *b, const char *text);
/* `n` bytes, little-endian. */
void bytes_number(struct bytes *b, uint64_t value, size_t n);
void bytes_free(struct bytes *b);

/* "dir/name" in static storage, valid until eight more calls. */
const char *at(const char *dir, const char *name);
void write_bytes(const char *path, const void *data, size_t size);
void write_text(const char *path, const char *text);

/* `rows` valid records with content that depends on `seed`; malloc'd. */
uint8_t *make_records(unsigned seed, size_t rows);

/* A batch of the full size, zeros (label 0) except for the given first bytes; sparse on disk. */
void write_full_batch(const char *path, const void *start, size_t size);

/* Number of entries of a folder. */
unsigned count_entries(const char *dir);

/* Path of the real data set, or skips the test with a line that says so. free() it. */
char *require_cifar10(void);

#endif
