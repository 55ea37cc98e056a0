/* SPDX-License-Identifier: MIT */
#include "http/file_type.h"

#include "support/unit.h"

static const struct {
    const char *why, *path, *extension, *type;
} cases[] = {
    { "a page", "a/index.html", "html", "text/html; charset=utf-8" },
    { "in capitals", "A.HTML", "HTML", "text/html; charset=utf-8" },
    { "the last of several", "jquery.min.js", "js", "text/javascript; charset=utf-8" },
    { "the first row", "x.3gp", "3gp", "video/3gpp" },
    { "the last row", "x.zst", "zst", "application/zstd" },
    { "none", "Makefile", "", "application/octet-stream" },
    { "unknown", "a.unknown", "unknown", "application/octet-stream" },
    { "a dot file has none", ".html", "", "application/octet-stream" },
    { "one below a directory neither", "a/.html", "", "application/octet-stream" },
    { "a directory's is not the file's", "a.html/b", "", "application/octet-stream" },
    { "a dot at the end", "a.", "", "application/octet-stream" },
    { "longer than any", "a.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "application/octet-stream" },
    { "an own one", "a.foo", "foo", "text/x-foo" },
    { "an own one wins", "a.css", "css", "text/x-own" },
    { "the empty path", "", "", "application/octet-stream" },
};

static const struct weir_map_entry own[] = {
    { .key = WEIR_STR_INIT("foo"), .value = WEIR_STR_INIT("text/x-foo") },
    { .key = WEIR_STR_INIT("css"), .value = WEIR_STR_INIT("text/x-own") },
};

START_TEST(knows_types_by_extension)
{
    struct weir_map map = { own, 2 };
    struct weir_str path = weir_str_from(cases[_i].path);
    unit_check(weir_str_eq(file_extension(path), weir_str_from(cases[_i].extension)),
            cases[_i].why);
    unit_check(weir_str_eq(file_type(path, &map), weir_str_from(cases[_i].type)),
            cases[_i].why);
}
END_TEST

/* A row out of order would not be found. */
START_TEST(finds_every_common_type)
{
    static const char *const names[] = { "a.css", "a.js", "a.mjs", "a.json", "a.svg", "a.png",
        "a.jpg", "a.jpeg", "a.gif", "a.webp", "a.avif", "a.ico", "a.woff", "a.woff2", "a.ttf",
        "a.otf", "a.mp3", "a.mp4", "a.webm", "a.ogg", "a.pdf", "a.zip", "a.gz", "a.wasm",
        "a.xml", "a.txt", "a.md", "a.csv", "a.webmanifest", "a.map", "a.xhtml", "a.atom",
        "a.rss", "a.tar", "a.7z", "a.yml", "a.yaml", "a.m3u8", "a.mpd", "a.vtt", "a.xz" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct weir_str type = file_type(weir_str_from(names[i]), NULL);
        unit_check(!weir_str_eq(type, WEIR_STR("application/octet-stream")), names[i]);
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, knows_types_by_extension, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, finds_every_common_type);
}

UNIT_MAIN("http/file_type", add_tests)
