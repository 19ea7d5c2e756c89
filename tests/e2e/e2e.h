/* Running the installed program: what the end-to-end tests share. */
#ifndef QB_TESTS_E2E_H
#define QB_TESTS_E2E_H

#include "testing.h"

/* What one run of the program left. */
struct e2e_result {
    int code;        /* exit code; 128 + signal when it was killed */
    char *out, *err; /* malloc'd texts of stdout and stderr */
};

/* cmocka group set-up and tear-down: installs the build into a fresh prefix (QB_BUILD_DIR) and makes an empty
 * work folder, which is the current folder of every run. The data set of the user's cache stays visible;
 * $HOME does not. */
int e2e_setup(void **state);
int e2e_teardown(void **state);

/* Runs `qbench ARGS` (split at blanks) in the work folder. `env` is NULL or "NAME=VALUE". */
struct e2e_result e2e_run(const char *env, const char *args, ...) __attribute__((format(printf, 2, 3)));
/* The same of a shell script that finds the program as "$QBENCH". */
struct e2e_result e2e_shell(const char *env, const char *script);
void e2e_free(struct e2e_result *result);

/* Fails unless the run ended with `code` and one line "qbench: ..." on stderr that holds `needle`. */
void e2e_expect_error(const char *env, int code, const char *needle, const char *args, ...)
    __attribute__((format(printf, 4, 5)));

/* Path of `name` in the work folder (static storage, eight at a time); number of entries in that folder. */
const char *e2e_path(const char *name);
int e2e_entries(void);

/* 1 when CIFAR-10 is on this machine; e2e_require_data skips the test without it. */
int e2e_have_data(void);
void e2e_require_data(void);

/* Runs and interrupts with SIGINT after `milliseconds`. */
struct e2e_result e2e_run_interrupted(unsigned milliseconds, const char *args);

#endif
