/* SPDX-License-Identifier: MIT */
#include "module/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/unit.h"

#define TRUSTED "192.0.2.7:1000"

/* F68: which address is the client, given the peer, the hops believed and the fields. */
static const struct {
    const char *why, *peer, *header;
    uint64_t hops;
    const char *fields;
    int want;
    const char *client;
} cases[] = {
    { "without the field it is the peer", TRUSTED, "x-forwarded-for", 1, "", 0, "192.0.2.7" },
    { "a stranger is not believed", "198.51.100.1:1", "x-forwarded-for", 1,
            "X-Forwarded-For: 10.0.0.1\r\n", 0, "198.51.100.1" },
    { "the rightmost is what the neighbour saw", TRUSTED, "x-forwarded-for", 1,
            "X-Forwarded-For: 6.6.6.6, 10.0.0.1\r\n", 0, "10.0.0.1" },
    { "two hops", TRUSTED, "x-forwarded-for", 2,
            "X-Forwarded-For: 6.6.6.6, 10.0.0.1, 10.0.0.2\r\n", 0, "10.0.0.1" },
    { "lines count as one list", TRUSTED, "x-forwarded-for", 2,
            "X-Forwarded-For: 6.6.6.6, 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n", 0,
            "10.0.0.1" },
    { "fewer than the hops: the leftmost", TRUSTED, "x-forwarded-for", 5,
            "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", 0, "10.0.0.1" },
    { "an address with a port", TRUSTED, "x-forwarded-for", 1,
            "X-Forwarded-For: 10.0.0.1:4711\r\n", 0, "10.0.0.1" },
    { "IPv6 bare", TRUSTED, "x-forwarded-for", 1, "X-Forwarded-For: 2001:db8::1\r\n", 0,
            "2001:db8::1" },
    { "IPv6 in brackets with a port", TRUSTED, "x-forwarded-for", 1,
            "X-Forwarded-For: [2001:db8::1]:80\r\n", 0, "2001:db8::1" },
    { "a mapped address is IPv4", TRUSTED, "x-forwarded-for", 1,
            "X-Forwarded-For: ::ffff:10.0.0.9\r\n", 0, "10.0.0.9" },
    { "no address is a 400", TRUSTED, "x-forwarded-for", 1, "X-Forwarded-For: unknown\r\n", -22,
            "" },
    { "a port that is none is a 400", TRUSTED, "x-forwarded-for", 1,
            "X-Forwarded-For: 10.0.0.1:http\r\n", -22, "" },
    { "one wrong far to the left does not matter", TRUSTED, "x-forwarded-for", 1,
            "X-Forwarded-For: <script>, 10.0.0.1\r\n", 0, "10.0.0.1" },
    { "another field", TRUSTED, "x-real-ip", 1,
            "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 10.0.0.3\r\n", 0, "10.0.0.3" },
    { "Forwarded (RFC 7239)", TRUSTED, "forwarded", 1,
            "Forwarded: for=6.6.6.6, proto=https;For=\"[2001:db8::2]:9\";by=1.1.1.1\r\n", 0,
            "2001:db8::2" },
    { "Forwarded that hides the client", TRUSTED, "forwarded", 1, "Forwarded: for=_hidden\r\n",
            -22, "" },
};

static void
read_head(struct weir_request *request, const char *fields)
{
    static const struct http_limits limits = HTTP_LIMITS_PRESET;
    static char text[2048];
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    arena_init(&request->arena, NULL, 0, 1 << 20);
    head_reader_init(&request->reader, &limits, &request->arena, &request->head);
    size_t taken;
    enum head_refusal refusal;
    ck_assert_int_eq(head_reader_feed(&request->reader, weir_str_from(text), &taken, &refusal),
            HEAD_DONE);
}

START_TEST(takes_the_client_from_trusted_neighbours_only)
{
    struct weir_network network = { .family = 4, .bits = 24, .address = { 192, 0, 2, 0 } };
    struct site_trust trust = {
        .peers = { &network, 1 },
        .header = weir_str_from(cases[_i].header),
        .hops = cases[_i].hops,
    };
    struct weir_request *request = calloc(1, sizeof(*request));
    read_head(request, cases[_i].fields);
    ck_assert_int_eq(addr_ip_parse(weir_str_from(cases[_i].peer), &request->peer), 0);
    struct addr_ip client;
    int r = client_find(&trust, request, &client);
    unit_check(r == cases[_i].want, cases[_i].why);
    if (r == 0) {
        char text[ADDR_TEXT_BYTES];
        addr_ip_format(&client, text);
        ck_assert_msg(strcmp(text, cases[_i].client) == 0, "%s: %s", cases[_i].why, text);
    }
    arena_reset(&request->arena);
    free(request);
}
END_TEST

START_TEST(believes_nobody_when_nobody_is_trusted)
{
    struct site_trust trust = { .header = WEIR_STR("x-forwarded-for"), .hops = 1 };
    struct weir_request *request = calloc(1, sizeof(*request));
    read_head(request, "X-Forwarded-For: 10.0.0.1\r\n");
    ck_assert_int_eq(addr_ip_parse(WEIR_STR(TRUSTED), &request->peer), 0);
    struct addr_ip client;
    ck_assert_int_eq(client_find(&trust, request, &client), 0);
    ck_assert_mem_eq(&client, &request->peer, sizeof(client));
    arena_reset(&request->arena);
    free(request);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, takes_the_client_from_trusted_neighbours_only, 0,
            sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, believes_nobody_when_nobody_is_trusted);
}

UNIT_MAIN("module/client", add_tests)
