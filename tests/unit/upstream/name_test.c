/* SPDX-License-Identifier: MIT */
/* Names whose answers are the test's: what their group's members are then, and when they are
 * asked for again. */
#include "upstream/name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/engine.h"
#include "observe/log.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"
#include "upstream/exchange.h"
#include "upstream/group.h"

#define QUERIES_MAX 64

/* ---- a resolver of the test's own -------------------------------------------------------- */

struct resolver_query {
    enum resolver_kind kind;
    char name[RESOLVER_NAME_BYTES];
    resolver_fn *fn; /* NULL: free, or cancelled */
    void *context;
};

static struct resolver_query queries[QUERIES_MAX];
static unsigned asked;

static struct resolver_query *
ask(struct resolver *resolver, enum resolver_kind kind, const char *name, resolver_fn *fn,
        void *context)
{
    (void)resolver;
    void *may_fail = malloc(1);
    if (may_fail == NULL) {
        return NULL;
    }
    free(may_fail);
    asked++;
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        if (queries[i].fn == NULL) {
            queries[i] = (struct resolver_query){ .kind = kind, .fn = fn, .context = context };
            snprintf(queries[i].name, sizeof(queries[i].name), "%s", name);
            return &queries[i];
        }
    }
    ck_abort_msg("too many questions");
}

static void
cancel(struct resolver *resolver, struct resolver_query *query)
{
    (void)resolver;
    ck_assert_ptr_nonnull(query->fn);
    query->fn = NULL;
}

static void
free_nothing(struct resolver *resolver)
{
    (void)resolver;
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        ck_assert_ptr_null(queries[i].fn);
    }
}

static struct resolver scripted = { ask, cancel, free_nothing };

static int
new_scripted(struct loop *loop, const struct resolver_settings *settings, struct resolver **out)
{
    (void)loop;
    (void)settings;
    *out = &scripted;
    return 0;
}

/* ---- a group ----------------------------------------------------------------------------- */

static struct manual_clock manual;
static struct engine engine;
static struct upstreams *all;
static struct upstream_group *group;
static struct upstream_target_settings target;
static struct upstream_settings settings;

static int
begin_with(const char *address, const char *host, uint16_t port)
{
    target = (struct upstream_target_settings){
        .address = weir_str_from(address),
        .host = host,
        .port = port,
        .is_service = port == 0,
        .weight = 3,
    };
    settings = (struct upstream_settings){
        .name = WEIR_STR("app"),
        .targets = &target,
        .target_count = 1,
        .connections = UINT64_MAX,
        .names = { .ttl_min_ns = NS_PER_S, .ttl_max_ns = 100 * NS_PER_S },
    };
    asked = 0;
    manual_clock_init(&manual, 1000 * NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&manual.clock, &engine.loop), 0);
    int r = upstreams_new(&engine, NULL, new_scripted, &settings, 1, 1, NULL, &all);
    group = r < 0 ? NULL : &all->groups[0];
    if (r == 0) {
        loop_turn(engine.loop, false);
    }
    return r;
}

static void
begin(void)
{
    ck_assert_int_eq(begin_with("app.test:80", "app.test", 80), 0);
}

static void
finish(void)
{
    upstreams_free(all);
    loop_free(engine.loop);
}

static void
pass(uint64_t ns)
{
    manual_clock_advance_ns(&manual, ns);
    loop_turn(engine.loop, false);
}

/* The question about `name` of that kind, which must have been asked. */
static struct resolver_query
take(const char *name, enum resolver_kind kind)
{
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        if (queries[i].fn != NULL && queries[i].kind == kind &&
                strcmp(queries[i].name, name) == 0) {
            struct resolver_query query = queries[i];
            queries[i].fn = NULL;
            return query;
        }
    }
    ck_abort_msg("%s was not asked for", name);
}

/* Addresses are the last bytes of 127.0.0.x, or of ::x. */
static void
say(const char *name, enum resolver_kind kind, uint32_t ttl_s, const char *lasts)
{
    struct addr addrs[RESOLVER_RECORDS_MAX] = { { .len = 0 } };
    struct resolver_answer answer = {
        .result = RESOLVER_FOUND,
        .ttl_s = ttl_s,
        .count = strlen(lasts),
        .addrs = addrs,
    };
    for (size_t i = 0; i < answer.count; i++) {
        if (kind == RESOLVER_IPV4) {
            addrs[i].in = (struct sockaddr_in){ .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(0x7F000000u + (unsigned char)lasts[i]) };
            addrs[i].len = sizeof(addrs[i].in);
        } else {
            addrs[i].in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
            addrs[i].in6.sin6_addr.s6_addr[15] = (unsigned char)lasts[i];
            addrs[i].len = sizeof(addrs[i].in6);
        }
    }
    struct resolver_query query = take(name, kind);
    query.fn(query.context, &answer);
}

