/* SPDX-License-Identifier: MIT */
/* How often a client may ask (F96). The rig's client is 192.0.2.1, its clock is wound by hand.
 */
#include <stdio.h>
#include <string.h>

#include <weir/module.h>

#include "hash.h"
#include "key.h"
#include "support/module_rig.h"
#include "support/unit.h"

#define GET "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

/* One request more, with `fields` (whole lines); its answer is in rig->answer. */
static unsigned
ask(struct module_rig *rig, const char *fields)
{
    char request[400];
    int len = snprintf(request, sizeof(request), "GET /hello HTTP/1.1\r\nHost: a\r\n%s\r\n",
            fields);
    buf_consume(&rig->rig.stream.received, rig_received(&rig->rig).len);
    rig_send(&rig->rig, weir_str_make(request, (size_t)len));
    rig->rest = rig_received(&rig->rig);
    ck_assert(rig_next_answer(&rig->rest, false, &rig->answer));
    return rig->answer.status;
}

static void
begin(struct module_rig *rig, const char *conf)
{
    const struct module_case one = { .why = conf,
        .outer = conf,
        .request = GET,
        .status = 200 };
    module_rig_init(rig, &weir_module_v1, &one);
}

START_TEST(refuses_what_is_over_the_limit_and_says_when_to_come_again)
{
    struct module_rig rig;
    begin(&rig, "{\"rate\": \"1/s\", \"burst\": 3}");
    ck_assert_uint_eq(ask(&rig, ""), 200);
    ck_assert_uint_eq(ask(&rig, ""), 200);
    module_rig_check_field(&rig, "Retry-After", NULL);
    ck_assert_uint_eq(ask(&rig, ""), 429);
    module_rig_check_field(&rig, "Retry-After", "1");
    module_rig_check_field(&rig, "RateLimit", NULL);
    rig_pass(&rig.rig, 0.5);
    ck_assert_uint_eq(ask(&rig, ""), 429);
    rig_pass(&rig.rig, 0.5); /* as it was told */
    ck_assert_uint_eq(ask(&rig, ""), 200);
    ck_assert_uint_eq(ask(&rig, ""), 429);
    module_rig_fini(&rig);
}
END_TEST

START_TEST(says_the_wait_in_whole_seconds)
{
    struct module_rig rig;
    begin(&rig, "{\"rate\": \"5/m\", \"burst\": 1, \"status\": 503}");
    rig_pass(&rig.rig, 1.5);
    ck_assert_uint_eq(ask(&rig, ""), 503);
    module_rig_check_field(&rig, "Retry-After", "11"); /* 10.5 s */
    rig_pass(&rig.rig, 9);
    ck_assert_uint_eq(ask(&rig, ""), 503);
    module_rig_check_field(&rig, "Retry-After", "2");
    rig_pass(&rig.rig, 2);
    ck_assert_uint_eq(ask(&rig, ""), 200);
    module_rig_fini(&rig);
}
END_TEST

START_TEST(takes_the_rate_s_number_for_a_burst)
{
    struct module_rig rig;
    begin(&rig, "{\"rate\": \"4/h\"}");
    for (unsigned i = 1; i < 4; i++) {
        ck_assert_uint_eq(ask(&rig, ""), 200);
    }
    ck_assert_uint_eq(ask(&rig, ""), 429);
    module_rig_check_field(&rig, "Retry-After", "900");
    module_rig_fini(&rig);
}
END_TEST

START_TEST(tells_what_is_left_where_that_is_asked_for)
{
    struct module_rig rig;
    begin(&rig, "{\"rate\": \"2/s\", \"burst\": 3, \"fields\": true, \"zone\": \"api\"}");
    module_rig_check_field(&rig, "RateLimit-Policy", "\"api\";q=3;w=2");
    module_rig_check_field(&rig, "RateLimit", "\"api\";r=2;t=1");
    ck_assert_uint_eq(ask(&rig, ""), 200);
    module_rig_check_field(&rig, "RateLimit", "\"api\";r=1;t=1");
    ck_assert_uint_eq(ask(&rig, ""), 200);
    module_rig_check_field(&rig, "RateLimit", "\"api\";r=0;t=2");
    ck_assert_uint_eq(ask(&rig, ""), 429);
    module_rig_check_field(&rig, "RateLimit", "\"api\";r=0;t=2");
    module_rig_check_field(&rig, "RateLimit-Policy", "\"api\";q=3;w=2");
    module_rig_check_field(&rig, "Retry-After", "1");
    module_rig_fini(&rig);
}
END_TEST

