/* SPDX-License-Identifier: MIT */
#include "http/error_body.h"

#include "base/num.h"

/* q=0, with as many zeros behind its point as there may be (RFC 9110 section 12.4.2). */
static bool
is_refused(struct weir_str parameters)
{
    struct weir_str part;
    while (parameters.ptr != NULL && weir_str_split(&parameters, ';', &part)) {
        if (part.len >= 3 && (part.ptr[0] | 0x20) == 'q' && part.ptr[1] == '=') {
            size_t i = 2;
            while (i < part.len && (part.ptr[i] == '0' || (i == 3 && part.ptr[i] == '.'))) {
                i++;
            }
            return i == part.len;
        }
    }
    return false;
}

/* Pages are for browsers, which name them; whoever takes anything gets a line of text. */
static bool
accepts_html(const struct weir_request *request)
{
    struct weir_str accept = head_find(&request->head, FIELD_ACCEPT);
    struct weir_str type;
    while (field_list_next(&accept, &type)) {
        struct weir_str parameters = type;
        if (weir_str_split(&parameters, ';', &type) &&
                weir_str_eq_icase(type, WEIR_STR("text/html"))) {
            return !is_refused(parameters);
        }
    }
    return false;
}

static char *
put(char *at, struct weir_str text)
{
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

#define STATUS_DIGITS 3u

static char *
put_status(char *at, unsigned status, struct weir_str reason)
{
    at += num_format_u64(at, status);
    *at++ = ' ';
    return put(at, reason);
}

int
error_body_make(const struct weir_request *request, unsigned status, struct weir_str *type,
        struct slice *out)
{
    bool is_html = request->refusal == HEAD_ACCEPTED && accepts_html(request);
    struct weir_str before = WEIR_STR(""), between = WEIR_STR(""), behind = WEIR_STR("\n");
    if (is_html) {
        before = WEIR_STR(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
        between = WEIR_STR(
                "</title>\n<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;"
                "margin:15vh auto;padding:0 1rem;color:#345}h1{font-size:1.6rem}</style></head>\n"
                "<body><h1>");
        behind = WEIR_STR("</h1></body></html>\n");
    }
    struct weir_str reason = status_reason(status);
    size_t says_bytes = STATUS_DIGITS + 1 + reason.len;
    size_t bytes = before.len + says_bytes + behind.len +
            (is_html ? between.len + says_bytes : 0);
    char *at;
    int r = slice_alloc(bytes, out, &at);
    if (r < 0) {
        return r;
    }
    at = put(at, before);
    at = put_status(at, status, reason);
    if (is_html) {
        at = put(at, between);
        at = put_status(at, status, reason);
    }
    put(at, behind);
    *type = is_html ? WEIR_STR("text/html; charset=utf-8")
                    : WEIR_STR("text/plain; charset=utf-8");
    return 0;
}