static void
say_no(const char *name, enum resolver_kind kind, enum resolver_result result)
{
    const struct resolver_answer answer = { .result = result };
    struct resolver_query query = take(name, kind);
    query.fn(query.context, &answer);
}

static void
say_services(const char *name, uint32_t ttl_s, const struct resolver_service *services,
        size_t count)
{
    const struct resolver_answer answer = { .result = RESOLVER_FOUND,
        .ttl_s = ttl_s,
        .count = count,
        .services = services };
    struct resolver_query query = take(name, RESOLVER_SRV);
    query.fn(query.context, &answer);
}

/* The group's members, as one text. */
static const char *
members(void)
{
    static char text[256];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < group->target_count; i++) {
        const struct upstream_target_settings *its = &group->targets[i]->settings;
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s", at == 0 ? "" : " ",
                WEIR_STR_ARG(its->address));
    }
    return text;
}

/* ---- hosts ------------------------------------------------------------------------------- */

START_TEST(is_all_of_its_addresses)
{
    begin();
    ck_assert_uint_eq(asked, 2);
    ck_assert(upstream_awaits_names(group));
    say("app.test", RESOLVER_IPV4, 60, "\1\2");
    ck_assert_str_eq(members(), ""); /* the other kind may come yet */
    say("app.test", RESOLVER_IPV6, 60, "\3");
    ck_assert_str_eq(members(), "127.0.0.1:80 127.0.0.2:80 [::3]:80");
    ck_assert(!upstream_awaits_names(group));
    ck_assert_uint_eq(group->targets[0]->settings.weight, 3);
    ck_assert(weir_str_eq(group->targets[0]->settings.label, target.address));
    finish();
}
END_TEST