START_TEST(serves_all_in_a_dry_run)
{
    struct module_rig rig;
    begin(&rig, "{\"rate\": \"1/m\", \"burst\": 1, \"dry_run\": true, \"fields\": true}");
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_eq(ask(&rig, ""), 200);
        module_rig_check_field(&rig, "Retry-After", NULL);
        module_rig_check_field(&rig, "RateLimit", "\"default\";r=0;t=60");
    }
    module_rig_fini(&rig);
}
END_TEST

START_TEST(counts_by_whatever_the_key_says)
{
    struct module_rig rig;
    begin(&rig, "{\"rate\": \"1/m\", \"key\": [\"{header.a}\", \"{header.b}\"]}");
    ck_assert_uint_eq(ask(&rig, "A: x\r\nB: yz\r\n"), 200);
    ck_assert_uint_eq(ask(&rig, "A: x\r\nB: yz\r\n"), 429);
    ck_assert_uint_eq(ask(&rig, "A: xy\r\nB: z\r\n"), 200); /* other parts */
    ck_assert_uint_eq(ask(&rig, "A: xy\r\nB: z\r\n"), 429);
    ck_assert_uint_eq(ask(&rig, "B: z\r\n"), 200);
    ck_assert_uint_eq(ask(&rig, "A: z\r\n"), 200);
    ck_assert_uint_eq(ask(&rig, "A: z\r\n"), 429);
    for (unsigned i = 0; i < 3; i++) { /* nothing is known of it */
        ck_assert_uint_eq(ask(&rig, ""), 200);
        ck_assert_uint_eq(ask(&rig, "A:\r\n"), 200);
    }
    module_rig_fini(&rig);
}
END_TEST

