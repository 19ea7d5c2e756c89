/* Arena: see arena.h. A list of zeroed blocks; the newest serves small requests, large ones get a block of
 * their own. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, BLOCK = 64 * 1024 };

struct block {
    struct block *next;
    size_t used, size; /* of data */
    _Alignas(ALIGN) unsigned char data[];
};

struct qb_arena {
    struct block *head;
};

struct qb_arena *qb_arena_create(void)
{
    return calloc(1, sizeof(struct qb_arena));
}

void qb_arena_destroy(struct qb_arena *arena)
{
    if (!arena) {
        return;
    }
    for (struct block *b = arena->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

void *qb_arena_array(struct qb_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        return NULL;
    }
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct block *b = arena->head;
    if (!b || b->size - b->used < bytes) {
        const size_t room = bytes > BLOCK ? bytes : BLOCK;
        b = aligned_alloc(ALIGN, sizeof *b + room);
        if (!b) {
            return NULL;
        }
        memset(b, 0, sizeof *b + room);
        b->size = room;
        /* A block made for one large request goes behind the head, so that the head keeps serving small ones.
         */
        if (bytes > BLOCK && arena->head) {
            b->next = arena->head->next;
            arena->head->next = b;
        } else {
            b->next = arena->head;
            arena->head = b;
        }
    }
    void *const out = b->data + b->used;
    b->used += bytes;
    return out;
}

void *qb_arena_memdup(struct qb_arena *arena, const void *data, size_t size)
{
    void *const out = qb_arena_array(arena, size, 1);
    if (out && size) {
        memcpy(out, data, size);
    }
    return out;
}

char *qb_arena_strdup(struct qb_arena *arena, const char *text)
{
    return qb_arena_memdup(arena, text, strlen(text) + 1);
}

char *qb_arena_printf(struct qb_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    char *const out = length < 0 ? NULL : qb_arena_array(arena, (size_t)length + 1, 1);
    if (out) {
        vsnprintf(out, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(args);
    return out;
}
