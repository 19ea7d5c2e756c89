/* libcyaml with messages for people: its log and backtrace become one sentence (see yaml.h). */
#include "config/yaml.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const cyaml_strval_t qb_yaml_bools[2] = {{"false", 0}, {"true", 1}};

const struct qb_yaml_node *qb_yaml_find(const struct qb_yaml *doc, const char *path)
{
    for (int i = 0; i < doc->count; i++) {
        if (strcmp(doc->nodes[i].path, path) == 0) {
            return &doc->nodes[i];
        }
    }
    return NULL;
}

const char *qb_yaml_quote(const char *text, char out[QB_YAML_QUOTED])
{
    const size_t most = QB_YAML_QUOTED - 4;
    size_t n = 0;
    for (; text[n] && n < most; n++) {
        const unsigned char c = (unsigned char)text[n];
        out[n] = c < 0x20 || c == 0x7f ? '?' : text[n];
    }
    strcpy(out + n, text[n] ? "..." : "");
    return out;
}

static unsigned line_of(const struct qb_yaml *doc, const char *path)
{
    char parent[QB_YAML_MAX_DEPTH * (QB_YAML_MAX_KEY + 16)];
    snprintf(parent, sizeof parent, "%s", path);
    const struct qb_yaml_node *node;
    while (!(node = qb_yaml_find(doc, parent)) && *parent) {
        size_t cut = strlen(parent) - 1;
        while (cut && parent[cut] != '.' && parent[cut] != '[') {
            cut--;
        }
        parent[cut] = 0;
    }
    return node ? node->line : 1;
}

enum qb_status qb_yaml_fail(const struct qb_yaml *doc, struct qb_error *err, const char *path,
                            const char *format, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return qb_fail(err, QB_EINPUT, "%s:%u: %s%s%s", doc->file, line_of(doc, path), path, *path ? ": " : "",
                   text);
}

/* ---- what a schema expects, in words ---- */

struct words {
    char text[512];
    size_t used;
};

static void __attribute__((format(printf, 2, 3))) say(struct words *words, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(words->text + words->used, sizeof words->text - words->used, format, args);
    va_end(args);
    const size_t left = sizeof words->text - words->used - 1;
    words->used += n < 0 ? 0 : (size_t)n < left ? (size_t)n : left;
}

static void say_keys(struct words *words, const cyaml_schema_field_t *fields)
{
    for (const cyaml_schema_field_t *field = fields; field->key; field++) {
        say(words, "%s%s", field == fields ? "" : ", ", field->key);
    }
}

static struct words expected(const cyaml_schema_value_t *schema)
{
    struct words words = {.used = 0};
    switch (schema->type) {
    case CYAML_INT: {
        const int64_t most = INT64_MAX >> (64 - 8 * schema->data_size);
        say(&words, "a whole number from %" PRId64 " to %" PRId64, -most - 1, most);
        break;
    }
    case CYAML_UINT:
        say(&words, "a whole number from 0 to %" PRIu64, UINT64_MAX >> (64 - 8 * schema->data_size));
        break;
    case CYAML_FLOAT: say(&words, "a number"); break;
    case CYAML_STRING:
        say(&words, "a text of %" PRIu32 " to %" PRIu32 " bytes", schema->string.min, schema->string.max);
        break;
    case CYAML_ENUM:
    case CYAML_FLAGS:
        say(&words, schema->type == CYAML_ENUM ? "one of " : "a list of any of ");
        for (uint32_t i = 0; i < schema->enumeration.count; i++) {
            say(&words, "%s%s", i ? ", " : "", schema->enumeration.strings[i].str);
        }
        break;
    case CYAML_MAPPING:
        say(&words, "a mapping with the keys ");
        say_keys(&words, schema->mapping.fields);
        break;
    case CYAML_SEQUENCE:
        say(&words, "a list of %" PRIu32 " to %" PRIu32 " entries", schema->sequence.min,
            schema->sequence.max);
        break;
    default: say(&words, "another type of value"); break;
    }
    return words;
}

static bool is_flag(const struct cyaml_schema_value *schema, const char *text)
{
    for (uint32_t i = 0; i < schema->enumeration.count; i++) {
        if (strcmp(schema->enumeration.strings[i].str, text) == 0) {
            return true;
        }
    }
    return false;
}

