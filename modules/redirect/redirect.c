/* SPDX-License-Identifier: MIT */
/* Sends the client to another place:
 *     { "redirect": "https://{host}{target}" }
 *
 * Which host that is, is the configuration's to say and never the client's. Where `to` names
 * none, what variables put at its front cannot make it one: `//evil.example`, which browsers
 * take for a host, loses a slash, and what would read as a scheme becomes a relative path
 * (RFC 3986 section 4.2). Where `to` names one, no variable of the client's continues it. */
#include <string.h>

#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

struct redirect_conf {
    const struct weir_template *to;
    struct weir_status status;
    bool is_absolute; /* set by open_to(): `to` itself says which host it leads to */
};

/* ---- what `to` is like ------------------------------------------------------------------- */

/* One piece of a template's source at the front of *rest: a variable with its braces, or the
 * text before the next. `{{`, a brace, is text. */
static bool
next_piece(struct weir_str *rest, struct weir_str *piece, bool *is_variable)
{
    if (rest->len == 0) {
        return false;
    }
    *is_variable = rest->ptr[0] == '{' && (rest->len == 1 || rest->ptr[1] != '{');
    size_t len = 0;
    if (*is_variable) {
        const char *end = memchr(rest->ptr, '}', rest->len);
        len = end == NULL ? rest->len : (size_t)(end - rest->ptr) + 1;
    } else {
        while (len < rest->len && (len == 0 || rest->ptr[len] != '{')) {
            len += rest->ptr[len] == '{' && len + 1 < rest->len ? 2 : 1;
        }
    }
    *piece = weir_str_make(rest->ptr, len);
    *rest = weir_str_make(rest->ptr + len, rest->len - len);
    return true;
}

/* Where the host begins in the source: behind `//` at its front or behind `://` before any
 * other slash. 0: it names none. */
static size_t
find_host(struct weir_str source)
{
    if (weir_str_starts_with(source, WEIR_STR("//"))) {
        return 2;
    }
    const char *slash = source.len == 0 ? NULL : memchr(source.ptr, '/', source.len);
    size_t at = slash == NULL ? 0 : (size_t)(slash - source.ptr);
    bool is_host = at > 1 && source.ptr[at - 1] == ':' && at + 1 < source.len &&
            source.ptr[at + 1] == '/';
    return is_host ? at + 2 : 0;
}

/* The scheme that the source begins with, in letters; .len 0: none. */
static struct weir_str
find_scheme(struct weir_str source)
{
    size_t len = 0;
    while (len < source.len && strchr("/?#{:", source.ptr[len]) == NULL) {
        len++;
    }
    return weir_str_make(source.ptr, len < source.len && source.ptr[len] == ':' ? len : 0);
}

static bool
is_web_scheme(struct weir_str scheme)
{
    return weir_str_eq_icase(scheme, WEIR_STR("http")) ||
            weir_str_eq_icase(scheme, WEIR_STR("https"));
}

/* These begin with a slash, so that the host ends before them. */
static bool
is_path_variable(struct weir_str piece)
{
    return weir_str_eq(piece, WEIR_STR("{path}")) || weir_str_eq(piece, WEIR_STR("{target}"));
}

/* What a link chooses for whoever follows it. */
static bool
is_links(struct weir_str piece)
{
    return weir_str_starts_with(piece, WEIR_STR("{path.")) ||
            weir_str_starts_with(piece, WEIR_STR("{query."));
}

/* The variable of a link's that the host of the source ends with; .ptr NULL: none.
 * `https://example.com{path.rest}` would lead to example.com.evil.example. */
