/* Files with made-up content: see fixture.h. */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"

void bytes_add(struct bytes *b, const void *data, size_t size)
{
    if (b->capacity - b->size < size) {
        b->capacity = 2 * (b->size + size);
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    if (size) {
        memcpy(b->data + b->size, data, size);
    }
    b->size += size;
}

void bytes_text(struct bytes *b, const char *text)
{
    bytes_add(b, text, strlen(text));
}

void bytes_number(struct bytes *b, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bytes_add(b, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
    }
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

const char *at(const char *dir, const char *name)
{
    static char ring[8][4096];
    static unsigned next;
    char *const out = ring[next++ % 8];
    snprintf(out, sizeof ring[0], "%s/%s", dir, name);
    return out;
}

void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *const f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

uint8_t *make_records(unsigned seed, size_t rows)
{
    struct qb_rng rng;
    uint8_t *const out = malloc(rows * QB_CIFAR_RECORD);
    assert_non_null(out);
    qb_rng_seed(&rng, seed);
    for (size_t i = 0; i < rows * QB_CIFAR_RECORD; i++) {
        out[i] = (uint8_t)qb_rng_interval(&rng, i % QB_CIFAR_RECORD ? 255 : 9);
    }
    return out;
}

void write_full_batch(const char *path, const void *start, size_t size)
{
    write_bytes(path, start, size);
    assert_int_equal(truncate(path, (off_t)QB_CIFAR_ROWS * QB_CIFAR_RECORD), 0);
}

unsigned count_entries(const char *dir)
{
    unsigned count = 0;
    DIR *const d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    closedir(d);
    return count;
}

char *require_cifar10(void)
{
    char *dir = NULL;
    struct qb_error err;
    if (qb_data_locate(NULL, &dir, &err) != QB_OK) {
        print_message("SKIP: %s\n", err.text);
        skip();
    }
    return dir;
}