/* The first entry of a list of flags that is none of them. */
static const struct qb_yaml_node *find_odd_flag(const struct qb_yaml *doc, const struct qb_yaml_node *list)
{
    for (uint32_t i = 0; list->schema->type == CYAML_FLAGS && i < list->size; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s[%" PRIu32 "]", list->path, i);
        const struct qb_yaml_node *const entry = qb_yaml_find(doc, path);
        if (entry && entry->kind == QB_YAML_SCALAR && !is_flag(list->schema, entry->text)) {
            return entry;
        }
    }
    return NULL;
}

static enum qb_status fail_expected(const struct qb_yaml *doc, const struct qb_yaml_node *node,
                                    struct qb_error *err)
{
    const struct qb_yaml_node *const odd = node->kind == QB_YAML_LIST ? find_odd_flag(doc, node) : NULL;
    const struct words words = expected(node->schema);
    char found[QB_YAML_QUOTED];
    switch (node->kind) {
    case QB_YAML_SCALAR:
        return qb_yaml_fail(doc, err, node->path, "expected %s, found '%s'", words.text,
                            qb_yaml_quote(node->text, found));
    case QB_YAML_MAPPING:
        return qb_yaml_fail(doc, err, node->path, "expected %s, found a mapping", words.text);
    case QB_YAML_LIST: break;
    }
    if (odd) {
        return qb_yaml_fail(doc, err, node->path, "expected %s, found '%s' in it", words.text,
                            qb_yaml_quote(odd->text, found));
    }
    return qb_yaml_fail(doc, err, node->path, "expected %s, found a list of %u", words.text, node->size);
}

/* ---- before libcyaml: attach schemas, and what libcyaml is too lenient about ---- */

static const cyaml_schema_field_t *find_field(const cyaml_schema_value_t *schema, const char *key)
{
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key; field++) {
        if (strcmp(field->key, key) == 0) {
            return field;
        }
    }
    return NULL;
}

static const cyaml_schema_value_t *schema_of(const struct qb_yaml *doc, const struct qb_yaml_node *node)
{
    const struct qb_yaml_node *const parent = node->parent < 0 ? NULL : &doc->nodes[node->parent];
    if (!parent) {
        return doc->schema;
    }
    if (parent->schema && parent->schema->type == CYAML_MAPPING && parent->kind == QB_YAML_MAPPING) {
        const cyaml_schema_field_t *const field = find_field(parent->schema, node->key);
        return field ? &field->value : NULL;
    }
    if (parent->schema && parent->schema->type == CYAML_SEQUENCE && parent->kind == QB_YAML_LIST) {
        return parent->schema->sequence.entry;
    }
    return NULL;
}

/* libcyaml takes "12abc" for 12, "010" for 8 and "nan" for a number. */
static bool number_is_written_right(const struct qb_yaml_node *node)
{
    const char *p = node->text;
    if (node->schema->type == CYAML_FLOAT) {
        char *end = NULL;
        const double value = strtod(p, &end);
        return strspn(p, "+-.0123456789eE") == strlen(p) && end != p && *end == 0 && isfinite(value);
    }
    p += *p == '-';
    return *p && strspn(p, "0123456789") == strlen(p) && (p[0] != '0' || p[1] == 0);
}

/* libcyaml keeps neither the number of flags nor their repetition. */
static enum qb_status check_flags(const struct qb_yaml *doc, int list, struct qb_error *err)
{
    const struct qb_yaml_node *const nodes = doc->nodes;
    for (int i = list + 1; i < doc->count; i++) {
        for (int k = list + 1; nodes[i].parent == list && k < i; k++) {
            if (nodes[k].parent == list && strcmp(nodes[k].text, nodes[i].text) == 0) {
                char found[QB_YAML_QUOTED];
                return qb_yaml_fail(doc, err, nodes[i].path, "'%s' is listed twice",
                                    qb_yaml_quote(nodes[i].text, found));
            }
        }
    }
    return QB_OK;
}

