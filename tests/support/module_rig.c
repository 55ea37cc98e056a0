/* SPDX-License-Identifier: MIT */
#include "support/module_rig.h"

#include <stdio.h>
#include <unistd.h>

#include <check.h>

#include "support/failalloc.h"
#include "support/unit.h"
#include "testkit/torture.h"

#define REPORT_BYTES (1u << 20)

static const struct weir_handler *
first_handler(const struct weir_module *module)
{
    return &module->handlers.items[0];
}

void
module_rig_init(struct module_rig *rig, const struct weir_module *module,
        const struct module_case *one)
{
    const struct weir_handler *handler = first_handler(module);
    rig->why = one->why;
    ck_assert_msg(conf_rig_init(&rig->conf, handler, one->outer, one->inner), "%s: %s",
            one->why, conf_rig_message(&rig->conf));
    const void *const confs[] = { rig->conf.conf, NULL };
    struct weir_handler handlers[2] = { *handler };
    if (one->beside != NULL) {
        handlers[1] = *one->beside;
    }
    rig_init_with(&rig->rig, handlers, confs, one->beside == NULL ? 1 : 2);
    rig_connect(&rig->rig);
    rig_send(&rig->rig, weir_str_from(one->request));
    rig->rest = rig_received(&rig->rig);
    ck_assert_msg(rig_next_answer(&rig->rest, one->request[0] == 'H', &rig->answer),
            "%s: no answer", one->why);
    ck_assert_msg(rig->answer.status == one->status, "%s: %u", one->why, rig->answer.status);
}

void
module_rig_fini(struct module_rig *rig)
{
    rig_fini(&rig->rig);
    conf_rig_fini(&rig->conf);
}

void
module_rig_check_field(const struct module_rig *rig, const char *name, const char *value)
{
    struct weir_str found = rig_field(rig->answer.head, name);
    ck_assert_msg((value == NULL) == (found.ptr == NULL), "%s: %s is %s", rig->why, name,
            value == NULL ? "there" : "not there");
    ck_assert_msg(weir_str_eq(found, weir_str_from(value)), "%s: %s: %.*s", rig->why, name,
            WEIR_STR_ARG(found));
}

void
module_rig_check_body(const struct module_rig *rig, const char *body)
{
    ck_assert_msg(weir_str_eq(rig->answer.body, weir_str_from(body)), "%s: %.*s", rig->why,
            WEIR_STR_ARG(rig->answer.body));
}

void
module_check_refused(const struct weir_module *module, const char *conf, const char *message)
{
    struct conf_rig rig;
    ck_assert_msg(!conf_rig_init(&rig, first_handler(module), conf, NULL), "%s", conf);
    ck_assert_msg(strstr(conf_rig_message(&rig), message) != NULL, "%s: %s", conf,
            conf_rig_message(&rig));
    conf_rig_fini(&rig);
}

struct testbed *
module_testbed_new(const struct testbed_settings *settings)
{
    log_init(-1, LOG_ERROR);
    struct buf report;
    buf_init(&report, REPORT_BYTES);
    struct testbed *testbed = NULL;
    int r = testbed_new(settings, &report, &testbed);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
    ck_assert(testbed_connect(testbed));
    return testbed;
}

void
said_begin(struct said *said, enum log_level level)
{
    ck_assert_int_eq(pipe(said->pipe), 0);
    log_init(said->pipe[1], level);
}

void
said_check(struct said *said, const char *line)
{
    char text[4096];
    ssize_t len = read(said->pipe[0], text, sizeof(text));
    ck_assert_int_gt(len, 0);
    struct weir_str log = weir_str_make(text, (size_t)len);
    ck_assert_msg(unit_has(log, line), "%.*s", WEIR_STR_ARG(log));
    log_init(-1, LOG_ERROR);
    close(said->pipe[0]);
    close(said->pipe[1]);
}

void
module_check_answer(const struct testbed *testbed, const char *why,
        const struct module_answer *want)
{
    struct weir_str received = testbed_received(testbed);
    char first[64];
    snprintf(first, sizeof(first), "HTTP/1.1 %s", want->status);
    bool is_absent = want->field != NULL && want->field[0] == '!';
    bool is_right = weir_str_starts_with(received, weir_str_from(first)) &&
            (want->field == NULL || unit_has(received, want->field + is_absent) != is_absent) &&
            (want->end == NULL || unit_ends(received, want->end));
    ck_assert_msg(is_right, "%s: %.*s", why, WEIR_STR_ARG(received));
}

void
module_check_torture(const struct testbed_settings *settings, struct weir_str input)
{
    log_init(-1, LOG_ERROR);
    struct torture torture = {
        .settings = *settings,
        .input = input,
        .patience_ns = NS_PER_S,
        .fail_nth = failalloc_fail_nth,
        .has_failed = failalloc_has_failed,
    };
    struct buf report;
    buf_init(&report, REPORT_BYTES);
    int r = torture_run(&torture, &report);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
}
