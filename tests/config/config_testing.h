/* Small files for the tests of src/config. */
#ifndef QB_CONFIG_TESTING_H
#define QB_CONFIG_TESTING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "testing.h"

/* Writes `size` bytes to dir/name and returns the path, which the caller frees. */
static inline char *write_bytes(const char *dir, const char *name, const void *bytes, size_t size)
{
    char *const path = qb_path_join(dir, name);
    /* Neither qb_file_write, which syncs, nor truncation, which ext4 syncs too: these are thousands of small
     * files. */
    remove(path);
    FILE *const file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline char *write_text(const char *dir, const char *name, const char *text)
{
    return write_bytes(dir, name, text, strlen(text));
}

/* `text` with the first `old` replaced, malloc'd; fails the test when `old` is not there. */
static inline char *replaced(const char *text, const char *old, const char *new)
{
    const char *const at = strstr(text, old);
    if (!at) {
        fail_msg("'%s' is not in the text", old);
    }
    const size_t before = (size_t)(at - text), length = strlen(text) - strlen(old) + strlen(new);
    char *const out = malloc(length + 1);
    memcpy(out, text, before);
    strcpy(strcpy(out + before, new) + strlen(new), at + strlen(old));
    return out;
}

#endif