static enum qb_status check_nodes(struct qb_yaml *doc, struct qb_error *err)
{
    for (int i = 0; i < doc->count; i++) {
        struct qb_yaml_node *const node = &doc->nodes[i];
        node->schema = schema_of(doc, node);
        if (!node->schema) {
            continue;
        }
        const enum cyaml_type type = node->schema->type;
        const bool number = type == CYAML_INT || type == CYAML_UINT || type == CYAML_FLOAT;
        if (number && node->kind == QB_YAML_SCALAR && !number_is_written_right(node)) {
            return fail_expected(doc, node, err);
        }
        if (type == CYAML_FLAGS && node->kind == QB_YAML_LIST) {
            QB_TRY(check_flags(doc, i, err));
        }
    }
    return QB_OK;
}

/* ---- libcyaml's log ---- */

enum {
    MAX_FRAMES = 2 * QB_YAML_MAX_DEPTH,
    REASON_SIZE = 256,
    PATH_SIZE = QB_YAML_MAX_DEPTH * (QB_YAML_MAX_KEY + 16), /* keys and [entries], joined by dots */
};

struct frame {
    char key[QB_YAML_MAX_KEY + 1]; /* "" for an entry of a list */
    unsigned entry;                /* from 0 */
};

/* What the log said: the first line, then the backtrace, innermost first. */
struct report {
    char reason[REASON_SIZE];
    struct frame frames[MAX_FRAMES];
    int count;
};

static void __attribute__((format(printf, 3, 0)))
capture(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
    struct report *const report = ctx;
    char line[256];
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = 0;
    struct frame frame = {.key = ""};
    if (level < CYAML_LOG_ERROR || strncmp(line, "Load: Backtrace", 15) == 0) {
        return;
    }
    if (sscanf(line, " in mapping field '%64[^']'", frame.key) == 1) {
    } else if (sscanf(line, " in sequence entry '%u'", &frame.entry) == 1) {
        frame.entry -= frame.entry > 0; /* libcyaml counts before it reads */
    } else {
        if (!*report->reason) {
            snprintf(report->reason, sizeof report->reason, "%s",
                     strncmp(line, "Load: ", 6) ? line : line + 6);
        }
        return;
    }
    if (report->count < MAX_FRAMES) {
        report->frames[report->count++] = frame;
    }
}

/* The path of the frames from the outermost down to, not including, frame `last`. */
static void join_frames(const struct report *report, int last, char *out, size_t size)
{
    size_t used = 0;
    *out = 0;
    for (int i = report->count - 1; i >= last && used < size; i--) {
        const struct frame *const frame = &report->frames[i];
        const int n = *frame->key ? snprintf(out + used, size - used, "%s%s", used ? "." : "", frame->key)
                                  : snprintf(out + used, size - used, "[%u]", frame->entry);
        used += n < 0 ? 0 : (size_t)n;
    }
}

static enum qb_status fail_missing(const struct qb_yaml *doc, const char *path, const char *key,
                                   struct qb_error *err)
{
    const struct qb_yaml_node *const node = qb_yaml_find(doc, path);
    const cyaml_schema_field_t *const field = node && node->schema ? find_field(node->schema, key) : NULL;
    const struct words words = field ? expected(&field->value) : (struct words){.text = "a value"};
    return qb_yaml_fail(doc, err, path, "key '%s' is missing; expected %s", key, words.text);
}

static enum qb_status fail_unknown(const struct qb_yaml *doc, const char *path, const char *key,
                                   struct qb_error *err)
{
    char full[PATH_SIZE + REASON_SIZE], found[QB_YAML_QUOTED];
    snprintf(full, sizeof full, "%s%s%s", path, *path ? "." : "", key);
    const struct qb_yaml_node *const node = qb_yaml_find(doc, path);
    struct words words = {.used = 0};
    if (node && node->schema && node->schema->type == CYAML_MAPPING) {
        say_keys(&words, node->schema->mapping.fields);
    }
    return qb_fail(err, QB_EINPUT, "%s:%u: %s%sunknown key '%s'; the keys here are %s", doc->file,
                   line_of(doc, full), path, *path ? ": " : "", qb_yaml_quote(key, found), words.text);
}

