/* One walk over a YAML file with libyaml: safety limits, and the line of every value (see yaml.h). */
#include "config/yaml.h"

#include <stdbool.h>
#include <string.h>

#include <yaml.h>

struct walk {
    struct qb_yaml *doc;
    struct qb_error *err;
    int stack[QB_YAML_MAX_DEPTH]; /* open mappings and lists */
    int depth;
    const char *key; /* key read, its value comes next; NULL else */
    unsigned key_line;
};

static enum qb_status fail_at(const struct walk *walk, size_t line, const char *text)
{
    return qb_fail(walk->err, QB_EINPUT, "%s:%zu: %s", walk->doc->file, line, text);
}

static enum qb_status take_key(struct walk *walk, const char *text, unsigned line)
{
    const struct qb_yaml *const doc = walk->doc;
    const int parent = walk->stack[walk->depth - 1];
    if (strlen(text) > QB_YAML_MAX_KEY) {
        return fail_at(walk, line, "a key of more than 64 bytes; no key is that long");
    }
    for (int i = parent + 1; i < doc->count; i++) {
        if (doc->nodes[i].parent == parent && strcmp(doc->nodes[i].key, text) == 0) {
            return qb_fail(walk->err, QB_EINPUT, "%s:%u: %s: written twice, first in line %u", doc->file,
                           line, doc->nodes[i].path, doc->nodes[i].line);
        }
    }
    walk->key = qb_arena_strdup(walk->doc->arena, text);
    walk->key_line = line;
    return walk->key ? QB_OK : qb_fail_memory(walk->err, strlen(text));
}

/* Appends a value below the innermost open mapping or list. */
static enum qb_status add_node(struct walk *walk, enum qb_yaml_kind kind, const char *text, unsigned line)
{
    struct qb_yaml *const doc = walk->doc;
    if (doc->count == QB_YAML_MAX_NODES) {
        return fail_at(walk, line, "more than 4096 values; no configuration is that large");
    }
    struct qb_yaml_node node = {.kind = kind, .path = "", .key = "", .text = "", .line = line, .parent = -1};
    if (text && !(node.text = qb_arena_strdup(walk->doc->arena, text))) {
        return qb_fail_memory(walk->err, strlen(text));
    }
    if (walk->depth) {
        node.parent = walk->stack[walk->depth - 1];
        struct qb_yaml_node *const parent = &doc->nodes[node.parent];
        node.entry = parent->size++;
        if (walk->key) {
            node.key = walk->key;
            node.line = walk->key_line;
            node.path = qb_arena_printf(walk->doc->arena, "%s%s%s", parent->path, *parent->path ? "." : "",
                                        walk->key);
        } else {
            node.path = qb_arena_printf(walk->doc->arena, "%s[%u]", parent->path, node.entry);
        }
        if (!node.path) {
            return qb_fail_memory(walk->err, strlen(parent->path));
        }
    }
    walk->key = NULL;
    if (kind != QB_YAML_SCALAR) {
        if (walk->depth == QB_YAML_MAX_DEPTH) {
            return fail_at(walk, line, "nested more than 8 levels deep; no configuration is that deep");
        }
        walk->stack[walk->depth++] = doc->count;
    }
    doc->nodes[doc->count++] = node;
    return QB_OK;
}

static enum qb_status take_scalar(struct walk *walk, const yaml_event_t *event, unsigned line)
{
    const char *const text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length) {
        return fail_at(walk, line, "a value contains a NUL character");
    }
    if (event->data.scalar.length > QB_YAML_MAX_TEXT) {
        return fail_at(walk, line, "a value of more than 1023 bytes; no value is that long");
    }
    if (walk->depth && walk->doc->nodes[walk->stack[walk->depth - 1]].kind == QB_YAML_MAPPING && !walk->key) {
        return take_key(walk, text, line);
    }
    return add_node(walk, QB_YAML_SCALAR, text, line);
}

static enum qb_status open_node(struct walk *walk, enum qb_yaml_kind kind, unsigned line)
{
    if (walk->depth && walk->doc->nodes[walk->stack[walk->depth - 1]].kind == QB_YAML_MAPPING && !walk->key) {
        return fail_at(walk, line, "a mapping or list stands where a key was expected");
    }
    return add_node(walk, kind, NULL, line);
}

static enum qb_status take_event(struct walk *walk, const yaml_event_t *event)
{
    const unsigned line = (unsigned)event->start_mark.line + 1;
    const char *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        anchor = (const char *)event->data.scalar.anchor;
        tag = (const char *)event->data.scalar.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = (const char *)event->data.mapping_start.anchor;
        tag = (const char *)event->data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = (const char *)event->data.sequence_start.anchor;
        tag = (const char *)event->data.sequence_start.tag;
        break;
    case YAML_DOCUMENT_START_EVENT:
        return walk->doc->count
                   ? fail_at(walk, line, "a second YAML document; one document a file is expected")
                   : QB_OK;
    case YAML_ALIAS_EVENT:
        return fail_at(walk, line, "YAML aliases (*name) are not used here; write the value out");
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT: walk->depth--; return QB_OK;
    default: return QB_OK;
    }
    if (anchor) {
        return fail_at(walk, line, "YAML anchors (&name) are not used here; write the value out");
    }
    if (tag) {
        return fail_at(walk, line, "YAML tags (!name) are not used here; write the plain value");
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT: return take_scalar(walk, event, line);
    case YAML_MAPPING_START_EVENT: return open_node(walk, QB_YAML_MAPPING, line);
    default: return open_node(walk, QB_YAML_LIST, line);
    }
}

static enum qb_status parser_failure(const yaml_parser_t *parser, const char *file, const uint8_t *text,
                                     size_t size, struct qb_error *err)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return qb_fail_memory(err, size);
    }
    size_t line = parser->problem_mark.line + 1;
    if (parser->error == YAML_READER_ERROR) { /* bad UTF-8 has an offset only */
        line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < size; i++) {
            line += text[i] == '\n';
        }
    }
    return qb_fail(err, QB_EINPUT, "%s:%zu: not valid YAML: %s%s%s", file, line,
                   parser->problem ? parser->problem : "unknown problem", parser->context ? ", " : "",
                   parser->context ? parser->context : "");
}

enum qb_status qb_yaml_index(const uint8_t *text, size_t size, struct qb_yaml *doc, struct qb_error *err)
{
    doc->nodes = qb_arena_array(doc->arena, QB_YAML_MAX_NODES, sizeof *doc->nodes);
    yaml_parser_t parser;
    if (!doc->nodes || !yaml_parser_initialize(&parser)) {
        return qb_fail_memory(err, QB_YAML_MAX_NODES * sizeof *doc->nodes);
    }
    yaml_parser_set_input_string(&parser, text, size);
    struct walk walk = {.doc = doc, .err = err};
    enum qb_status status = QB_OK;
    for (bool end = false; status == QB_OK && !end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = parser_failure(&parser, doc->file, text, size, err);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        status = take_event(&walk, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}
