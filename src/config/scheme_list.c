/* Which schemes there are: the file names NAME.yaml of the scheme folders. */
#include "config/scheme.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/internal.h"

bool qb_name_is_valid(const char *name)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char later[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    const size_t length = strlen(name);
    return length >= 1 && length <= QB_NAME_MAX && strspn(name, first) >= 1 && strspn(name, later) == length;
}

void qb_append_name(char *text, size_t size, const char *item)
{
    const size_t used = strlen(text), need = strlen(item) + (used ? 2 : 0);
    if (used + need < size) {
        strcat(strcat(text, used ? ", " : ""), item);
    }
}

/* malloc'd stem when the file name is NAME.yaml with a valid NAME. */
static char *stem_of(const char *file)
{
    const size_t length = strlen(file);
    if (length <= 5 || strcmp(file + length - 5, ".yaml") != 0) {
        return NULL;
    }
    char *const stem = strndup(file, length - 5);
    if (stem && !qb_name_is_valid(stem)) {
        free(stem);
        return NULL;
    }
    return stem;
}

struct list {
    struct qb_arena *arena;
    const char **names;
    size_t count, capacity;
};

static enum qb_status push(struct list *list, const char *name, struct qb_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0) {
            return QB_OK;
        }
    }
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 16;
        const char **const names = qb_arena_array(list->arena, capacity, sizeof *names);
        if (!names) {
            return qb_fail_memory(err, capacity * sizeof *names);
        }
        if (list->count) {
            memcpy(names, list->names, list->count * sizeof *names);
        }
        list->names = names;
        list->capacity = capacity;
    }
    const char *const copy = qb_arena_strdup(list->arena, name);
    if (!copy) {
        return qb_fail_memory(err, strlen(name));
    }
    list->names[list->count++] = copy;
    return QB_OK;
}

static enum qb_status scan(struct list *list, const char *folder, struct qb_error *err)
{
    DIR *const dir = opendir(folder);
    if (!dir) {
        return errno == ENOENT ? QB_OK
                               : qb_fail(err, QB_EIO, "%s: cannot be read: %s", folder, strerror(errno));
    }
    enum qb_status status = QB_OK;
    for (const struct dirent *entry; status == QB_OK && (entry = readdir(dir));) {
        char *const stem = stem_of(entry->d_name);
        if (stem) {
            status = push(list, stem, err);
        }
        free(stem);
    }
    closedir(dir);
    return status;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum qb_status qb_scheme_list(const char *const *scheme_dirs, struct qb_arena *arena, const char ***names,
                              unsigned *count, struct qb_error *err)
{
    struct list list = {.arena = arena};
    QB_TRY(push(&list, "fp32", err));
    for (; *scheme_dirs; scheme_dirs++) {
        QB_TRY(scan(&list, *scheme_dirs, err));
    }
    qsort(list.names + 1, list.count - 1, sizeof *list.names, compare);
    *names = list.names;
    *count = (unsigned)list.count;
    return QB_OK;
}
