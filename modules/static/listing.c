/* SPDX-License-Identifier: MIT */
/* A directory as a page. Names are anybody's bytes: percent-encoded in links, with references
 * for the characters of markup in text. Written in pieces, as the client takes them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "static.h"

#define NAME_MAX_BYTES 255u

/* One entry at its longest: the name encoded, and escaped, and what stands around. */
#define ROW_BYTES   (3 * NAME_MAX_BYTES + 6 * NAME_MAX_BYTES + 256)
#define PIECE_BYTES 16384u

struct text {
    char bytes[PIECE_BYTES];
    size_t len;
};

static void
put(struct text *text, const char *s)
{
    size_t len = strlen(s);
    memcpy(text->bytes + text->len, s, len);
    text->len += len;
}

/* Also for attribute values in double quotes. */
static void
put_escaped(struct text *text, struct weir_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            put(text, "&amp;");
            break;
        case '<':
            put(text, "&lt;");
            break;
        case '>':
            put(text, "&gt;");
            break;
        case '"':
            put(text, "&quot;");
            break;
        case '\'':
            put(text, "&#39;");
            break;
        default: {
            unsigned char c = (unsigned char)s.ptr[i];
            text->bytes[text->len++] = c < 0x20 || c == 0x7f ? '?' : s.ptr[i];
        }
        }
    }
}

static void
put_row(struct text *text, const struct weir_listing_entry *entry)
{
    bool is_directory = entry->kind == WEIR_FILE_DIRECTORY;
    const char *slash = is_directory ? "/" : "";
    put(text, "<tr><td><a href=\"./"); /* so that a name with a colon is no scheme */
    char link[3 * NAME_MAX_BYTES];
    size_t len = weir_path_encode(link, entry->name);
    put_escaped(text, weir_str_make(link, len));
    put(text, slash);
    put(text, "\">");
    put_escaped(text, entry->name);
    put(text, slash);
    char rest[128];
    struct tm tm;
    time_t seconds = (time_t)entry->modified_s;
    char size[24] = "";
    if (!is_directory) {
        snprintf(size, sizeof(size), "%llu", (unsigned long long)entry->size);
    }
    if (gmtime_r(&seconds, &tm) == NULL) {
        memset(&tm, 0, sizeof(tm));
    }
    snprintf(rest, sizeof(rest), "</a><td>%s<td>%04d-%02d-%02d %02d:%02d\n", size,
            tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
    put(text, rest);
}

#define STYLE                                                                                \
    "<style>body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;"       \
    "padding:0 1rem;color:#234}h1{font-size:1.4rem}table{border-collapse:collapse;"          \
    "width:100%}td{padding:.2rem .6rem;border-top:1px solid #dde}td+td{text-align:right;"    \
    "white-space:nowrap}a{color:#06c;text-decoration:none}a:hover{text-decoration:underline" \
    "}</style>"

/* The page's start, for a path of any length; NULL without memory. */
static struct text *
begin_page(struct weir_request *request, struct weir_str path)
{
    /* A path is at most as long as a request line, escaped twice; what does not fit is cut. */
    struct text *text = weir_request_alloc(request, sizeof(*text));
    if (text == NULL) {
        return NULL;
    }
    text->len = 0;
    size_t max = (PIECE_BYTES - 2048) / 12;
    path.len = path.len < max ? path.len : max;
    put(text,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
            "name=\"viewport\" content=\"width=device-width\"><title>");
    put_escaped(text, path);
    put(text, "</title>" STYLE "</head>\n<body><h1>");
    put_escaped(text, path);
    put(text, "</h1>\n<table>\n");
    if (path.len > 1) {
        put(text, "<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    return text;
}

static bool
is_listed(const struct static_conf *conf, const struct weir_listing_entry *entry)
{
    return (entry->kind == WEIR_FILE_REGULAR || entry->kind == WEIR_FILE_DIRECTORY) &&
            entry->name.len <= NAME_MAX_BYTES && (conf->hidden || entry->name.ptr[0] != '.');
}

/* Rows from entry `at` on, as many as fit. Returns the first that did not. */
static uint32_t
put_rows(struct text *text, const struct static_conf *conf, const struct weir_listing *listing,
        uint32_t at)
{
    uint32_t count = weir_listing_count(listing);
    while (at < count && text->len + ROW_BYTES <= PIECE_BYTES) {
        const struct weir_listing_entry *entry = weir_listing_at(listing, at++);
        if (is_listed(conf, entry)) {
            put_row(text, entry);
        }
    }
    if (at == count && text->len + 256 <= PIECE_BYTES) {
        if (weir_listing_is_cut(listing)) {
            put(text, "<tr><td>More than can be shown.<td><td>\n");
        }
        put(text, "</table></body></html>\n");
        at = count + 1; /* the end is written too */
    }
    return at;
}

static enum weir_verdict
begin(struct weir_request *request, const struct static_conf *conf)
{
    if (weir_reply_begin(request, 200) < 0 ||
            weir_reply_set(request, WEIR_STR("Content-Type"),
                    WEIR_STR("text/html; charset=utf-8")) < 0) {
        return WEIR_FAILED;
    }
    if (conf->cache_control.len > 0 &&
            weir_reply_set(request, WEIR_STR("Cache-Control"), conf->cache_control) < 0) {
        return WEIR_FAILED;
    }
    struct text *text = begin_page(request, weir_request_path(request));
    if (text == NULL) {
        return WEIR_FAILED;
    }
    /* The first bytes of an answer always find room. */
    ssize_t n = weir_reply_write(request, weir_str_make(text->bytes, text->len));
    return n == (ssize_t)text->len ? WEIR_NEXT : WEIR_FAILED;
}

/* Goes on with the listing that the request waits for or writes. */
enum weir_verdict
static_list(struct weir_request *request, const struct static_conf *conf, struct weir_str path,
        weir_request_fn *resume)
{
    struct static_state *state = weir_request_state(request);
    const struct weir_listing *listing;
    enum weir_verdict verdict = weir_listing_find(request, conf->dir, path, resume, &listing);
    if (verdict != WEIR_NEXT) {
        return verdict;
    }
    if (weir_reply_status(request) == 0) {
        if (weir_listing_error(listing) < 0) {
            return static_answer_error(request, weir_listing_error(listing));
        }
        verdict = begin(request, conf);
        if (verdict != WEIR_NEXT) {
            return verdict;
        }
    }
    while (state->next_entry <= weir_listing_count(listing)) {
        struct text text;
        text.len = 0;
        uint32_t next = put_rows(&text, conf, listing, state->next_entry);
        struct weir_str left = weir_str_make(text.bytes + state->written,
                text.len - state->written);
        ssize_t n = weir_reply_write(request, left);
        if (n == -EAGAIN) {
            return weir_reply_wait(request, resume);
        }
        if (n == -EPIPE) {
            break; /* nobody reads any more */
        }
        if (n < 0) {
            return WEIR_FAILED;
        }
        state->written += (size_t)n;
        if ((size_t)n == left.len) {
            state->next_entry = next;
            state->written = 0;
        }
    }
    return weir_reply_end(request) < 0 ? WEIR_FAILED : WEIR_DONE;
}
