/* SPDX-License-Identifier: MIT */
/* The module on memory streams and real directories: every row of F56 to F58 and of HTTP.md
 * about files, sent whole, byte by byte, and split in two at every point, and again where the
 * kernel offers less and a pool's thread does the work. */
#include "static.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/num.h"
#include "http/request.h"
#include "support/file_rig.h"
#include "support/unit.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define BIG_BYTES 300000u

static const struct weir_handler *
handler(void)
{
    return &weir_module_v1.handlers.items[0];
}

/* ---- a site ------------------------------------------------------------------------------ */

static char big[BIG_BYTES];

static void
make_site(struct tree *tree)
{
    tree_init(tree);
    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = (char)(' ' + i % 89);
    }
    tree_text(tree, "secret.txt", "secret");
    tree_text(tree, "www-secret/s.txt", "secret");
    tree_text(tree, "www/index.html", "<h1>home</h1>");
    tree_text(tree, "www/a.txt", "hello file");
    tree_text(tree, "www/ten.bin", "0123456789");
    tree_text(tree, "www/empty.txt", "");
    tree_text(tree, "www/sp ace.txt", "space");
    tree_text(tree, "www/\xc3\xa4.txt", "umlaut");
    tree_text(tree, "www/a&b<c>\"d'.txt", "odd");
    tree_text(tree, "www/back\\slash.txt", "odd");
    tree_text(tree, "www/a\xff.txt", "odd");
    tree_text(tree, "www/UPPER.HTML", "upper");
    tree_text(tree, "www/none", "no extension");
    tree_text(tree, "www/page.html", "page");
    tree_text(tree, "www/.hidden", "hidden");
    tree_text(tree, "www/.git/config", "hidden");
    tree_text(tree, "www/.well-known/token", "known");
    tree_text(tree, "www/dir/index.html", "dir index");
    tree_text(tree, "www/dir/x.txt", "x");
    tree_text(tree, "www/d ir/index.html", "odd dir");
    tree_text(tree, "www/bare/one.txt", "one");
    tree_text(tree, "www/bare/a&b<c>\"d'.txt", "odd");
    tree_text(tree, "www/bare/.dot", "dot");
    tree_text(tree, "www/bare/sub/two.txt", "two");
    tree_file(tree, "www/big.bin", big, sizeof(big));
    tree_text(tree, "www/app.js", "original script");
    tree_text(tree, "www/app.js.gz", "GZIPPED");
    tree_text(tree, "www/app.js.br", "BROTLIED!");
    tree_text(tree, "www/old.js", "original old");
    tree_text(tree, "www/old.js.gz", "TOO OLD");
    tree_touch(tree, "www/old.js.gz", TREE_TIME - 1);
    tree_link(tree, "www/link-in", "a.txt");
    tree_link(tree, "www/link-dir", "dir");
    tree_link(tree, "www/link-out", "../secret.txt");
    tree_link(tree, "www/link-out-dir", "../www-secret");
    tree_link(tree, "www/link-up-down", "../www/a.txt");
    tree_link(tree, "www/link-absolute", "/etc/passwd");
    tree_link(tree, "www/link-loop", "link-loop");
    tree_link(tree, "www/dir/link-up", "../a.txt");
    char path[128];
    tree_full(tree, "www/fifo", path, sizeof(path));
    ck_assert_int_eq(mkfifo(path, 0644), 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    tree_full(tree, "www/socket", address.sun_path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

/* ---- configurations ---------------------------------------------------------------------- */

static const struct weir_str index_html[] = { WEIR_STR_INIT("index.html") };
static const struct weir_str try_html[] = { WEIR_STR_INIT("/{path}.html"),
    WEIR_STR_INIT("/none") };
static const int codings[] = { STATIC_BROTLI, STATIC_GZIP };
static const struct weir_map_entry headers[] = {
    { .key = WEIR_STR_INIT("x-own"), .value = WEIR_STR_INIT("yes") },
    { .key = WEIR_STR_INIT("vary"), .value = WEIR_STR_INIT("Cookie") },
};
static const struct weir_map_entry types[] = {
    { .key = WEIR_STR_INIT("bin"), .value = WEIR_STR_INIT("application/x-own") },
};

enum which {
    PLAIN,
    LISTING,
    TRY,
    FALLBACK,
    PRECOMPRESSED,
    STRIP,
    HIDDEN,
    DENY,
    OWN,
};

static struct static_conf
make_conf(enum which which, const struct tree *tree)
{
    static char root[128];
    tree_full(tree, "www", root, sizeof(root));
    struct static_conf conf = {
        .root = weir_str_from(root),
        .index = { index_html, 1 },
        .symlinks = which == DENY ? WEIR_SYMLINKS_DENY : WEIR_SYMLINKS_BENEATH,
        .listing = which == LISTING,
        .hidden = which == HIDDEN,
    };
    if (which == TRY) {
        conf.try_ = (struct weir_list){ try_html, LENGTH(try_html) };
    }
    if (which == FALLBACK) {
        conf.fallback = WEIR_STR("index.html");
    }
    if (which == PRECOMPRESSED) {
        conf.precompressed = (struct weir_list){ codings, LENGTH(codings) };
    }
    if (which == STRIP) {
        conf.strip = WEIR_STR("/assets");
    }
    if (which == OWN) {
        conf.cache_control = WEIR_STR("max-age=60");
        conf.headers = (struct weir_map){ headers, LENGTH(headers) };
        conf.types = (struct weir_map){ types, LENGTH(types) };
    }
    return conf;
}

struct site {
    struct tree tree;
    struct static_conf conf;
    struct file_rig files;
};

static void
site_init(struct site *site, enum which which, int way)
{
    make_site(&site->tree);
    site->conf = make_conf(which, &site->tree);
    ck_assert_int_eq(handler()->conf_open(&site->conf, NULL), 0);
    file_rig_init(&site->files, handler(), &site->conf, way);
}

static void
site_fini(struct site *site)
{
    file_rig_fini(&site->files);
    handler()->conf_close(&site->conf);
    tree_fini(&site->tree);
}

/* ---- rows -------------------------------------------------------------------------------- */

#define CRLF               "\r\n"
#define GET(path)          "GET " path " HTTP/1.1" CRLF "Host: a" CRLF CRLF
#define ASK(m, path)       m " " path " HTTP/1.1" CRLF "Host: a" CRLF CRLF
#define WITH(path, fields) "GET " path " HTTP/1.1" CRLF "Host: a" CRLF fields CRLF CRLF

#define A_ETAG "\"a-a12b974817f0000\"" /* ten bytes of TREE_TIME */
#define A_TIME "Fri, 01 Jan 1993 00:00:00 GMT"
#define NONE   "-" /* the field must be absent */

static const struct row {
    const char *why;
    enum which which;
    const char *request;
    unsigned status;
    const char *body;          /* NULL: any */
    const char *field, *value; /* NULL: not looked at */
} rows[] = {
    /* F57: the ordinary things */
    { "a file", PLAIN, GET("/a.txt"), 200, "hello file", "Content-Type",
            "text/plain; charset=utf-8" },
    { "its length", PLAIN, GET("/a.txt"), 200, NULL, "Content-Length", "10" },
    { "its tag", PLAIN, GET("/a.txt"), 200, NULL, "ETag", A_ETAG },
    { "its time", PLAIN, GET("/a.txt"), 200, NULL, "Last-Modified", A_TIME },
    { "its ranges", PLAIN, GET("/a.txt"), 200, NULL, "Accept-Ranges", "bytes" },
    { "an empty file", PLAIN, GET("/empty.txt"), 200, "", "Content-Length", "0" },
    { "HEAD has GET's length", PLAIN, ASK("HEAD", "/a.txt"), 200, NULL, "Content-Length",
            "10" },
    { "HEAD of a large file", PLAIN, ASK("HEAD", "/big.bin"), 200, NULL, "Content-Length",
            "300000" },
    { "the query does not matter", PLAIN, GET("/a.txt?x=../../etc"), 200, "hello file", NULL,
            NULL },
    { "a space", PLAIN, GET("/sp%20ace.txt"), 200, "space", NULL, NULL },
    { "UTF-8", PLAIN, GET("/%C3%A4.txt"), 200, "umlaut", NULL, NULL },
    { "bytes that are no UTF-8", PLAIN, GET("/a%FF.txt"), 200, "odd", NULL, NULL },
    { "an extension in capitals", PLAIN, GET("/UPPER.HTML"), 200, "upper", "Content-Type",
            "text/html; charset=utf-8" },
    { "no extension", PLAIN, GET("/none"), 200, NULL, "Content-Type",
            "application/octet-stream" },
    { "case matters", PLAIN, GET("/A.TXT"), 404, NULL, NULL, NULL },
    { "nothing there", PLAIN, GET("/absent"), 404, NULL, NULL, NULL },
    { "a slash behind a file", PLAIN, GET("/a.txt/"), 404, NULL, NULL, NULL },
    { "beneath a file", PLAIN, GET("/a.txt/b"), 404, NULL, NULL, NULL },
    { "a name that no file has", PLAIN,
            GET("/"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxx"),
            404, NULL, NULL, NULL },
    { "the next handler is asked", PLAIN, GET("/hello"), 200, "hello", NULL, NULL },
    { "also for a POST", PLAIN, ASK("POST", "/sink"), 200, "0", NULL, NULL },

    /* Methods */
    { "POST to a file is 405", PLAIN, ASK("POST", "/a.txt"), 405, NULL, "Allow",
            "GET, HEAD, OPTIONS" },
    { "PUT", PLAIN, ASK("PUT", "/a.txt"), 405, NULL, "Allow", "GET, HEAD, OPTIONS" },
    { "DELETE a directory", PLAIN, ASK("DELETE", "/dir/"), 405, NULL, "Allow",
            "GET, HEAD, OPTIONS" },
    { "OPTIONS", PLAIN, ASK("OPTIONS", "/a.txt"), 204, NULL, "Allow", "GET, HEAD, OPTIONS" },
    { "POST to nothing is nobody's", PLAIN, ASK("POST", "/absent"), 404, NULL, NULL, NULL },

    /* Directories */
    { "an index", PLAIN, GET("/"), 200, "<h1>home</h1>", "Content-Type",
            "text/html; charset=utf-8" },
    { "an index below", PLAIN, GET("/dir/"), 200, "dir index", NULL, NULL },
    { "no index and no listing", PLAIN, GET("/bare/"), 404, NULL, NULL, NULL },
    { "a directory is redirected to its slash", PLAIN, GET("/dir"), 308, NULL, "Location",
            "/dir/" },
    { "with its query", PLAIN, GET("/dir?a=b"), 308, NULL, "Location", "/dir/?a=b" },
    { "and encoded", PLAIN, GET("/d%20ir"), 308, NULL, "Location", "/d%20ir/" },
    { "never to another host", PLAIN, GET("//dir"), 308, NULL, "Location", "/dir/" },
    { "nor through dots", PLAIN, GET("//evil.example/../dir"), 308, NULL, "Location", "/dir/" },
    { "nor with a line break", PLAIN, GET("/dir%0d%0aX:y"), 404, NULL, NULL, NULL },

    /* Hidden names */
    { "a dot file", PLAIN, GET("/.hidden"), 404, NULL, NULL, NULL },
    { "a dot directory", PLAIN, GET("/.git/config"), 404, NULL, NULL, NULL },
    { "well-known", PLAIN, GET("/.well-known/token"), 200, "known", NULL, NULL },
    { "a dot file when allowed", HIDDEN, GET("/.hidden"), 200, "hidden", NULL, NULL },

    /* F58: never outside the root */
    { "dots", PLAIN, GET("/../secret.txt"), 400, NULL, NULL, NULL },
    { "dots below", PLAIN, GET("/dir/../../secret.txt"), 400, NULL, NULL, NULL },
    { "encoded dots", PLAIN, GET("/%2e%2e/secret.txt"), 400, NULL, NULL, NULL },
    { "half-encoded dots", PLAIN, GET("/.%2e/secret.txt"), 400, NULL, NULL, NULL },
    { "an encoded slash", PLAIN, GET("/..%2fsecret.txt"), 400, NULL, NULL, NULL },
    { "an encoded slash elsewhere", PLAIN, GET("/dir%2fx.txt"), 404, NULL, NULL, NULL },
    { "encoded twice", PLAIN, GET("/%252e%252e/secret.txt"), 404, NULL, NULL, NULL },
    { "NUL", PLAIN, GET("/a.txt%00.html"), 400, NULL, NULL, NULL },
    { "a backslash", PLAIN, GET("/dir%5cx.txt"), 404, NULL, NULL, NULL },
    { "dots with backslashes", PLAIN, GET("/..%5csecret.txt"), 400, NULL, NULL, NULL },
    { "a backslash that is there", PLAIN, GET("/back%5cslash.txt"), 404, NULL, NULL, NULL },
    { "two slashes", PLAIN, GET("//a.txt"), 200, "hello file", NULL, NULL },
    { "dots within", PLAIN, GET("/dir/../a.txt"), 200, "hello file", NULL, NULL },
    { "a root that begins alike", STRIP, GET("/assets-secret/s.txt"), 404, NULL, NULL, NULL },
    { "a link within", PLAIN, GET("/link-in"), 200, "hello file", NULL, NULL },
    { "a link to a directory", PLAIN, GET("/link-dir/x.txt"), 200, "x", NULL, NULL },
    { "a link up within", PLAIN, GET("/dir/link-up"), 200, "hello file", NULL, NULL },
    { "a link out", PLAIN, GET("/link-out"), 404, NULL, NULL, NULL },
    { "a link to a directory out", PLAIN, GET("/link-out-dir/s.txt"), 404, NULL, NULL, NULL },
    { "a link out and in again", PLAIN, GET("/link-up-down"), 404, NULL, NULL, NULL },
    { "an absolute link", PLAIN, GET("/link-absolute"), 404, NULL, NULL, NULL },
    { "a link to itself", PLAIN, GET("/link-loop"), 404, NULL, NULL, NULL },
    { "no links: within", DENY, GET("/link-in"), 404, NULL, NULL, NULL },
    { "no links: on the way", DENY, GET("/link-dir/x.txt"), 404, NULL, NULL, NULL },
    { "no links: files", DENY, GET("/a.txt"), 200, "hello file", NULL, NULL },
    { "a FIFO", PLAIN, GET("/fifo"), 404, NULL, NULL, NULL },
    { "a socket", PLAIN, GET("/socket"), 404, NULL, NULL, NULL },

    /* Conditions: RFC 9110 section 13 */
    { "If-None-Match", PLAIN, WITH("/a.txt", "If-None-Match: " A_ETAG), 304, NULL, "ETag",
            A_ETAG },
    { "a 304 has no Content-Type", PLAIN, WITH("/a.txt", "If-None-Match: " A_ETAG), 304, NULL,
            "Content-Type", NONE },
    { "nor Content-Length", PLAIN, WITH("/a.txt", "If-None-Match: " A_ETAG), 304, NULL,
            "Content-Length", NONE },
    { "weakly", PLAIN, WITH("/a.txt", "If-None-Match: W/" A_ETAG), 304, NULL, NULL, NULL },
    { "in a list", PLAIN, WITH("/a.txt", "If-None-Match: \"x\", " A_ETAG), 304, NULL, NULL,
            NULL },
    { "over two lines", PLAIN,
            WITH("/a.txt", "If-None-Match: \"x\"" CRLF "If-None-Match: " A_ETAG), 304, NULL,
            NULL, NULL },
    { "a star", PLAIN, WITH("/a.txt", "If-None-Match: *"), 304, NULL, NULL, NULL },
    { "another tag", PLAIN, WITH("/a.txt", "If-None-Match: \"x\""), 200, "hello file", NULL,
            NULL },
    { "for HEAD too", PLAIN,
            "HEAD /a.txt HTTP/1.1" CRLF "Host: a" CRLF "If-None-Match: *" CRLF CRLF, 304, NULL,
            NULL, NULL },
    { "If-Modified-Since", PLAIN, WITH("/a.txt", "If-Modified-Since: " A_TIME), 304, NULL, NULL,
            NULL },
    { "modified since", PLAIN,
            WITH("/a.txt", "If-Modified-Since: Thu, 31 Dec 1992 23:59:59 GMT"), 200,
            "hello file", NULL, NULL },
    { "a tag wins over a date", PLAIN,
            WITH("/a.txt", "If-None-Match: \"x\"" CRLF "If-Modified-Since: " A_TIME), 200, NULL,
            NULL, NULL },
    { "no date", PLAIN, WITH("/a.txt", "If-Modified-Since: yesterday"), 200, NULL, NULL, NULL },
    { "If-Match holds", PLAIN, WITH("/a.txt", "If-Match: " A_ETAG), 200, NULL, NULL, NULL },
    { "If-Match fails", PLAIN, WITH("/a.txt", "If-Match: \"x\""), 412, NULL, NULL, NULL },
    { "If-Match is strong", PLAIN, WITH("/a.txt", "If-Match: W/" A_ETAG), 412, NULL, NULL,
            NULL },
    { "If-Unmodified-Since fails", PLAIN,
            WITH("/a.txt", "If-Unmodified-Since: Thu, 31 Dec 1992 23:59:59 GMT"), 412, NULL,
            NULL, NULL },
    { "nothing there is 404 whatever is asked", PLAIN, WITH("/absent", "If-None-Match: *"), 404,
            NULL, NULL, NULL },

    /* Ranges: RFC 9110 section 14 */
    { "a range", PLAIN, WITH("/ten.bin", "Range: bytes=2-4"), 206, "234", "Content-Range",
            "bytes 2-4/10" },
    { "its length", PLAIN, WITH("/ten.bin", "Range: bytes=2-4"), 206, NULL, "Content-Length",
            "3" },
    { "to the end", PLAIN, WITH("/ten.bin", "Range: bytes=7-"), 206, "789", NULL, NULL },
    { "a suffix", PLAIN, WITH("/ten.bin", "Range: bytes=-3"), 206, "789", NULL, NULL },
    { "a suffix longer than the file", PLAIN, WITH("/ten.bin", "Range: bytes=-99"), 206,
            "0123456789", "Content-Range", "bytes 0-9/10" },
    { "past the end", PLAIN, WITH("/ten.bin", "Range: bytes=8-99"), 206, "89", NULL, NULL },
    { "unsatisfiable", PLAIN, WITH("/ten.bin", "Range: bytes=10-"), 416, NULL, "Content-Range",
            "bytes */10" },
    { "malformed", PLAIN, WITH("/ten.bin", "Range: bytes=x"), 200, "0123456789", NULL, NULL },
    { "backwards", PLAIN, WITH("/ten.bin", "Range: bytes=4-2"), 200, "0123456789", NULL, NULL },
    { "another unit", PLAIN, WITH("/ten.bin", "Range: lines=1-2"), 200, "0123456789", NULL,
            NULL },
    { "64 bits and more", PLAIN,
            WITH("/ten.bin", "Range: bytes=18446744073709551616-18446744073709551620"), 416,
            NULL, NULL, NULL },
    { "overlapping ones are joined", PLAIN, WITH("/ten.bin", "Range: bytes=1-3,2-5"), 206,
            "12345", "Content-Range", "bytes 1-5/10" },
    { "of an empty file", PLAIN, WITH("/empty.txt", "Range: bytes=0-"), 416, NULL, NULL, NULL },
    { "too many", PLAIN,
            WITH("/ten.bin",
                    "Range: bytes=0-0,2-2,4-4,6-6,8-8,0-0,2-2,4-4,6-6,8-8,0-0,2-2,"
                    "4-4,6-6,8-8,0-0,2-2,4-4"),
            200, "0123456789", NULL, NULL },
    { "not for HEAD", PLAIN,
            "HEAD /ten.bin HTTP/1.1" CRLF "Host: a" CRLF "Range: bytes=2-4" CRLF CRLF, 200,
            NULL, "Content-Length", "10" },
    { "two Range fields are none", PLAIN,
            WITH("/ten.bin", "Range: bytes=0-1" CRLF "Range: bytes=2-3"), 200, NULL, NULL,
            NULL },
    { "If-Range holds", PLAIN, WITH("/a.txt", "Range: bytes=0-4" CRLF "If-Range: " A_ETAG), 206,
            "hello", NULL, NULL },
    { "If-Range fails", PLAIN, WITH("/a.txt", "Range: bytes=0-4" CRLF "If-Range: \"x\""), 200,
            "hello file", NULL, NULL },
    { "If-Range is strong", PLAIN,
            WITH("/a.txt", "Range: bytes=0-4" CRLF "If-Range: W/" A_ETAG), 200, "hello file",
            NULL, NULL },
    { "If-Range with a date", PLAIN,
            WITH("/a.txt", "Range: bytes=0-4" CRLF "If-Range: " A_TIME), 206, "hello", NULL,
            NULL },
    { "a failing If-Range does not ask for 416", PLAIN,
            WITH("/ten.bin", "Range: bytes=50-" CRLF "If-Range: \"x\""), 200, "0123456789",
            NULL, NULL },
    { "304 comes before the range", PLAIN,
            WITH("/a.txt", "Range: bytes=0-4" CRLF "If-None-Match: " A_ETAG), 304, NULL, NULL,
            NULL },
    { "412 too", PLAIN, WITH("/a.txt", "Range: bytes=99-" CRLF "If-Match: \"x\""), 412, NULL,
            NULL, NULL },
    { "a range of a large file", PLAIN, WITH("/big.bin", "Range: bytes=299998-"), 206, NULL,
            "Content-Range", "bytes 299998-299999/300000" },

    /* F56: precompressed */
    { "accepted", PRECOMPRESSED, WITH("/app.js", "Accept-Encoding: gzip"), 200, "GZIPPED",
            "Content-Encoding", "gzip" },
    { "the type is the original's", PRECOMPRESSED, WITH("/app.js", "Accept-Encoding: gzip"),
            200, NULL, "Content-Type", "text/javascript; charset=utf-8" },
    { "the tag is its own", PRECOMPRESSED, WITH("/app.js", "Accept-Encoding: gzip"), 200, NULL,
            "ETag", "\"7-a12b974817f0000-gz\"" },
    { "the configuration's order among equals", PRECOMPRESSED,
            WITH("/app.js", "Accept-Encoding: gzip, br"), 200, "BROTLIED!", "Content-Encoding",
            "br" },
    { "the client's weights", PRECOMPRESSED,
            WITH("/app.js", "Accept-Encoding: br;q=0.5, gzip;q=0.9"), 200, "GZIPPED", NULL,
            NULL },
    { "over two lines", PRECOMPRESSED,
            WITH("/app.js", "Accept-Encoding: deflate" CRLF "Accept-Encoding: gzip"), 200,
            "GZIPPED", NULL, NULL },
    { "refused", PRECOMPRESSED, WITH("/app.js", "Accept-Encoding: gzip;q=0"), 200,
            "original script", "Content-Encoding", NONE },
    { "not accepted, and it varies all the same", PRECOMPRESSED, GET("/app.js"), 200,
            "original script", "Vary", "Accept-Encoding" },
    { "the file as it is is wanted more", PRECOMPRESSED,
            WITH("/app.js", "Accept-Encoding: gzip;q=0.3, identity;q=0.5"), 200,
            "original script", "Content-Encoding", NONE },
    { "and less", PRECOMPRESSED,
            WITH("/app.js", "Accept-Encoding: identity;q=0.3, gzip;q=0.5, br;q=0.2"), 200,
            "GZIPPED", NULL, NULL },
    { "older than the original", PRECOMPRESSED, WITH("/old.js", "Accept-Encoding: gzip"), 200,
            "original old", "Vary", NONE },
    { "none there", PRECOMPRESSED, WITH("/a.txt", "Accept-Encoding: gzip"), 200, "hello file",
            "Vary", NONE },
    { "for itself", PRECOMPRESSED, GET("/app.js.gz"), 200, "GZIPPED", "Content-Type",
            "application/gzip" },
    { "its conditions", PRECOMPRESSED,
            WITH("/app.js",
                    "Accept-Encoding: gzip" CRLF "If-None-Match: \"7-a12b974817f0000-gz\""),
            304, NULL, "Vary", "Accept-Encoding" },
    { "ranges are of what is sent", PRECOMPRESSED,
            WITH("/app.js", "Accept-Encoding: gzip" CRLF "Range: bytes=0-2"), 206, "GZI",
            "Content-Encoding", "gzip" },

    /* strip, try, fallback, own fields */
    { "stripped", STRIP, GET("/assets/a.txt"), 200, "hello file", NULL, NULL },
    { "stripped to nothing", STRIP, GET("/assets"), 308, NULL, "Location", "/assets/" },
    { "stripped to the root", STRIP, GET("/assets/"), 200, "<h1>home</h1>", NULL, NULL },
    { "not the prefix", STRIP, GET("/a.txt"), 404, NULL, NULL, NULL },
    { "try: the own path first", TRY, GET("/a.txt"), 200, "hello file", NULL, NULL },
    { "try: with an extension", TRY, GET("/page"), 200, "page", NULL, NULL },
    { "try: a slash is no part of the name", TRY, GET("/page/"), 200, "page", NULL, NULL },
    { "try: the next", TRY, GET("/absent"), 200, "no extension", NULL, NULL },
    { "fallback for a page", FALLBACK, WITH("/some/page", "Accept: text/html"), 200,
            "<h1>home</h1>", "Cache-Control", "no-cache" },
    { "fallback for a browser's list", FALLBACK,
            WITH("/some/page", "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), 200,
            "<h1>home</h1>", NULL, NULL },
    { "no fallback for a script", FALLBACK, WITH("/app2.js", "Accept: text/html"), 404, NULL,
            NULL, NULL },
    { "fallback for who takes anything", FALLBACK, WITH("/some/page", "Accept: */*"), 200,
            "<h1>home</h1>", NULL, NULL },
    { "or any text", FALLBACK, WITH("/some/page", "Accept: application/json, text/*;q=0.1"),
            200, "<h1>home</h1>", NULL, NULL },
    { "or does not say", FALLBACK, GET("/some/page"), 200, "<h1>home</h1>", NULL, NULL },
    { "whatever the order", FALLBACK, WITH("/some/page", "Accept: */*, text/html;q=0"), 404,
            NULL, NULL, NULL },
    { "over two lines", FALLBACK, WITH("/some/page", "Accept: */*\r\nAccept: text/*;q=0"), 404,
            NULL, NULL, NULL },
    { "nor where nothing is accepted", FALLBACK, WITH("/some/page", "Accept: "), 404, NULL,
            NULL, NULL },
    { "no fallback for what wants no page", FALLBACK,
            WITH("/some/page", "Accept: application/json"), 404, NULL, NULL, NULL },
    { "no fallback for who refuses pages", FALLBACK,
            WITH("/some/page", "Accept: text/html;q=0, */*"), 404, NULL, NULL, NULL },
    { "no fallback for POST", FALLBACK,
            "POST /some/page HTTP/1.1" CRLF "Host: a" CRLF "Accept: text/html" CRLF CRLF, 404,
            NULL, NULL, NULL },
    { "Cache-Control", OWN, GET("/a.txt"), 200, NULL, "Cache-Control", "max-age=60" },
    { "own fields", OWN, GET("/a.txt"), 200, NULL, "X-Own", "yes" },
    { "on a 304 too", OWN, WITH("/a.txt", "If-None-Match: *"), 304, NULL, "X-Own", "yes" },
    { "not on a 404", OWN, GET("/absent"), 404, NULL, "X-Own", NONE },
    { "own types", OWN, GET("/ten.bin"), 200, NULL, "Content-Type", "application/x-own" },

    /* Listings */
    { "an index is no listing", LISTING, GET("/dir/"), 200, "dir index", NULL, NULL },
    { "a listing", LISTING, GET("/bare/"), 200, NULL, "Content-Type",
            "text/html; charset=utf-8" },
    { "POST to it", LISTING, ASK("POST", "/bare/"), 405, NULL, NULL, NULL },
    { "the next handler comes first to nothing", LISTING, GET("/absent/"), 404, NULL, NULL,
            NULL },
};

static void
check_row(struct site *site, const struct row *row, size_t split)
{
    struct rig_answer answer = file_rig_ask(&site->files, row->request, split);
    ck_assert_msg(answer.status == row->status, "%s (split %zu): %u", row->why, split,
            answer.status);
    ck_assert_msg(answer.is_complete, "%s (split %zu): incomplete", row->why, split);
    if (row->body != NULL) {
        ck_assert_msg(weir_str_eq(answer.body, weir_str_from(row->body)),
                "%s (split %zu): %.*s", row->why, split, WEIR_STR_ARG(answer.body));
    }
    if (row->field != NULL) {
        struct weir_str value = rig_field(answer.head, row->field);
        bool is_absent = strcmp(row->value, NONE) == 0;
        ck_assert_msg(is_absent ? value.ptr == NULL
                                : weir_str_eq(value, weir_str_from(row->value)),
                "%s (split %zu): %s: %.*s", row->why, split, row->field, WEIR_STR_ARG(value));
    }
}

START_TEST(answers_files_however_the_bytes_are_cut)
{
    const struct row *row = &rows[_i];
    struct site site;
    site_init(&site, row->which, 0);
    size_t len = strlen(row->request);
    for (size_t split = 0; split < len; split++) {
        check_row(&site, row, split);
    }
    check_row(&site, row, SIZE_MAX);
    site_fini(&site);
}
END_TEST

/* Where everything is done by a pool's thread. */
START_TEST(answers_the_same_with_an_older_kernel)
{
    const struct row *row = &rows[_i];
    struct site site;
    site_init(&site, row->which, FILE_WAY_OPENAT2);
    check_row(&site, row, 0);
    check_row(&site, row, SIZE_MAX);
    site_fini(&site);
}
END_TEST

/* The walk follows no link at all; all else is the same. */
START_TEST(answers_the_same_without_openat2)
{
    const struct row *row = &rows[_i];
    struct site site;
    site_init(&site, row->which, FILE_WAY_WALK);
    if (strstr(row->request, "/link-") != NULL) {
        struct row refused = { row->why, row->which, row->request, 404, NULL, NULL, NULL };
        check_row(&site, &refused, 0);
    } else {
        check_row(&site, row, 0);
        check_row(&site, row, SIZE_MAX);
    }
    site_fini(&site);
}
END_TEST

/* ---- several parts ----------------------------------------------------------------------- */

static void
check_parts(struct site *site, const char *request, size_t split)
{
    struct rig_answer answer = file_rig_ask(&site->files, request, split);
    ck_assert_uint_eq(answer.status, 206);
    struct weir_str type = rig_field(answer.head, "content-type");
    static const char *const prefix = "multipart/byteranges; boundary=";
    ck_assert(weir_str_starts_with(type, weir_str_from(prefix)));
    int len = (int)(type.len - strlen(prefix));
    const char *boundary = type.ptr + strlen(prefix);
    char want[1024];
    snprintf(want, sizeof(want),
            "--%.*s\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes "
            "0-1/10\r\n\r\n01\r\n--%.*s\r\nContent-Type: application/octet-stream\r\n"
            "Content-Range: bytes 4-5/10\r\n\r\n45\r\n--%.*s\r\nContent-Type: "
            "application/octet-stream\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--%.*s--\r\n",
            len, boundary, len, boundary, len, boundary, len, boundary);
    ck_assert_msg(weir_str_eq(answer.body, weir_str_from(want)), "%.*s",
            WEIR_STR_ARG(answer.body));
    ck_assert(rig_field(answer.head, "content-range").ptr == NULL);
}

START_TEST(sends_several_ranges_as_parts)
{
    static const char request[] = WITH("/ten.bin", "Range: bytes=0-1,4-5,-1");
    struct site site;
    site_init(&site, PLAIN, 0);
    for (size_t split = 0; split < strlen(request); split++) {
        check_parts(&site, request, split);
    }
    check_parts(&site, request, SIZE_MAX);
    struct rig_answer answer = file_rig_ask(&site.files,
            WITH("/big.bin", "Range: bytes=100-199,70000-299999"), 0);
    ck_assert_uint_eq(answer.status, 206);
    ck_assert(answer.is_complete);
    ck_assert_ptr_nonnull(memmem(answer.body.ptr, answer.body.len, big + 100, 100));
    ck_assert_ptr_nonnull(memmem(answer.body.ptr, answer.body.len, big + 70000, 230000));
    site_fini(&site);
}
END_TEST

START_TEST(sends_offsets_over_4_gib)
{
    struct site site;
    site_init(&site, PLAIN, 0);
    char path[128];
    tree_full(&site.tree, "www/huge.bin", path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(pwrite(fd, "needle", 6, INT64_C(5000000000)), 6);
    close(fd);
    tree_touch(&site.tree, "www/huge.bin", TREE_TIME);
    struct rig_answer answer = file_rig_ask(&site.files,
            WITH("/huge.bin", "Range: bytes=5000000000-5000000005"), 0);
    ck_assert_uint_eq(answer.status, 206);
    ck_assert(weir_str_eq(answer.body, WEIR_STR("needle")));
    ck_assert(weir_str_eq(rig_field(answer.head, "content-range"),
            WEIR_STR("bytes 5000000000-5000000005/5000000006")));
    answer = file_rig_ask(&site.files, ASK("HEAD", "/huge.bin"), 0);
    ck_assert(weir_str_eq(rig_field(answer.head, "content-length"), WEIR_STR("5000000006")));
    site_fini(&site);
}
END_TEST

/* ---- listings ---------------------------------------------------------------------------- */

START_TEST(lists_names_escaped)
{
    struct site site;
    site_init(&site, LISTING, 0);
    struct rig_answer answer = file_rig_ask(&site.files, GET("/bare/"), 0);
    ck_assert_uint_eq(answer.status, 200);
    struct weir_str body = answer.body;
#define HAS(text) (memmem(body.ptr, body.len, text, strlen(text)) != NULL)
    ck_assert(HAS(
            "<a href=\"./a&amp;b%3Cc%3E%22d&#39;.txt\">a&amp;b&lt;c&gt;&quot;d&#39;.txt</a>"));
    ck_assert(!HAS("<c>"));
    ck_assert(HAS("href=\"./sub/\""));
    ck_assert(HAS("href=\"../\""));
    ck_assert(HAS("<td>3<td>1993-01-01 00:00"));
    ck_assert(!HAS(".dot"));
    answer = file_rig_ask(&site.files, ASK("HEAD", "/bare/"), 0);
    ck_assert_uint_eq(answer.status, 200);
    site_fini(&site);
}
END_TEST

START_TEST(lists_many_names_to_slow_readers)
{
    struct site site;
    site_init(&site, LISTING, 0);
    for (int i = 0; i < 3000; i++) {
        char name[300];
        snprintf(name, sizeof(name), "www/many/%0200d", i);
        tree_text(&site.tree, name, "");
    }
    struct file_rig *files = &site.files;
    rig_connect(&files->rig);
    files->rig.stream.allowed_bytes = 100;
    file_rig_send(files, WEIR_STR(GET("/many/")));
    while (!files->rig.stream.is_closed && files->rig.stream.was_blocked) {
        memory_stream_allow(&files->rig.stream, 50000);
        file_rig_settle(files);
    }
    struct weir_str rest = rig_received(&files->rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    ck_assert(answer.is_complete);
    for (int i = 0; i < 3000; i += 500) {
        char name[300];
        snprintf(name, sizeof(name), ">%0200d</a>", i);
        ck_assert_ptr_nonnull(memmem(answer.body.ptr, answer.body.len, name, strlen(name)));
    }
    site_fini(&site);
}
END_TEST

/* ---- files that change ------------------------------------------------------------------- */

START_TEST(sees_a_changed_file_within_a_second)
{
    struct site site;
    site_init(&site, PLAIN, _i);
    struct rig_answer answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert(weir_str_eq(answer.body, WEIR_STR("hello file")));
    tree_text(&site.tree, "www/new", "other file");
    tree_touch(&site.tree, "www/new", TREE_TIME + 5);
    char from[128], to[128];
    tree_full(&site.tree, "www/new", from, sizeof(from));
    tree_full(&site.tree, "www/a.txt", to, sizeof(to));
    ck_assert_int_eq(rename(from, to), 0);
    answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert_msg(weir_str_eq(answer.body, WEIR_STR("hello file")), "looked at too early");
    rig_pass(&site.files.rig, 1.1);
    answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert(weir_str_eq(answer.body, WEIR_STR("other file")));
    ck_assert_int_eq(unlink(to), 0);
    rig_pass(&site.files.rig, 1.1);
    answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert_uint_eq(answer.status, 404);
    tree_text(&site.tree, "www/a.txt", "back again");
    rig_pass(&site.files.rig, 1.1);
    answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert(weir_str_eq(answer.body, WEIR_STR("back again")));
    site_fini(&site);
}
END_TEST

START_TEST(says_weakly_what_may_still_change)
{
    struct site site;
    site_init(&site, PLAIN, 0);
    /* Written in the second of the answer, by the rig's clock. */
    tree_touch(&site.tree, "www/a.txt", 784111777);
    struct rig_answer answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert(weir_str_starts_with(rig_field(answer.head, "etag"), WEIR_STR("W/")));
    /* A change that its time does not show is seen all the same. */
    char path[128];
    tree_full(&site.tree, "www/a.txt", path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "HELLO", 5, 0), 5);
    close(fd);
    tree_touch(&site.tree, "www/a.txt", 784111777);
    rig_pass(&site.files.rig, 4);
    answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert(weir_str_eq(answer.body, WEIR_STR("HELLO file")));
    ck_assert(!weir_str_starts_with(rig_field(answer.head, "etag"), WEIR_STR("W/")));
    site_fini(&site);
}
END_TEST

/* A file whose time lies ahead is not said to be from the future (RFC 9110 8.8.2.1). */
START_TEST(never_says_a_time_after_the_date)
{
    struct site site;
    site_init(&site, PLAIN, 0);
    tree_touch(&site.tree, "www/a.txt", 2000000000);
    struct rig_answer answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert(weir_str_eq(rig_field(answer.head, "last-modified"),
            rig_field(answer.head, "date")));
    site_fini(&site);
}
END_TEST

enum change {
    CUT,
    REWRITTEN,
    REPLACED,
    REMOVED
};

static const struct {
    const char *why;
    enum change change;
    bool is_whole;
} changes[] = {
    { "cut short", CUT, false },
    { "written over in place", REWRITTEN, false },
    { "replaced: the old one goes on", REPLACED, true },
    { "removed: it goes on", REMOVED, true },
};

START_TEST(never_mixes_the_states_of_a_file)
{
    struct site site;
    site_init(&site, PLAIN, 0);
    struct file_rig *files = &site.files;
    rig_connect(&files->rig);
    files->rig.stream.allowed_bytes = 1000;
    file_rig_send(files, WEIR_STR(GET("/big.bin")));
    char path[128], other[128];
    tree_full(&site.tree, "www/big.bin", path, sizeof(path));
    tree_full(&site.tree, "www/new", other, sizeof(other));
    switch (changes[_i].change) {
    case CUT:
        ck_assert_int_eq(truncate(path, 500), 0);
        break;
    case REWRITTEN: {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        ck_assert_int_eq(pwrite(fd, "xxxx", 4, 200000), 4);
        close(fd);
        break;
    }
    case REPLACED:
        tree_text(&site.tree, "www/new", "new");
        ck_assert_int_eq(rename(other, path), 0);
        break;
    case REMOVED:
        ck_assert_int_eq(unlink(path), 0);
        break;
    }
    rig_pass(&files->rig, 2);
    memory_stream_allow(&files->rig.stream, UINT64_MAX);
    file_rig_settle(files);
    struct weir_str rest = rig_received(&files->rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    ck_assert_uint_eq(answer.status, 200);
    unit_check(answer.is_complete == changes[_i].is_whole, changes[_i].why);
    unit_check(memcmp(answer.body.ptr, big, answer.body.len) == 0, changes[_i].why);
    unit_check(files->rig.stream.is_closed != changes[_i].is_whole, changes[_i].why);
    site_fini(&site);
}
END_TEST

/* Large enough to be sent from disk, small enough to be in memory too. */
START_TEST(sends_parts_of_a_middling_file_from_memory)
{
    enum {
        BYTES = FILE_OPEN_MIN_BYTES + 1000
    };
    struct site site;
    site_init(&site, PLAIN, 0);
    struct file_rig *files = &site.files;
    tree_file(&site.tree, "www/mid.bin", big, BYTES);
    struct rig_answer answer = file_rig_ask(files, GET("/mid.bin"), 0);
    ck_assert(weir_str_eq(answer.body, weir_str_make(big, BYTES)));
    ck_assert_uint_eq(files->cache->descriptors, 1);

    char path[128];
    tree_full(&site.tree, "www/mid.bin", path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "xxxx", 4, 100), 4);
    close(fd);
    answer = file_rig_ask(files, WITH("/mid.bin", "Range: bytes=98-107"), 0);
    ck_assert_uint_eq(answer.status, 206);
    ck_assert_msg(weir_str_eq(answer.body, weir_str_make(big + 98, 10)), "of its own state");
    answer = file_rig_ask(files, GET("/mid.bin"), 0);
    ck_assert_msg(!answer.is_complete && answer.body.len == 0, "the disk's is another state");
    rig_pass(&files->rig, 1.1);
    answer = file_rig_ask(files, WITH("/mid.bin", "Range: bytes=98-107"), 0);
    ck_assert(weir_str_eq(weir_str_make(answer.body.ptr + 2, 4), WEIR_STR("xxxx")));
    site_fini(&site);
}
END_TEST

START_TEST(follows_a_root_that_is_switched)
{
    struct site site;
    make_site(&site.tree);
    tree_text(&site.tree, "releases/1/v.txt", "one");
    tree_text(&site.tree, "releases/2/v.txt", "two");
    tree_link(&site.tree, "current", "releases/1");
    char root[128], next[128];
    tree_full(&site.tree, "current", root, sizeof(root));
    tree_full(&site.tree, "next", next, sizeof(next));
    site.conf = make_conf(PLAIN, &site.tree);
    site.conf.root = weir_str_from(root);
    ck_assert_int_eq(handler()->conf_open(&site.conf, NULL), 0);
    file_rig_init(&site.files, handler(), &site.conf, _i);
    struct rig_answer answer = file_rig_ask(&site.files, GET("/v.txt"), 0);
    ck_assert(weir_str_eq(answer.body, WEIR_STR("one")));
    tree_link(&site.tree, "next", "releases/2");
    ck_assert_int_eq(rename(next, root), 0);
    rig_pass(&site.files.rig, 1.1);
    /* With an older kernel a thread looks, and the request after its answer sees it. */
    file_rig_ask(&site.files, GET("/v.txt"), 0);
    answer = file_rig_ask(&site.files, GET("/v.txt"), 0);
    ck_assert_msg(weir_str_eq(answer.body, WEIR_STR("two")), "%.*s", WEIR_STR_ARG(answer.body));
    site_fini(&site);
}
END_TEST

START_TEST(says_403_for_a_file_it_may_not_read)
{
    struct site site;
    site_init(&site, PLAIN, _i);
    char path[128];
    tree_full(&site.tree, "www/a.txt", path, sizeof(path));
    ck_assert_int_eq(chmod(path, 0), 0);
    uid_t before = geteuid();
    ck_assert(before != 0 || seteuid(65534) == 0);
    struct rig_answer answer = file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert_uint_eq(answer.status, 403);
    ck_assert(before != 0 || seteuid(0) == 0);
    site_fini(&site);
}
END_TEST

/* ---- costs and bounds -------------------------------------------------------------------- */

START_TEST(allocates_nothing_for_a_file_it_has)
{
    struct site site;
    site_init(&site, PLAIN, 0);
    struct file_rig *files = &site.files;
    rig_connect(&files->rig);
    for (int i = 0; i < 10; i++) {
        rig_send(&files->rig, WEIR_STR(GET("/a.txt")));
    }
    char *spare = malloc(1 << 16); /* the test's own buffers have grown */
    free(spare);
    uint64_t before = failalloc_count();
    uint64_t misses = files->cache->figures.misses;
    for (int i = 0; i < 5; i++) {
        memory_stream_send(&files->rig.stream, WEIR_STR(GET("/a.txt")));
        for (int turn = 0; turn < 4; turn++) {
            loop_turn(files->rig.loop, false);
        }
    }
    /* What the peer's side of the memory stream takes is the test's. */
    ck_assert_uint_le(failalloc_count() - before, 2);
    ck_assert_uint_eq(files->cache->figures.misses, misses);
    site_fini(&site);
}
END_TEST

START_TEST(keeps_within_its_bounds)
{
    struct site site;
    site_init(&site, PLAIN, 0);
    struct file_cache *cache = site.files.cache;
    cache->settings.entries_max = 20;
    cache->settings.bytes_max = 64000;
    cache->settings.descriptors_max = 3;
    static char block[5000];
    for (int i = 0; i < 60; i++) {
        char name[64], request[128];
        snprintf(name, sizeof(name), "www/f%d.bin", i);
        if (i % 4 == 0) {
            tree_file(&site.tree, name, big, sizeof(big));
        } else {
            tree_file(&site.tree, name, block, sizeof(block));
        }
        snprintf(request, sizeof(request), GET("/f%d.bin"), i);
        struct rig_answer answer = file_rig_ask(&site.files, request, 0);
        ck_assert_uint_eq(answer.status, 200);
        ck_assert(answer.is_complete);
        ck_assert_uint_le(cache->entries.count, 20);
        ck_assert_uint_le(cache->bytes, 64000);
        ck_assert_uint_le(cache->descriptors, 3);
        file_rig_ask(&site.files, GET("/a.txt"), 0);
    }
    ck_assert_uint_gt(cache->figures.evicted, 0);
    uint64_t misses = cache->figures.misses;
    file_rig_ask(&site.files, GET("/a.txt"), 0);
    ck_assert_msg(cache->figures.misses == misses, "what is asked for stays");
    cache->settings.entries_max = 0;
    struct rig_answer answer = file_rig_ask(&site.files, GET("/ten.bin"), 0);
    ck_assert_msg(weir_str_eq(answer.body, WEIR_STR("0123456789")), "with no room at all");
    site_fini(&site);
}
END_TEST

START_TEST(asks_a_thread_once_for_many_that_wait)
{
    struct site site;
    site_init(&site, PLAIN, FILE_WAY_OPENAT2);
    struct file_rig *files = &site.files;
    rig_connect(&files->rig);
    file_rig_send(files, WEIR_STR(GET("/a.txt") GET("/ten.bin")));
    uint64_t fetches = files->cache->figures.fetches;
    rig_pass(&files->rig, 1.1);
    /* Two connections would do as well; pipelined ones are answered in order. */
    file_rig_send(files, WEIR_STR(GET("/a.txt") GET("/a.txt") GET("/a.txt")));
    ck_assert_uint_le(files->cache->figures.fetches - fetches, 2);
    struct weir_str rest = rig_received(&files->rig);
    struct rig_answer answer;
    for (int i = 0; i < 5; i++) {
        ck_assert(rig_next_answer(&rest, false, &answer));
        ck_assert_uint_eq(answer.status, 200);
    }
    site_fini(&site);
}
END_TEST

START_TEST(forgets_clients_that_leave_while_a_thread_reads)
{
    struct site site;
    site_init(&site, LISTING, FILE_WAY_OPENAT2);
    struct file_rig *files = &site.files;
    for (int i = 0; i < 20; i++) {
        rig_connect(&files->rig);
        rig_send(&files->rig, i % 2 == 0 ? WEIR_STR(GET("/a.txt")) : WEIR_STR(GET("/bare/")));
        memory_stream_reset(&files->rig.stream);
        rig_settle(&files->rig);
        ck_assert(files->rig.stream.is_closed);
        if (i % 5 == 4) {
            rig_pass(&files->rig, 1.1);
        }
    }
    site_fini(&site);
}
END_TEST

static sem_t held;

static void
run_held(struct pool_task *task, void *thread_state)
{
    (void)task;
    (void)thread_state;
    while (sem_wait(&held) == -1) {
    }
}

static void
forget_held(struct pool_task *task, enum pool_outcome outcome)
{
    (void)task;
    (void)outcome;
}

/* A disk that does not answer: no request waits for it for ever. */
START_TEST(answers_503_when_no_thread_looks_in_time)
{
    struct site site;
    site_init(&site, _i == 0 ? PLAIN : LISTING, FILE_WAY_OPENAT2);
    struct file_rig *files = &site.files;
    ck_assert_int_eq(sem_init(&held, 0, 0), 0);
    struct pool_task tasks[16];
    memset(tasks, 0, sizeof(tasks));
    for (int i = 0; i < 16; i++) {
        tasks[i].run = run_held;
        tasks[i].done = forget_held;
        tasks[i].reply_to = files->mailbox;
        pool_submit(files->pool, &tasks[i]);
    }
    files->rig.settings.timeouts.wait_ns = 2 * NS_PER_S;
    rig_connect(&files->rig);
    rig_send(&files->rig, _i == 0 ? WEIR_STR(GET("/a.txt")) : WEIR_STR(GET("/bare/")));
    rig_pass(&files->rig, 1.8);
    ck_assert_uint_eq(rig_received(&files->rig).len, 0);
    rig_pass(&files->rig, 0.4);
    struct weir_str rest = rig_received(&files->rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    ck_assert_uint_eq(answer.status, 503);
    for (int i = 0; i < 16; i++) {
        sem_post(&held);
    }
    file_rig_settle(files);
    site_fini(&site);
}
END_TEST

START_TEST(copes_without_memory)
{
    struct site site;
    make_site(&site.tree);
    static const char *const requests[] = {
        GET("/a.txt"),
        GET("/bare/"),
        WITH("/ten.bin", "Range: bytes=0-1,4-5"),
        WITH("/a.txt", "If-None-Match: \"x\"" CRLF "If-None-Match: \"y\""),
        GET("/big.bin"),
    };
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        site.conf = make_conf(LISTING, &site.tree);
        ck_assert_int_eq(handler()->conf_open(&site.conf, NULL), 0);
        file_rig_init(&site.files, handler(), &site.conf, 0);
        rig_connect(&site.files.rig);
        memory_stream_send(&site.files.rig.stream, weir_str_from(requests[_i]));
        failalloc_fail_nth(nth);
        file_rig_settle(&site.files);
        has_failed = failalloc_has_failed();
        failalloc_fail_nth(0);
        file_rig_fini(&site.files);
        handler()->conf_close(&site.conf);
        ck_assert_uint_lt(nth, 10000);
    }
    tree_fini(&site.tree);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_set_timeout(tests, unit_slow(120));
    tcase_add_loop_test(tests, answers_files_however_the_bytes_are_cut, 0, LENGTH(rows));
    tcase_add_loop_test(tests, answers_the_same_with_an_older_kernel, 0, LENGTH(rows));
    tcase_add_loop_test(tests, answers_the_same_without_openat2, 0, LENGTH(rows));
    tcase_add_test(tests, sends_several_ranges_as_parts);
    tcase_add_test(tests, sends_offsets_over_4_gib);
    tcase_add_test(tests, lists_names_escaped);
    tcase_add_test(tests, lists_many_names_to_slow_readers);
    tcase_add_loop_test(tests, sees_a_changed_file_within_a_second, FILE_WAY_WALK,
            FILE_WAY_CACHED + 1);
    tcase_add_test(tests, says_weakly_what_may_still_change);
    tcase_add_test(tests, never_says_a_time_after_the_date);
    tcase_add_loop_test(tests, never_mixes_the_states_of_a_file, 0, LENGTH(changes));
    tcase_add_test(tests, sends_parts_of_a_middling_file_from_memory);
    tcase_add_loop_test(tests, follows_a_root_that_is_switched, FILE_WAY_WALK,
            FILE_WAY_CACHED + 1);
    tcase_add_loop_test(tests, says_403_for_a_file_it_may_not_read, FILE_WAY_WALK,
            FILE_WAY_CACHED + 1);
    tcase_add_test(tests, allocates_nothing_for_a_file_it_has);
    tcase_add_test(tests, keeps_within_its_bounds);
    tcase_add_test(tests, asks_a_thread_once_for_many_that_wait);
    tcase_add_loop_test(tests, answers_503_when_no_thread_looks_in_time, 0, 2);
    tcase_add_test(tests, forgets_clients_that_leave_while_a_thread_reads);
    tcase_add_loop_test(tests, copes_without_memory, 0, 5);
}

UNIT_MAIN("modules/static", add_tests)
