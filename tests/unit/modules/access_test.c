/* SPDX-License-Identifier: MIT */
/* Who may come (CONFIG.md, handler `access`; F153). The rig's client is 192.0.2.1. */
#include <weir/module.h>

#include "support/module_rig.h"
#include "support/unit.h"

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
    const struct module_case one = { .why = row->why,
        .outer = row->outer,
        .inner = row->inner,
        .request = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        .status = row->status };
    struct module_rig rig;
    module_rig_init(&rig, &weir_module_v1, &one);
    module_rig_fini(&rig);
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
    module_check_refused(&weir_module_v1, mistakes[_i].conf, mistakes[_i].message);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, admits, 0, MODULE_ROWS(rows));
    tcase_add_loop_test(tests, refuses, 0, MODULE_ROWS(mistakes));
}

UNIT_MAIN("access", add_tests)