START_TEST(is_asked_for_again_when_the_first_time_is_over)
{
    begin();
    say("app.test", RESOLVER_IPV4, 60, "\1");
    say("app.test", RESOLVER_IPV6, 30, "\2");
    pass(29 * NS_PER_S);
    ck_assert_uint_eq(asked, 2);
    pass(1 * NS_PER_S);
    ck_assert_uint_eq(asked, 4);
    say_no("app.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    say("app.test", RESOLVER_IPV4, 1000, "\2\1\1");
    ck_assert_str_eq(members(), "127.0.0.1:80 127.0.0.2:80"); /* who stays keeps its place */
    pass(99 * NS_PER_S);
    ck_assert_uint_eq(asked, 4);
    pass(1 * NS_PER_S); /* ttl_max */
    ck_assert_uint_eq(asked, 6);
    finish();
}
END_TEST

START_TEST(keeps_its_last_addresses_whatever_goes_wrong)
{
    static const enum resolver_result results[] = { RESOLVER_NO_NAME, RESOLVER_NO_DATA,
        RESOLVER_TIMED_OUT, RESOLVER_FAILURE, RESOLVER_BAD_ANSWER, RESOLVER_EXHAUSTED };
    static const unsigned waits_s[] = { 0, 1, 2, 4, 4, 4 }; /* before each of them */
    begin();
    say("app.test", RESOLVER_IPV4, 0, "\1");
    say_no("app.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    pass(NS_PER_S);
    for (size_t i = 0; i < 6; i++) {
        unsigned before = asked;
        pass(waits_s[i] * NS_PER_S);
        ck_assert_uint_eq(asked, i == 0 ? before : before + 2);
        say_no("app.test", RESOLVER_IPV4, results[i]);
        say_no("app.test", RESOLVER_IPV6, results[5 - i]);
        ck_assert_str_eq(members(), "127.0.0.1:80");
    }
    pass(4 * NS_PER_S);
    say("app.test", RESOLVER_IPV4, 0, "\2");
    say_no("app.test", RESOLVER_IPV6, RESOLVER_FAILURE);
    ck_assert_str_eq(members(), "127.0.0.2:80");
    finish();
}
END_TEST

START_TEST(keeps_those_of_one_kind_when_its_question_fails)
{
    begin();
    say("app.test", RESOLVER_IPV4, 50, "\1");
    say("app.test", RESOLVER_IPV6, 50, "\2");
    pass(50 * NS_PER_S);
    say_no("app.test", RESOLVER_IPV4, RESOLVER_TIMED_OUT);
    say("app.test", RESOLVER_IPV6, 50, "\3");
    ck_assert_str_eq(members(), "127.0.0.1:80 [::3]:80");
    unsigned before = asked;
    pass(1 * NS_PER_S); /* and is asked for again soon */
    ck_assert_uint_eq(asked, before + 2);
    say_no("app.test", RESOLVER_IPV4, RESOLVER_NO_DATA); /* that is an answer */
    say("app.test", RESOLVER_IPV6, 50, "\3");
    ck_assert_str_eq(members(), "[::3]:80");
    finish();
}
END_TEST

START_TEST(settles_without_an_address)
{
    begin();
    say_no("app.test", RESOLVER_IPV4, RESOLVER_NO_NAME);
    ck_assert(upstream_awaits_names(group));
    say_no("app.test", RESOLVER_IPV6, RESOLVER_NO_NAME);
    ck_assert(!upstream_awaits_names(group));
    pass(1 * NS_PER_S);
    say("app.test", RESOLVER_IPV4, 60, "\1");
    say_no("app.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    ck_assert_str_eq(members(), "127.0.0.1:80");
    finish();
}
END_TEST

static void
on_news(struct exchange *exchange)
{
    ck_assert_int_eq(exchange->state, EXCHANGE_OVER);
}

/* One of two names is known not to stand for anything, and the other is not known yet. */
START_TEST(keeps_who_waits_waiting_for_the_last_of_its_names)
{
    begin();
    finish(); /* the settings stay */
    const struct upstream_target_settings both[] = { target,
        { .address = WEIR_STR("b.test:80"), .host = "b.test", .port = 80, .weight = 1 } };
    settings.targets = both;
    settings.target_count = 2;
    settings.queue_ns = 100 * NS_PER_S;
    ck_assert_int_eq(loop_new(&manual.clock, &engine.loop), 0);
    ck_assert_int_eq(upstreams_new(&engine, NULL, new_scripted, &settings, 1, 1, NULL, &all),
            0);
    group = &all->groups[0];
    loop_turn(engine.loop, false);
    struct exchange exchange = { .group = group, .on_news = on_news };
    exchange_begin(&exchange);
    ck_assert_int_eq(exchange.state, EXCHANGE_QUEUED);
    say_no("app.test", RESOLVER_IPV4, RESOLVER_NO_NAME);
    say_no("app.test", RESOLVER_IPV6, RESOLVER_NO_NAME);
    ck_assert_int_eq(exchange.state, EXCHANGE_QUEUED);
    say_no("b.test", RESOLVER_IPV4, RESOLVER_NO_NAME);
    say_no("b.test", RESOLVER_IPV6, RESOLVER_NO_NAME);
    ck_assert_int_eq(exchange.state, EXCHANGE_OVER);
    ck_assert_int_eq(exchange.error, WEIR_EXCHANGE_UNRESOLVED);
    exchange_end(&exchange);
    finish();
}
END_TEST

START_TEST(has_no_more_members_than_a_group_may)
{
    char first[129], second[200];
    for (size_t i = 0; i < 199; i++) {
        second[i] = (char)(i + 1);
    }
    second[199] = '\0';
    memcpy(first, second, 128);
    first[128] = '\0';
    begin();
    say("app.test", RESOLVER_IPV4, 0, second);
    say("app.test", RESOLVER_IPV6, 0, first);
    ck_assert_uint_eq(group->target_count, UPSTREAM_TARGETS_MAX);
    pass(NS_PER_S); /* all of them change: those that are gone make room */
    say_no("app.test", RESOLVER_IPV4, RESOLVER_NO_DATA);
    say("app.test", RESOLVER_IPV6, 0, second);
    ck_assert_uint_eq(group->target_count, 199);
    finish();
}
END_TEST

/* ---- services ---------------------------------------------------------------------------- */

static const struct resolver_service two[] = {
    { "a.test", 10, 60, 8001 },
    { "b.test", 20, 0, 8002 },
};

static void
begin_service(void)
{
    ck_assert_int_eq(begin_with("srv:_app._tcp.test", "_app._tcp.test", 0), 0);
}

START_TEST(says_port_weight_and_backups)
{
    begin_service();
    say_services("_app._tcp.test", 60, two, 2);
    loop_turn(engine.loop, false);
    say("b.test", RESOLVER_IPV4, 60, "\2");
    say_no("b.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    ck_assert_str_eq(members(), "");
    say_no("a.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    say("a.test", RESOLVER_IPV4, 60, "\1");
    ck_assert_uint_eq(group->target_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct upstream_target_settings *its = &group->targets[i]->settings;
        bool is_first = addr_port(&its->addr) == 8001;
        ck_assert_uint_eq(its->weight, is_first ? 60 : 1);
        ck_assert(its->is_backup == !is_first);
    }
    finish();
}
END_TEST

START_TEST(changes_its_hosts_together)
{
    static const struct resolver_service other[] = { { "c.test", 0, 65535, 8003 },
        { "d.test", 0, 1, 8004 } };
    begin_service();
    say_services("_app._tcp.test", 5, two, 1);
    loop_turn(engine.loop, false);
    say("a.test", RESOLVER_IPV4, 1000, "\1");
    say_no("a.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    ck_assert_str_eq(members(), "127.0.0.1:8001");
    pass(5 * NS_PER_S);
    unsigned before = asked;
    say_services("_app._tcp.test", 5, two, 1);
    loop_turn(engine.loop, false);
    ck_assert_uint_eq(asked, before); /* nothing new, nothing asked */
    pass(5 * NS_PER_S);
    say_services("_app._tcp.test", 5, other, 2);
    loop_turn(engine.loop, false);
    say("c.test", RESOLVER_IPV4, 1000, "\3");
    say_no("c.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    ck_assert_str_eq(members(), "127.0.0.1:8001");
    say_no("d.test", RESOLVER_IPV4, RESOLVER_TIMED_OUT);
    say_no("d.test", RESOLVER_IPV6, RESOLVER_TIMED_OUT);
    ck_assert_str_eq(members(), "127.0.0.3:8003");
    ck_assert_uint_eq(group->targets[0]->settings.weight, BALANCE_WEIGHT_MAX);
    finish();
}
END_TEST

START_TEST(keeps_its_hosts_where_none_of_the_new_ones_is_known)
{
    static const struct resolver_service other[] = { { "c.test", 0, 1, 8003 } };
    begin_service();
    say_services("_app._tcp.test", 5, two, 1);
    loop_turn(engine.loop, false);
    say("a.test", RESOLVER_IPV4, 1000, "\1");
    say_no("a.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    pass(5 * NS_PER_S);
    say_services("_app._tcp.test", 1000, other, 1);
    loop_turn(engine.loop, false);
    say_no("c.test", RESOLVER_IPV4, RESOLVER_NO_NAME);
    say_no("c.test", RESOLVER_IPV6, RESOLVER_NO_NAME);
    ck_assert_str_eq(members(), "127.0.0.1:8001");
    pass(NS_PER_S); /* it is asked for again, by itself */
    say("c.test", RESOLVER_IPV4, 1000, "\3");
    say_no("c.test", RESOLVER_IPV6, RESOLVER_NO_DATA);
    ck_assert_str_eq(members(), "127.0.0.3:8003");
    finish();
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------ */

/* Whoever asked is answered; false: nobody did. */
static bool
say_all(void)
{
    bool has_any = false;
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        if (queries[i].fn == NULL) {
            continue;
        }
        has_any = true;
        struct resolver_query query = queries[i];
        if (query.kind == RESOLVER_SRV) {
            say_services(query.name, 10, two, 2);
        } else {
            say(query.name, query.kind, 10, query.kind == RESOLVER_IPV4 ? "\1\2" : "\3");
        }
    }
    return has_any;
}

/* From the beginning until both hosts have their three addresses, however long that takes. */
static void
run_short_of_memory(uint64_t nth)
{
    ck_assert_int_eq(loop_new(&manual.clock, &engine.loop), 0);
    failalloc_fail_nth(nth);
    if (upstreams_new(&engine, NULL, new_scripted, &settings, 1, 1, NULL, &all) == 0) {
        group = &all->groups[0];
        for (unsigned i = 0; i < 60; i++) {
            loop_turn(engine.loop, false);
            if (!say_all()) {
                manual_clock_advance_ns(&manual, NS_PER_S);
            }
        }
        ck_assert_uint_eq(group->target_count, 6);
        upstreams_free(all);
    }
    loop_free(engine.loop);
}

START_TEST(comes_to_the_same_however_often_memory_runs_out)
{
    begin_service();
    finish(); /* the settings stay */
    for (uint64_t nth = 1;; nth++) {
        run_short_of_memory(nth);
        bool has_failed = failalloc_has_failed();
        failalloc_fail_nth(0);
        if (!has_failed) {
            break;
        }
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(STDERR_FILENO, LOG_ERROR);
    tcase_add_test(tests, is_all_of_its_addresses);
    tcase_add_test(tests, is_asked_for_again_when_the_first_time_is_over);
    tcase_add_test(tests, keeps_its_last_addresses_whatever_goes_wrong);
    tcase_add_test(tests, keeps_those_of_one_kind_when_its_question_fails);
    tcase_add_test(tests, settles_without_an_address);
    tcase_add_test(tests, keeps_who_waits_waiting_for_the_last_of_its_names);
    tcase_add_test(tests, has_no_more_members_than_a_group_may);
    tcase_add_test(tests, says_port_weight_and_backups);
    tcase_add_test(tests, changes_its_hosts_together);
    tcase_add_test(tests, keeps_its_hosts_where_none_of_the_new_ones_is_known);
    tcase_add_test(tests, comes_to_the_same_however_often_memory_runs_out);
}

UNIT_MAIN("upstream/name", add_tests)