static const struct {
    unsigned bits;
    const char *masked;
} masks[] = {
    { 128, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" },
    { 127, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe" },
    { 64, "\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0" },
    { 57, "\xff\xff\xff\xff\xff\xff\xff\x80\0\0\0\0\0\0\0\0" },
    { 56, "\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0" },
    { 1, "\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" },
};

START_TEST(cuts_addresses_of_ipv6)
{
    uint8_t address[16];
    memset(address, 0xff, sizeof(address));
    key_mask(address, masks[_i].bits);
    ck_assert_mem_eq(address, masks[_i].masked, sizeof(address));
}
END_TEST

static const struct mistake {
    const char *conf, *message;
} mistakes[] = {
    { "{}", "rate" },
    { "{\"rate\": false}", "a limit without a rate is none" },
    { "{\"rate\": \"2000000/s\"}", "rates are from" },
    { "{\"rate\": \"1/s\", \"burst\": 0}", "burst" },
    { "{\"rate\": \"1/s\", \"burst\": 1000001}", "\"burst\" is out of range" },
    { "{\"rate\": \"1/s\", \"burst\": false}", "burst" },
    { "{\"rate\": \"1/s\", \"max_keys\": 16000001}", "\"max_keys\" is out of range" },
    { "{\"rate\": \"1/s\", \"max_keys\": false}", "max_keys" },
    { "{\"rate\": \"1/s\", \"ipv6_prefix\": 129}", "\"ipv6_prefix\" is out of range" },
    { "{\"rate\": \"1/s\", \"status\": 204}", "204 is no error" },
    { "{\"rate\": \"1/s\", \"key\": []}", "a key has 1 to 8 parts" },
    { "{\"rate\": \"1/s\", \"key\": [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]}",
            "a key has 1 to 8 parts" },
    { "{\"rate\": \"1/s\", \"key\": \"{nobody}\"}", "nobody" },
    { "{\"rate\": \"1/s\", \"key\": \"\"}", "a part of a key that is empty" },
    { "{\"rate\": \"1/s\", \"key\": [\"{client.ip}\", \"\"]}",
            "a part of a key that is empty" },
    { "{\"rate\": \"1/s\", \"zone\": \"two words\"}", "wants a name" },
};

START_TEST(refuses)
{
    module_check_refused(&weir_module_v1, mistakes[_i].conf, mistakes[_i].message);
}
END_TEST

START_TEST(warns_of_an_address_among_other_text)
{
    struct conf_rig rig;
    ck_assert(conf_rig_init(&rig, &weir_module_v1.handlers.items[0],
            "{\"rate\": \"1/s\", \"key\": \"{client.ip} {path}\"}", NULL));
    ck_assert_msg(strstr(conf_rig_message(&rig), "make it a part of its own") != NULL, "%s",
            conf_rig_message(&rig));
    conf_rig_fini(&rig);
}
END_TEST

static const char *
zone_name(const char *conf, struct conf_rig *rig)
{
    static char name[2][WEIR_ZONE_NAME_BYTES + 1];
    static unsigned turn;
    char *text = name[turn++ % 2];
    ck_assert_msg(conf_rig_init(rig, &weir_module_v1.handlers.items[0], conf, NULL), "%s",
            conf_rig_message(rig));
    ck_assert_uint_eq(rig->zones.count, 1);
    snprintf(text, WEIR_ZONE_NAME_BYTES + 1, "%.*s", WEIR_STR_ARG(rig->zones.items[0].name));
    conf_rig_fini(rig);
    return text;
}

static const struct {
    const char *a, *b;
    bool is_one;
} pairs[] = {
    { "{\"rate\": \"1/s\"}", "{\"rate\": \"1/s\", \"burst\": 1}", true },
    { "{\"rate\": \"1/s\"}", "{\"rate\": \"1/s\", \"status\": 503, \"dry_run\": true}", true },
    { "{\"rate\": \"1/s\"}", "{\"rate\": \"2/s\"}", false },
    { "{\"rate\": \"1/s\"}", "{\"rate\": \"1/s\", \"burst\": 2}", false },
    { "{\"rate\": \"1/s\"}", "{\"rate\": \"1/s\", \"key\": \"{path}\"}", false },
    { "{\"rate\": \"1/s\"}", "{\"rate\": \"1/s\", \"max_keys\": 10}", false },
    { "{\"rate\": \"1/s\"}", "{\"rate\": \"1/s\", \"ipv6_prefix\": 56}", false },
    { "{\"rate\": \"1/s\", \"zone\": \"a\"}", "{\"rate\": \"2/s\", \"zone\": \"a\"}", true },
};

START_TEST(counts_uses_of_the_same_options_together)
{
    struct conf_rig rig;
    const char *a = zone_name(pairs[_i].a, &rig), *b = zone_name(pairs[_i].b, &rig);
    ck_assert_msg((strcmp(a, b) == 0) == pairs[_i].is_one, "%s %s", pairs[_i].a, pairs[_i].b);
}
END_TEST

#define SITE(uses)                                                                   \
    "{ \"modules\": [\"rate_limit\", \"rig\"], \"servers\": [{ \"listen\": \":80\"," \
    " \"routes\": [{ \"use\": [" uses "], \"handle\": { \"rig\": {} } }] }] }"

static const struct weir_module *const modules[] = { &weir_module_v1, &rig_module };

/* Allocations fail in turn, requests come in every way: none is lost, none is counted twice. */
START_TEST(survives_torture)
{
    const struct testbed_settings settings = {
        .config = SITE("{ \"rate_limit\": { \"rate\": \"1000/s\", \"burst\": 1000000,"
                       " \"fields\": true, \"key\": [\"{client.ip}\", \"{header.a}\"] } },"
                       "{ \"rate_limit\": \"1000000/s\", \"as\": \"other\" }"),
        .modules = modules,
        .modules_count = 2,
    };
    module_check_torture(&settings, WEIR_STR("GET /hello HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, refuses_what_is_over_the_limit_and_says_when_to_come_again);
    tcase_add_test(tests, says_the_wait_in_whole_seconds);
    tcase_add_test(tests, takes_the_rate_s_number_for_a_burst);
    tcase_add_test(tests, tells_what_is_left_where_that_is_asked_for);
    tcase_add_test(tests, serves_all_in_a_dry_run);
    tcase_add_test(tests, counts_by_whatever_the_key_says);
    tcase_add_loop_test(tests, cuts_addresses_of_ipv6, 0, MODULE_ROWS(masks));
    tcase_add_loop_test(tests, refuses, 0, MODULE_ROWS(mistakes));
    tcase_add_test(tests, warns_of_an_address_among_other_text);
    tcase_add_loop_test(tests, counts_uses_of_the_same_options_together, 0, MODULE_ROWS(pairs));
    tcase_add_test(tests, survives_torture);
}

UNIT_MAIN("modules/rate_limit", add_tests)
