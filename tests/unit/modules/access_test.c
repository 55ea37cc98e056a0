/* SPDX-License-Identifier: MIT */
/* Who may come (CONFIG.md, handler `access`; F153). The rig's client is 192.0.2.1. */
#include <weir/module.h>

#include "support/conf_rig.h"
#include "support/rig.h"
#include "support/unit.h"

#define LENGTH(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static const struct weir_handler *
handler(void)
{
    return &weir_module_v1.handlers.items[0];
}

static const struct row {
    const char *why, *outer, *inner;
    unsigned status;
} rows[] = {
    { "who is allowed passes", "{\"allow\": \"192.0.2.0/24\"}", NULL, 200 },
    { "with `allow` alone nobody else does", "{\"allow\": \"10.0.0.0/8\"}", NULL, 403 },
    { "with `deny` alone everybody else passes", "{\"deny\": \"10.0.0.0/8\"}", NULL, 200 },
    { "who is denied does not", "{\"deny\": \"192.0.2.1\"}", NULL, 403 },
    { "denied wins over allowed", "{\"allow\": \"192.0.2.1\", \"deny\": \"192.0.2.0/24\"}",
            NULL, 403 },
    { "allowed but for a few", "{\"allow\": \"192.0.2.0/24\", \"deny\": \"192.0.2.2\"}", NULL,
            200 },
    { "any of the allowed", "{\"allow\": [\"10.0.0.0/8\", \"192.0.2.1\"]}", NULL, 200 },
    { "any of the denied", "{\"deny\": [\"10.0.0.0/8\", \"192.0.2.1\"]}", NULL, 403 },
    { "IPv6 is another family", "{\"deny\": \"::/0\"}", NULL, 200 },
    { "IPv4 in IPv6 clothes", "{\"deny\": \"::ffff:192.0.2.0/120\"}", NULL, 403 },
    { "everybody", "{\"deny\": [\"0.0.0.0/0\", \"::/0\"]}", NULL, 403 },
    { "deny lists append: an inner one adds", "{\"deny\": \"10.0.0.0/8\"}",
            "{\"deny\": \"192.0.2.1\"}", 403 },
    { "deny lists append: an inner one takes nothing away", "{\"deny\": \"192.0.2.1\"}",
            "{\"deny\": \"10.0.0.0/8\"}", 403 },
    { "what is denied outside cannot be allowed inside", "{\"deny\": \"192.0.2.1\"}",
            "{\"allow\": \"192.0.2.1\"}", 403 },
    { "allow lists append", "{\"allow\": \"10.0.0.0/8\"}", "{\"allow\": \"192.0.2.1\"}", 200 },
};

START_TEST(admits)
{
    const struct row *row = &rows[_i];
    struct conf_rig conf;
    ck_assert_msg(conf_rig_init(&conf, handler(), row->outer, row->inner), "%s: %s", row->why,
            conf_rig_message(&conf));
    const void *const confs[] = { conf.conf };
    struct rig rig;
    rig_init_with(&rig, handler(), confs, 1);
    rig_connect(&rig);
    rig_send(&rig, WEIR_STR("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct weir_str bytes = rig_received(&rig);
    struct rig_answer answer;
    ck_assert_msg(rig_next_answer(&bytes, false, &answer), "%s", row->why);
    ck_assert_msg(answer.status == row->status, "%s: %u", row->why, answer.status);
    rig_fini(&rig);
    conf_rig_fini(&conf);
}
END_TEST

static const struct mistake {
    const char *conf, *message;
} mistakes[] = {
    { "{}", "neither" },
    { "{\"allow\": []}", "neither" },
    { "{\"allow\": \"10.0.0.0/33\"}", "10.0.0.0/33" },
    { "{\"deny\": \"localhost\"}", "localhost" },
};

START_TEST(refuses)
{
    struct conf_rig conf;
    ck_assert_msg(!conf_rig_init(&conf, handler(), mistakes[_i].conf, NULL), "%s",
            mistakes[_i].conf);
    ck_assert_msg(strstr(conf_rig_message(&conf), mistakes[_i].message) != NULL, "%s: %s",
            mistakes[_i].conf, conf_rig_message(&conf));
    conf_rig_fini(&conf);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, admits, 0, LENGTH(rows));
    tcase_add_loop_test(tests, refuses, 0, LENGTH(mistakes));
}

UNIT_MAIN("access", add_tests)
