/* SPDX-License-Identifier: MIT */
#include "static.h"
#include "support/unit.h"

/* RFC 9110 sections 12.4.2 and 12.5.3. */
static const struct {
    const char *why, *value;
    enum static_coding coding;
    uint16_t weight;
} cases[] = {
    { "named", "gzip", STATIC_GZIP, 1000 },
    { "not named", "gzip", STATIC_BROTLI, 0 },
    { "of several", "gzip, deflate, br", STATIC_BROTLI, 1000 },
    { "in any case", "GZip", STATIC_GZIP, 1000 },
    { "its old name", "x-gzip", STATIC_GZIP, 1000 },
    { "a weight", "gzip;q=0.5", STATIC_GZIP, 500 },
    { "a weight with spaces", "gzip ; q=0.123", STATIC_GZIP, 123 },
    { "the whole weight", "br;q=1.000", STATIC_BROTLI, 1000 },
    { "refused", "gzip;q=0", STATIC_GZIP, 0 },
    { "refused at length", "gzip;q=0.000", STATIC_GZIP, 0 },
    { "a star", "*", STATIC_ZSTD, 1000 },
    { "a star is for those not named", "gzip;q=0, *;q=0.3", STATIC_GZIP, 0 },
    { "a star for another", "gzip;q=0, *;q=0.3", STATIC_ZSTD, 300 },
    { "a star that refuses", "gzip, *;q=0", STATIC_ZSTD, 0 },
    { "a prefix is another coding", "gzipped", STATIC_GZIP, 0 },
    { "an empty value accepts none", "", STATIC_GZIP, 0 },
    { "a malformed weight is none", "gzip;q=2", STATIC_GZIP, 0 },
    { "above one", "gzip;q=1.001", STATIC_GZIP, 0 },
    { "too long", "gzip;q=0.1234", STATIC_GZIP, 0 },
    { "no digits", "gzip;q=", STATIC_GZIP, 0 },
    { "other parameters", "gzip;x=1;q=0.2", STATIC_GZIP, 200 },
};

START_TEST(reads_accept_encoding)
{
    struct static_weights weights;
    static_weights_init(&weights);
    static_weights_read(&weights, weir_str_from(cases[_i].value));
    unit_check(static_weight(&weights, cases[_i].coding) == cases[_i].weight, cases[_i].why);
}
END_TEST

static const struct {
    const char *why, *path;
    bool is_hidden;
} hidden[] = {
    { "a dot file", "/.git", true },
    { "in a hidden directory", "/.git/config", true },
    { "below", "/a/.b/c", true },
    { "well-known", "/.well-known/acme/x", false },
    { "well-known itself", "/.well-known", false },
    { "only looks so", "/.well-knownx", true },
    { "well-known elsewhere", "/a/.well-known/x", true },
    { "hidden in well-known", "/.well-known/.x", true },
    { "a dot within", "/a.b/c.", false },
};

START_TEST(knows_hidden_names)
{
    unit_check(static_path_is_hidden(weir_str_from(hidden[_i].path)) == hidden[_i].is_hidden,
            hidden[_i].why);
}
END_TEST

static const struct {
    const char *why, *path, *prefix, *want; /* NULL: not there */
} strips[] = {
    { "none", "/a", "", "/a" },
    { "a segment", "/assets/a", "/assets", "/a" },
    { "with a slash", "/assets/a", "/assets/", "/a" },
    { "all of it", "/assets", "/assets", "" },
    { "not within a name (/www and /www-secret)", "/www-secret/a", "/www", NULL },
    { "elsewhere", "/b/a", "/assets", NULL },
    { "longer than the path", "/a", "/assets", NULL },
};

START_TEST(strips_whole_segments)
{
    struct weir_str out;
    bool is_there = static_path_strip(weir_str_from(strips[_i].path),
            weir_str_from(strips[_i].prefix), &out);
    unit_check(is_there == (strips[_i].want != NULL), strips[_i].why);
    unit_check(!is_there || weir_str_eq(out, weir_str_from(strips[_i].want)), strips[_i].why);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_accept_encoding, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(tests, knows_hidden_names, 0, sizeof(hidden) / sizeof(hidden[0]));
    tcase_add_loop_test(tests, strips_whole_segments, 0, sizeof(strips) / sizeof(strips[0]));
}

UNIT_MAIN("modules/static_coding", add_tests)
