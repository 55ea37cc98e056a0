/* SPDX-License-Identifier: MIT */
/* Addresses as the configuration spells them. */
#include "net/addr.h"

#include <errno.h>

#include "support/unit.h"

#define NAME_107                                              \
    "0123456789012345678901234567890123456789012345678901234" \
    "0123456789012345678901234567890123456789012345678901"

static const struct {
    const char *why, *text, *formatted; /* NULL: refused */
    int family;
    uint16_t port;
} cases[] = {
    { "a port alone serves every address", ":8080", "[::]:8080", AF_INET6, 8080 },
    { "the least port, which the system chooses", ":0", "[::]:0", AF_INET6, 0 },
    { "the highest port", "0.0.0.0:65535", "0.0.0.0:65535", AF_INET, 65535 },
    { "an IPv4 address", "127.0.0.1:80", "127.0.0.1:80", AF_INET, 80 },
    { "an IPv6 address", "[::1]:443", "[::1]:443", AF_INET6, 443 },
    { "another spelling of it", "[0:0:0:0:0:0:0:1]:443", "[::1]:443", AF_INET6, 443 },
    { "an IPv4 address in IPv6 clothes", "[::ffff:192.0.2.1]:80", "192.0.2.1:80", AF_INET6,
            80 },
    { "a Unix socket", "unix:/run/weir.sock", "unix:/run/weir.sock", AF_UNIX, 0 },
    { "an abstract one", "@weir", "@weir", AF_UNIX, 0 },
    { "the longest name", "unix:" NAME_107, "unix:" NAME_107, AF_UNIX, 0 },
    { "the longest abstract name", "@" NAME_107, "@" NAME_107, AF_UNIX, 0 },
    { "one byte more", "unix:" NAME_107 "x", NULL, 0, 0 },
    { "no name", "unix:", NULL, 0, 0 },
    { "no abstract name", "@", NULL, 0, 0 },
    { "nothing", "", NULL, 0, 0 },
    { "no port", "127.0.0.1", NULL, 0, 0 },
    { "an empty port", "127.0.0.1:", NULL, 0, 0 },
    { "a port above the highest", ":65536", NULL, 0, 0 },
    { "a signed port", ":+80", NULL, 0, 0 },
    { "a port with a letter", ":80a", NULL, 0, 0 },
    { "a port with a space", ": 80", NULL, 0, 0 },
    { "a name", "localhost:80", NULL, 0, 0 },
    { "half an address", "127.0.0:80", NULL, 0, 0 },
    { "an octet above 255", "127.0.0.256:80", NULL, 0, 0 },
    { "IPv6 without brackets", "::1:80", NULL, 0, 0 },
    { "brackets without a port", "[::1]", NULL, 0, 0 },
    { "an open bracket", "[::1:80", NULL, 0, 0 },
    { "empty brackets", "[]:80", NULL, 0, 0 },
    { "IPv4 in brackets", "[127.0.0.1]:80", NULL, 0, 0 },
    { "a zone", "[fe80::1%lo]:80", NULL, 0, 0 },
    { "an address longer than any",
            "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80", NULL, 0, 0 },
};

START_TEST(reads_and_writes_addresses)
{
    struct addr addr = { .len = 77 };
    const char *why = NULL;
    int r = addr_parse(weir_str_from(cases[_i].text), &addr, &why);
    if (cases[_i].formatted == NULL) {
        unit_check(r == -EINVAL, cases[_i].why);
        unit_check(why != NULL && why[0] != '\0', cases[_i].why);
        unit_check(addr.len == 77, cases[_i].why);
        ck_assert_int_eq(addr_parse(weir_str_from(cases[_i].text), &addr, NULL), -EINVAL);
        return;
    }
    unit_check(r == 0, cases[_i].why);
    unit_check(addr.sa.sa_family == cases[_i].family, cases[_i].why);
    unit_check(addr_port(&addr) == cases[_i].port, cases[_i].why);
    char text[ADDR_TEXT_BYTES];
    size_t len = addr_format(&addr, text);
    ck_assert_str_eq(text, cases[_i].formatted);
    ck_assert_uint_eq(len, strlen(text));

    /* What was written is read as the same again, unless it changed its clothes. */
    struct addr again;
    ck_assert_int_eq(addr_parse(weir_str_from(text), &again, NULL), 0);
    ck_assert(addr_eq(&addr, &again) == (again.sa.sa_family == cases[_i].family));
}
END_TEST

START_TEST(refuses_a_name_with_a_nul)
{
    struct addr addr;
    ck_assert_int_eq(addr_parse(WEIR_STR("unix:/a\0b"), &addr, NULL), -EINVAL);
    ck_assert_int_eq(addr_parse(WEIR_STR("127.0.0.1\0x:80"), &addr, NULL), -EINVAL);
}
END_TEST

START_TEST(tells_addresses_apart)
{
    static const char *const texts[] = { ":80", ":81", "0.0.0.0:80", "127.0.0.1:80", "[::1]:80",
        "unix:/a", "unix:/b", "unix:/ab", "@a" };
    enum {
        COUNT = sizeof(texts) / sizeof(texts[0])
    };
    struct addr addrs[COUNT + 1] = { { .len = 0 } };
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(addr_parse(weir_str_from(texts[i]), &addrs[i], NULL), 0);
    }
    for (int i = 0; i <= COUNT; i++) {
        for (int j = 0; j <= COUNT; j++) {
            ck_assert_msg(addr_eq(&addrs[i], &addrs[j]) == (i == j), "%d %d", i, j);
        }
    }
}
END_TEST

START_TEST(shows_a_peer_without_its_port)
{
    static const struct {
        const char *text, *ip;
        uint16_t family;
    } rows[] = { { "192.0.2.1:80", "192.0.2.1", AF_INET },
        { "[::ffff:192.0.2.1]:80", "192.0.2.1", AF_INET }, { "[::1]:80", "::1", AF_INET6 },
        { "unix:/a", "", AF_UNIX } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr addr;
        char text[ADDR_TEXT_BYTES];
        ck_assert_int_eq(addr_parse(weir_str_from(rows[i].text), &addr, NULL), 0);
        ck_assert_uint_eq(addr_format_ip(&addr, text), strlen(rows[i].ip));
        ck_assert_str_eq(text, rows[i].ip);
        struct addr_ip ip = addr_to_ip(&addr);
        ck_assert_uint_eq(ip.family, rows[i].family);
        ck_assert_uint_eq(ip.port, addr_port(&addr));
    }
    struct addr none = { .len = 0 };
    char text[ADDR_TEXT_BYTES];
    ck_assert_uint_eq(addr_format_ip(&none, text), 0);
    ck_assert_uint_eq(addr_port(&none), 0);
    ck_assert_uint_eq(addr_to_ip(&none).family, AF_UNIX);
}
END_TEST

/* A client of a Unix socket has an address without a name. */
START_TEST(shows_a_nameless_socket)
{
    struct addr addr = { .len = sizeof(sa_family_t) };
    addr.un.sun_family = AF_UNIX;
    char text[ADDR_TEXT_BYTES];
    addr_format(&addr, text);
    ck_assert_str_eq(text, "unix:");
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_and_writes_addresses, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, refuses_a_name_with_a_nul);
    tcase_add_test(tests, tells_addresses_apart);
    tcase_add_test(tests, shows_a_peer_without_its_port);
    tcase_add_test(tests, shows_a_nameless_socket);
}

UNIT_MAIN("net/addr", add_tests)
