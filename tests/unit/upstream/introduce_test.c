/* SPDX-License-Identifier: MIT */
/* For whom a connection to an upstream is said to be. */
#include "upstream/introduce.h"

#include "http/request.h"
#include "support/unit.h"
#include "testkit/memory_stream.h"

static struct addr_ip local;

static bool
tell_local(const struct weir_request *request, struct addr_ip *out)
{
    (void)request;
    *out = local;
    return local.family != 0;
}

static const struct request_transport telling = { .local = tell_local },
                                      silent = { .local = NULL };

static const struct {
    const char *why;
    const struct request_transport *transport;
    const char *peer, *client, *local; /* "": not known */
    const char *line;
} cases[] = {
    { "the peer, where its server has said nothing", &telling, "192.0.2.7:4711", "",
            "198.51.100.1:443", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n" },
    { "the client that the peer speaks for", &telling, "192.0.2.7:4711", "203.0.113.9",
            "198.51.100.1:443", "PROXY TCP4 203.0.113.9 198.51.100.1 0 443\r\n" },
    { "that it came here is not known", &telling, "192.0.2.7:4711", "192.0.2.7:4711", "",
            "PROXY TCP4 192.0.2.7 0.0.0.0 4711 0\r\n" },
    { "a transport that never knows", &silent, "192.0.2.7:4711", "192.0.2.7:4711", "",
            "PROXY TCP4 192.0.2.7 0.0.0.0 4711 0\r\n" },
    { "no transport", NULL, "192.0.2.7:4711", "192.0.2.7:4711", "",
            "PROXY TCP4 192.0.2.7 0.0.0.0 4711 0\r\n" },
};

static struct addr_ip
ip(const char *text)
{
    struct addr_ip out = { .family = 0 };
    if (text[0] != '\0') {
        ck_assert_int_eq(addr_ip_parse(weir_str_from(text), &out), 0);
    }
    return out;
}

START_TEST(speaks_for_the_client)
{
    struct weir_request request;
    memset(&request, 0, sizeof(request));
    request.transport = cases[_i].transport;
    request.peer = ip(cases[_i].peer);
    request.client = ip(cases[_i].client);
    local = ip(cases[_i].local);
    char bytes[PROXY_HEADER_BYTES_MAX];
    size_t len = upstream_introduce(PROXY_V1, &request, bytes);
    ck_assert_msg(weir_str_eq(weir_str_make(bytes, len), weir_str_from(cases[_i].line)),
            "%s: %.*s", cases[_i].why, (int)len, bytes);
}
END_TEST

START_TEST(speaks_for_nobody)
{
    static const char local_header[] = "\r\n\r\n\0\r\nQUIT\n\40\0\0\0";
    struct memory_stream stream;
    struct addr target;
    char bytes[PROXY_HEADER_BYTES_MAX];
    memory_stream_init(&stream, NULL, NULL, NULL);
    ck_assert_int_eq(addr_parse(WEIR_STR("198.51.100.1:80"), &target, NULL), 0);
    size_t len = upstream_introduce_self(PROXY_V2, &stream.stream, &target, bytes);
    ck_assert(weir_str_eq(weir_str_make(bytes, len),
            weir_str_make(local_header, sizeof(local_header) - 1)));
    len = upstream_introduce_self(PROXY_V1, &stream.stream, &target, bytes);
    ck_assert(weir_str_eq(weir_str_make(bytes, len), WEIR_STR("PROXY UNKNOWN\r\n")));
    ck_assert_int_eq(addr_parse(WEIR_STR("192.0.2.9:4711"), &stream.local, NULL), 0);
    len = upstream_introduce_self(PROXY_V1, &stream.stream, &target, bytes);
    ck_assert(weir_str_eq(weir_str_make(bytes, len),
            WEIR_STR("PROXY TCP4 192.0.2.9 198.51.100.1 4711 80\r\n")));
    ck_assert_uint_eq(upstream_introduce_self(PROXY_NONE, &stream.stream, &target, bytes), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, speaks_for_the_client, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, speaks_for_nobody);
}

UNIT_MAIN("upstream/introduce", add_tests)