static enum qb_status explain(const struct qb_yaml *doc, cyaml_err_t code, const struct report *report,
                              struct qb_error *err)
{
    static const char unexpected[] = "Unexpected key: ", missing[] = "Missing required mapping field: ";
    char path[PATH_SIZE];
    const bool has_frames = report->count > 0;
    switch (code) {
    case CYAML_ERR_OOM: return qb_fail_memory(err, QB_YAML_MAX_BYTES);
    case CYAML_ERR_MAPPING_FIELD_MISSING: /* the innermost frame is the last key that was there */
        join_frames(report, has_frames && *report->frames[0].key, path, sizeof path);
        if (strncmp(report->reason, missing, sizeof missing - 1) == 0) {
            return fail_missing(doc, path, report->reason + sizeof missing - 1, err);
        }
        break;
    case CYAML_ERR_INVALID_KEY: /* the innermost frame, the mapping itself, has no key and was not kept */
        join_frames(report, 0, path, sizeof path);
        if (strncmp(report->reason, unexpected, sizeof unexpected - 1) == 0) {
            return fail_unknown(doc, path, report->reason + sizeof unexpected - 1, err);
        }
        break;
    case CYAML_ERR_SEQUENCE_ENTRIES_MIN:
    case CYAML_ERR_SEQUENCE_ENTRIES_MAX: /* the innermost frame is an entry; the list is meant */
        join_frames(report, has_frames && !*report->frames[0].key, path, sizeof path);
        break;
    default: join_frames(report, 0, path, sizeof path); break;
    }
    const struct qb_yaml_node *const node = qb_yaml_find(doc, path);
    if (node && node->schema) {
        return fail_expected(doc, node, err);
    }
    return qb_yaml_fail(doc, err, path, "%s", *report->reason ? report->reason : cyaml_strerror(code));
}

static cyaml_config_t config_for(struct report *report)
{
    return (cyaml_config_t){.log_fn = capture,
                            .log_ctx = report,
                            .mem_fn = cyaml_mem,
                            .log_level = CYAML_LOG_ERROR,
                            .flags = CYAML_CFG_NO_ALIAS};
}

enum qb_status qb_yaml_parse(struct qb_yaml *doc, const cyaml_schema_value_t *schema, struct qb_error *err)
{
    doc->schema = schema;
    if (!doc->count) {
        const struct words words = expected(schema);
        return qb_fail(err, QB_EINPUT, "%s:1: the file holds no value; expected %s", doc->file, words.text);
    }
    QB_TRY(check_nodes(doc, err));
    if (doc->nodes[0].kind != QB_YAML_MAPPING) {
        return fail_expected(doc, &doc->nodes[0], err);
    }
    struct report report = {.count = 0};
    const cyaml_config_t config = config_for(&report);
    const cyaml_err_t code =
        cyaml_load_data(doc->text.data, doc->text.size, &config, schema, &doc->data, NULL);
    return code == CYAML_OK ? QB_OK : explain(doc, code, &report, err);
}

enum qb_status qb_yaml_open(const char *path, struct qb_yaml *out, struct qb_error *err)
{
    struct qb_yaml doc = {.file = path};
    QB_TRY(qb_file_read(path, QB_YAML_MAX_BYTES, &doc.text, err));
    doc.arena = qb_arena_create();
    const enum qb_status status = doc.arena ? qb_yaml_index(doc.text.data, doc.text.size, &doc, err)
                                            : qb_fail_memory(err, doc.text.size);
    if (status != QB_OK) {
        qb_yaml_free(&doc);
        return status;
    }
    *out = doc;
    return QB_OK;
}

enum qb_status qb_yaml_load(const char *path, const cyaml_schema_value_t *schema, struct qb_yaml *out,
                            struct qb_error *err)
{
    struct qb_yaml doc;
    QB_TRY(qb_yaml_open(path, &doc, err));
    const enum qb_status status = qb_yaml_parse(&doc, schema, err);
    if (status != QB_OK) {
        qb_yaml_free(&doc);
        return status;
    }
    *out = doc;
    return QB_OK;
}

void qb_yaml_free(struct qb_yaml *doc)
{
    if (doc->data) {
        struct report report = {.count = 0};
        const cyaml_config_t config = config_for(&report);
        cyaml_free(&config, doc->schema, doc->data, 0);
    }
    qb_blob_free(&doc->text);
    qb_arena_destroy(doc->arena);
    *doc = (struct qb_yaml){0};
}
