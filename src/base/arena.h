/* Arena: many small allocations with one lifetime (a graph, a plan), freed together. Not thread-safe. */
#ifndef QB_BASE_ARENA_H
#define QB_BASE_ARENA_H

#include <stddef.h>

struct qb_arena;

/* NULL when out of memory. */
struct qb_arena *qb_arena_create(void);
/* Accepts NULL. */
void qb_arena_destroy(struct qb_arena *arena);

/* `count` zeroed elements of `size` bytes, aligned to 64 bytes; NULL when the product overflows or memory is
 * out. A zero-sized request gives a valid pointer. */
void *qb_arena_array(struct qb_arena *arena, size_t count, size_t size);
/* Copies of a string / of `size` bytes; NULL when out of memory. */
char *qb_arena_strdup(struct qb_arena *arena, const char *text);
void *qb_arena_memdup(struct qb_arena *arena, const void *data, size_t size);
char *qb_arena_printf(struct qb_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