static struct weir_str
find_open_end(struct weir_str source)
{
    size_t at = find_host(source);
    struct weir_str rest = weir_str_make(source.ptr + at, source.len - at);
    struct weir_str piece, last = { NULL, 0 };
    bool is_variable;
    while (at > 0 && next_piece(&rest, &piece, &is_variable)) {
        if (is_variable ? is_path_variable(piece)
                        : memchr(piece.ptr, '/', piece.len) != NULL ||
                                memchr(piece.ptr, '?', piece.len) != NULL ||
                                memchr(piece.ptr, '#', piece.len) != NULL) {
            /* A text that begins with the slash leaves the host's end to what stood before. */
            bool ends_here = is_variable || strchr("/?#", piece.ptr[0]) != NULL;
            return ends_here ? last : weir_str_make(NULL, 0);
        }
        last = is_variable && is_links(piece) ? piece : weir_str_make(NULL, 0);
    }
    return last;
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct redirect_conf *conf = conf_;
    unsigned status = conf->status.first;
    if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308) {
        weir_conf_error(report, "status", "%u is no redirect: 301, 302, 303, 307 or 308",
                status);
    }
    struct weir_str source = weir_template_source(conf->to);
    if (source.len == 0) {
        weir_conf_error(report, "to", "an empty target");
    }
    if (source.len > 0 && memchr(source.ptr, '\\', source.len) != NULL) {
        weir_conf_error(report, "to",
                "a backslash: browsers take it for a slash; write %%5C or a slash");
    }
    if (find_host(source) == 0 && is_web_scheme(find_scheme(source))) {
        weir_conf_error(report, "to", "two slashes must follow the scheme");
    }
    struct weir_str open_end = find_open_end(source);
    if (open_end.ptr != NULL) {
        weir_conf_error(report, "to",
                "%.*s, which any link can choose, would be the end of the host's name: write a "
                "slash before it",
                WEIR_STR_ARG(open_end));
    }
    return 0;
}

static int
open_to(void *conf_, struct weir_conf_report *report)
{
    (void)report;
    struct redirect_conf *conf = conf_;
    struct weir_str source = weir_template_source(conf->to);
    conf->is_absolute = find_host(source) > 0 || find_scheme(source).len > 0;
    return 0;
}

/* ---- the hook ---------------------------------------------------------------------------- */

/* `location`, so that it cannot lead to another host. .ptr NULL: no memory. */
static struct weir_str
keep_here(struct weir_request *request, struct weir_str location)
{
    size_t slashes = 0;
    while (slashes < location.len && location.ptr[slashes] == '/') {
        slashes++;
    }
    if (slashes > 0) {
        return weir_str_make(location.ptr + slashes - 1, location.len - slashes + 1);
    }
    size_t segment = 0;
    while (segment < location.len && strchr("/?#", location.ptr[segment]) == NULL) {
        segment++;
    }
    bool has_colon = segment > 0 && memchr(location.ptr, ':', segment) != NULL;
    if (location.len > 0 && !has_colon) {
        return location;
    }
    /* A colon in the first segment reads as a scheme; nothing at all as this very page. */
    char *memory = weir_request_alloc(request, location.len + 2);
    if (memory == NULL) {
        return weir_str_make(NULL, 0);
    }
    memcpy(memory, "./", 2);
    if (location.len > 0) {
        memcpy(memory + 2, location.ptr, location.len);
    }
    return weir_str_make(memory, location.len + 2);
}

static enum weir_verdict
redirect(struct weir_request *request, const void *conf_)
{
    const struct redirect_conf *conf = conf_;
    struct weir_str path = weir_request_path(request);
    if (path.len == 0 || path.ptr[0] != '/') {
        return WEIR_NEXT; /* OPTIONS * and CONNECT are for no page that could be elsewhere */
    }
    struct weir_str location = weir_template_text(request, conf->to);
    if (location.ptr != NULL && !conf->is_absolute) {
        location = keep_here(request, location);
    }
    if (location.ptr == NULL) {
        return weir_reply_error(request, 503);
    }
    size_t host = find_host(location);
    if (host > 0 && (host == location.len || strchr("/?#:", location.ptr[host]) != NULL)) {
        return weir_reply_error(request, 400); /* HTTP/1.0 without the Host that it needs */
    }
    enum weir_verdict verdict = weir_reply_error(request, conf->status.first);
    if (verdict == WEIR_DONE && weir_reply_set(request, WEIR_STR("Location"), location) < 0) {
        return WEIR_FAILED;
    }
    return verdict;
}

static const struct weir_option options[] = {
    WEIR_TEMPLATE(struct redirect_conf, to, .required = true, .shorthand = true,
            .context = WEIR_CONTEXT_TARGET,
            .help = "Where to, as a path on this host or with another host's name"),
    WEIR_STATUS(struct redirect_conf, status, .preset = "308", .single = true, .min = 301,
            .max = 308, .help = "301, 302, 303, 307 or 308"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = redirect },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("redirect", "1.0.0", "Sends clients to another place"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "redirect",
            .options = WEIR_OPTIONS(struct redirect_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers with a redirect",
            .conf_check = check,
            .conf_open = open_to }),
};
