/* The command line: one file a command (cmd_NAME.c). Commands turn options into calls of the rooms and
 * results into text; they hold no arithmetic. They return an exit code and print errors through cli_error. */
#ifndef QB_CLI_CLI_H
#define QB_CLI_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <sys/types.h>
#include <jansson.h>

#include "base/progress.h"
#include "base/status.h"

struct cli_command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is "qbench NAME" */
};

int cmd_run(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_evaluate(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_sensitivity(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_fetch(int argc, char **argv);
int cmd_schemes(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_env(int argc, char **argv);

/* "qbench: text" on stderr; returns the exit code of the status. */
int cli_error(const struct qb_error *err);

/* argp_parse with this program's conventions: a usage error exits with 2. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Option values, checked: a number from `min` to `max`, else a usage error (exit 2) naming the option. */
long cli_number(struct argp_state *state, const char *option, const char *text, long min, long max);

/* "text" or "json" -> is it JSON; anything else is a usage error. */
bool cli_is_json(struct argp_state *state, const char *text);

/* A progress line on stderr with percentage, and estimated time left: redrawn in place on a terminal, silent
 * elsewhere. */
extern const struct qb_progress cli_progress;
/* Names what the following progress belongs to ("3/18 fbgemm on onednn"): in front of the line on a terminal,
 * a line of its own elsewhere. */
void cli_step(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Estimated seconds to the end of the whole command; negative: unknown. */
void cli_time_left(double seconds);
/* Ends a progress line. */
void cli_progress_end(void);

/* Writes text, and what was printed before, to stdout; QB_EIO, once, when that fails (a full disk). Called
 * once more at exit. */
enum qb_status cli_print(const char *text, struct qb_error *err);

/* Prints a JSON document with `digits` of precision and releases it; NULL, from a failed json_pack, is out of
 * memory. */
enum qb_status cli_print_json(json_t *root, size_t digits, struct qb_error *err);

/* The process that SIGINT and SIGTERM are passed on to; 0: none. */
void cli_child(pid_t pid);

#endif
