/* SPDX-License-Identifier: MIT */
/* What the tests of modules share: one handler of a module in a server of its own, asked once;
 * a configuration that must be refused; a whole site on the testbed. Whatever is not as it was
 * expected fails the test, and the message says which case it was. */
#ifndef WEIR_SUPPORT_MODULE_RIG_H
#define WEIR_SUPPORT_MODULE_RIG_H

#include <weir/module.h>

#include "observe/log.h"
#include "support/conf_rig.h"
#include "support/rig.h"
#include "testkit/testbed.h"

/* Of an array of cases, for tcase_add_loop_test(). */
#define MODULE_ROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

/* ---- one handler ------------------------------------------------------------------------- */

struct module_case {
    const char *why;
    const char *outer, *inner;         /* layers of options; inner may be NULL */
    const struct weir_handler *beside; /* asked behind it, before the rig's own; NULL: none */
    const char *request;               /* all of what the client sends */
    unsigned status;                   /* of its first answer */
};

struct module_rig {
    const char *why;
    struct conf_rig conf;
    struct rig rig;
    struct rig_answer answer;
    struct weir_str rest; /* what came behind it */
};

/* Asks a server with the first handler of `module`, and checks the status. */
void module_rig_init(struct module_rig *rig, const struct weir_module *module,
        const struct module_case *one);
void module_rig_fini(struct module_rig *rig);

/* value NULL: there is no such field. */
void module_rig_check_field(const struct module_rig *rig, const char *name, const char *value);
void module_rig_check_body(const struct module_rig *rig, const char *body);

/* The options of the module's first handler are refused with a message that holds `message`. */
void module_check_refused(const struct weir_module *module, const char *conf,
        const char *message);

/* ---- a site ------------------------------------------------------------------------------ */

/* Silent, with a client. `settings` is as testbed_new()'s. */
struct testbed *module_testbed_new(const struct testbed_settings *settings);

/* What the log says from said_begin() on; said_check() fails the test unless `line` is part of
 * it, and the log is silent again. */
struct said {
    int pipe[2];
};
void said_begin(struct said *said, enum log_level level);
void said_check(struct said *said, const char *line);

/* One answer of a site: how it begins behind "HTTP/1.1 " and ends, and text that is somewhere
 * in it, or with a ! before it nowhere; NULL: whatever. */
struct module_answer {
    const char *status, *field, *end;
};
void module_check_answer(const struct testbed *testbed, const char *why,
        const struct module_answer *want);

/* Replays `input` in every way (testkit/torture.h), allocations failing too. */
void module_check_torture(const struct testbed_settings *settings, struct weir_str input);

#endif
