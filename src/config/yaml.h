/* Inside src/config: a YAML file read through libcyaml's schema, with messages that name file, line and key.
 *
 * The file is first walked once with libyaml, which libcyaml stands on. That walk refuses what configuration
 * never needs and what could be used to exhaust memory (anchors, aliases, tags, several documents, deep
 * nesting, thousands of values, repeated keys), and remembers where every value stands, so that rules which
 * no schema can express (quant_min below quant_max) name a line too. */
#ifndef QB_CONFIG_YAML_H
#define QB_CONFIG_YAML_H

#include <stddef.h>
#include <stdint.h>

#include <cyaml/cyaml.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/status.h"

enum {
    QB_YAML_MAX_BYTES = 1 << 20,
    QB_YAML_MAX_NODES = 4096,
    QB_YAML_MAX_DEPTH = 8,
    QB_YAML_MAX_KEY = 64,
    QB_YAML_MAX_TEXT = 1023,
};

enum qb_yaml_kind { QB_YAML_SCALAR, QB_YAML_MAPPING, QB_YAML_LIST };

struct qb_yaml_node {
    enum qb_yaml_kind kind;
    const char *path;                   /* "weights.dtype", "batches[1]", "" for the root */
    const char *key;                    /* last part of the path; "" for the root and for list entries */
    const char *text;                   /* of a scalar; "" else */
    unsigned line;                      /* of the key, or of the list entry; from 1 */
    int parent;                         /* -1 for the root */
    unsigned entry;                     /* place in a list, from 0 */
    unsigned size;                      /* children so far */
    const cyaml_schema_value_t *schema; /* what is expected here; NULL: nothing known */
};

struct qb_yaml {
    const char *file;
    struct qb_blob text;
    struct qb_arena *arena;     /* owns the nodes and their strings */
    struct qb_yaml_node *nodes; /* file order, parents before children */
    int count;
    const cyaml_schema_value_t *schema;
    void *data; /* what libcyaml loaded */
};

/* yaml_index.c: walks the text and fills doc->nodes; doc->file and doc->arena are set by the caller. */
enum qb_status qb_yaml_index(const uint8_t *text, size_t size, struct qb_yaml *doc, struct qb_error *err);

/* yaml_load.c: reads `path` and indexes it. Free with qb_yaml_free. */
enum qb_status qb_yaml_open(const char *path, struct qb_yaml *out, struct qb_error *err);
/* Reads an opened file into the struct that `schema` describes (doc->data); the schema may depend on what the
 * index says, and lives as long as `doc`. Schemas use CYAML_ENUM for yes/no values, because libcyaml takes
 * every unknown word for true. */
enum qb_status qb_yaml_parse(struct qb_yaml *doc, const cyaml_schema_value_t *schema, struct qb_error *err);
/* Both: a file whose schema does not depend on it. */
enum qb_status qb_yaml_load(const char *path, const cyaml_schema_value_t *schema, struct qb_yaml *out,
                            struct qb_error *err);
void qb_yaml_free(struct qb_yaml *doc);

/* The node at `path`, NULL when the file does not have it. */
const struct qb_yaml_node *qb_yaml_find(const struct qb_yaml *doc, const char *path);

/* Fails with "FILE:LINE: PATH: text"; the line is that of `path` or of its nearest parent. Returns QB_EINPUT.
 */
enum qb_status qb_yaml_fail(const struct qb_yaml *doc, struct qb_error *err, const char *path,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Copies `text` for a message: cut at 60 bytes, control characters as '?'. Returns `out`. */
enum { QB_YAML_QUOTED = 64 };
const char *qb_yaml_quote(const char *text, char out[QB_YAML_QUOTED]);

/* Yes/no values. */
extern const cyaml_strval_t qb_yaml_bools[2];

#endif
