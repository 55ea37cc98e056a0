/* SPDX-License-Identifier: MIT */
#include "http/host.h"

#include <errno.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define TEN "0123456789"
#define LABELS_250                                                                          \
    TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN \
            TEN TEN TEN

static const struct {
    const char *why, *text;
    int want;
    const char *name; /* canonical */
    enum host_kind kind;
    bool has_port;
    uint16_t port;
} cases[] = {
    { "a name", "example.org", 0, "example.org", HOST_NAME, false, 0 },
    { "a name and a port", "example.org:8080", 0, "example.org", HOST_NAME, true, 8080 },
    { "case does not matter (RFC 9110 4.2.3)", "Example.ORG", 0, "example.org", HOST_NAME,
            false, 0 },
    { "a dot at the end is the root's", "example.org.", 0, "example.org", HOST_NAME, false, 0 },
    { "a dot at the end and a port", "A.:80", 0, "a", HOST_NAME, true, 80 },
    { "one label", "localhost", 0, "localhost", HOST_NAME, false, 0 },
    { "an underscore is unreserved", "my_app-1", 0, "my_app-1", HOST_NAME, false, 0 },
    { "an empty port is none (RFC 3986 3.2.3)", "a:", 0, "a", HOST_NAME, false, 0 },
    { "the last port", "a:65535", 0, "a", HOST_NAME, true, 65535 },
    { "port 0 is a number", "a:0", 0, "a", HOST_NAME, true, 0 },
    { "zeros before a port", "a:00080", 0, "a", HOST_NAME, true, 80 },
    { "an IPv4 address", "127.0.0.1:80", 0, "127.0.0.1", HOST_IPV4, true, 80 },
    { "an IPv4 address and a dot", "127.0.0.1.", 0, "127.0.0.1", HOST_IPV4, false, 0 },
    { "four numbers of which one is too large are a name", "1.2.3.256", 0, "1.2.3.256",
            HOST_NAME, false, 0 },
    { "three numbers are a name", "1.2.3", 0, "1.2.3", HOST_NAME, false, 0 },
    { "an IPv6 address", "[::1]", 0, "::1", HOST_IPV6, false, 0 },
    { "an IPv6 address and a port", "[2001:db8::1]:8443", 0, "2001:db8::1", HOST_IPV6, true,
            8443 },
    { "an IPv6 address in another spelling (RFC 5952)", "[2001:0DB8:0:0::0001]:", 0,
            "2001:db8::1", HOST_IPV6, false, 0 },
    { "an IPv4 address within IPv6", "[::FFFF:1.2.3.4]", 0, "::ffff:1.2.3.4", HOST_IPV6, false,
            0 },
    { "255 bytes", LABELS_250 ".abcd", 0, LABELS_250 ".abcd", HOST_NAME, false, 0 },

    { "256 bytes", LABELS_250 ".abcde", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "nothing (an http URI has a host, RFC 9110 4.2.1)", "", -EINVAL, NULL, HOST_NAME, false,
            0 },
    { "a port alone", ":80", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "userinfo (RFC 9110 4.2.4)", "user@example.org", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "userinfo with a password", "user:pass@example.org", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a port too large", "a:65536", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a port far too large", "a:99999999999999999999999", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a port with a sign", "a:+80", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a port that is none", "a:http", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "two ports", "a:80:80", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "IPv6 without brackets", "::1", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a space", "a b", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a space in front", " a", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "two hosts in one field", "a,b", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a path", "a/b", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a backslash", "a\\b", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a query", "a?b", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a fragment", "a#b", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "percent-encoding", "%65xample.org", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a pattern", "*.example.org", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "markup", "<script>", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "raw UTF-8", "ex\xc3\xa4mple", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a dot alone", ".", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a dot in front", ".example.org", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "two dots", "example..org", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "two dots at the end", "example.org..", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "an open bracket", "[::1", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a closing bracket", "::1]", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "nothing in brackets", "[]", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a name in brackets", "[example.org]", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "IPv4 in brackets", "[1.2.3.4]", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "something behind the brackets", "[::1]x", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a zone (RFC 6874)", "[fe80::1%25eth0]", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a zone, bare", "[fe80::1%eth0]", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "a future address", "[v7.x]", -EINVAL, NULL, HOST_NAME, false, 0 },
    { "an address longer than any",
            "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]", -EINVAL, NULL,
            HOST_NAME, false, 0 },
};

START_TEST(reads_authorities)
{
    struct host host = { .port = 77 };
    int r = host_parse(weir_str_from(cases[_i].text), &host);
    unit_check(r == cases[_i].want, cases[_i].why);
    if (r != 0) {
        unit_check(host.port == 77, cases[_i].why);
        return;
    }
    char dst[HOST_NAME_BYTES];
    struct weir_str name = host_name(&host, dst);
    unit_check(weir_str_eq(name, weir_str_from(cases[_i].name)), cases[_i].why);
    unit_check(host.is_canonical == weir_str_eq(name, host.raw_name), cases[_i].why);
    unit_check(host.kind == cases[_i].kind, cases[_i].why);
    unit_check(host.has_port == cases[_i].has_port, cases[_i].why);
    unit_check(host.port == cases[_i].port, cases[_i].why);
}
END_TEST

START_TEST(refuses_a_nul_and_every_control_byte)
{
    for (int c = 0; c < 0x20; c++) {
        struct host host;
        char text[3] = { 'a', (char)c, 'b' };
        ck_assert_int_eq(host_parse(weir_str_make(text, 3), &host), -EINVAL);
        char v6[5] = { '[', ':', ':', (char)c, ']' };
        ck_assert_int_eq(host_parse(weir_str_make(v6, 5), &host), -EINVAL);
    }
}
END_TEST

static const struct {
    const char *why, *a, *b;
    bool want;
} pairs[] = {
    { "case", "Example.org", "eXAMPLE.ORG", true },
    { "the port is not the name's", "a:80", "a:81", true },
    { "the dot at the end", "a.", "a", true },
    { "spellings of an address", "[::1]", "[0:0::0:1]:80", true },
    { "another name", "a", "b", false },
    { "a longer name", "a", "aa", false },
    { "an address and its twin", "[::ffff:1.2.3.4]", "1.2.3.4", false },
};

START_TEST(compares_names_whatever_their_spelling)
{
    struct host a, b;
    ck_assert_int_eq(host_parse(weir_str_from(pairs[_i].a), &a), 0);
    ck_assert_int_eq(host_parse(weir_str_from(pairs[_i].b), &b), 0);
    unit_check(host_eq(&a, &b) == pairs[_i].want, pairs[_i].why);
    unit_check(host_eq(&b, &a) == pairs[_i].want, pairs[_i].why);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_authorities, 0, COUNT(cases));
    tcase_add_test(tests, refuses_a_nul_and_every_control_byte);
    tcase_add_loop_test(tests, compares_names_whatever_their_spelling, 0, COUNT(pairs));
}

UNIT_MAIN("http/host", add_tests)
