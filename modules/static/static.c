/* SPDX-License-Identifier: MIT */
/* Files beneath a directory (F54, F56 to F58).
 *
 *     own path:  file -> send    directory -> redirect to `/`, index, listing
 *     nothing:   try ... -> send
 *     nothing:   fallback, for pages
 *     nothing:   decline: the next handler is asked, in the end 404
 *
 * The hook may be run again from its beginning when a file had to be waited for: it keeps
 * nothing between, and is answered the same. Conditions and ranges are the server's. */
#include "static.h"

#include <errno.h>
#include <string.h>

static enum weir_verdict serve(struct weir_request *request, const void *conf);

/* ---- what was asked for ------------------------------------------------------------------ */

struct asked {
    const struct static_conf *conf;
    struct weir_str path; /* beneath the root; begins with a slash, or is empty */
    bool is_read;         /* GET or HEAD */
};

static bool
is_method(const struct weir_request *request, struct weir_str method)
{
    return weir_str_eq(weir_request_method(request), method);
}

/* Something is there, and the method is none for files (RFC 9110 section 15.5.6). */
static enum weir_verdict
answer_method(struct weir_request *request)
{
    bool is_options = is_method(request, WEIR_STR("OPTIONS"));
    int r = is_options ? weir_reply_begin(request, 204)
                       : (weir_reply_error(request, 405) == WEIR_DONE ? 0 : -1);
    if (r == 0) {
        r = weir_reply_set(request, WEIR_STR("Allow"), WEIR_STR("GET, HEAD, OPTIONS"));
    }
    return r < 0 || weir_reply_end(request) < 0 ? WEIR_FAILED : WEIR_DONE;
}

/* The path with a slash, which its links are relative to. Made of the normalised path, which
 * begins with one slash: it leads to no other host. */
static enum weir_verdict
redirect(struct weir_request *request)
{
    struct weir_str path = weir_request_path(request), query = weir_request_query(request);
    char *location = weir_request_alloc(request, 3 * path.len + 2 + query.len);
    if (location == NULL) {
        return WEIR_FAILED;
    }
    size_t len = weir_path_encode(location, path);
    location[len++] = '/';
    if (query.len > 0) {
        location[len++] = '?';
        memcpy(location + len, query.ptr, query.len);
        len += query.len;
    }
    enum weir_verdict verdict = weir_reply_error(request, 308);
    if (verdict == WEIR_DONE &&
            weir_reply_set(request, WEIR_STR("Location"), weir_str_make(location, len)) < 0) {
        return WEIR_FAILED;
    }
    return verdict;
}

/* ---- one path after another -------------------------------------------------------------- */

static enum weir_verdict
send_file(struct weir_request *request, const struct asked *asked, struct weir_str path,
        const struct weir_file *file)
{
    return asked->is_read ? static_answer(request, asked->conf, path, file, serve)
                          : answer_method(request);
}

static uint32_t
find_flags(const struct asked *asked)
{
    /* A precompressed one may be sent instead, which is then looked at closely. */
    bool is_sent = asked->is_read && asked->conf->precompressed.count == 0;
    return is_sent ? WEIR_FILE_TO_SEND : 0;
}

/* The first index of the directory `path`, which ends with a slash or is empty. */
static enum weir_verdict
try_index(struct weir_request *request, const struct asked *asked, struct weir_str path)
{
    const struct static_conf *conf = asked->conf;
    for (size_t i = 0; i < conf->index.count; i++) {
        struct weir_str name = WEIR_LIST_AT(struct weir_str, &conf->index, i);
        char *memory = weir_request_alloc(request, path.len + name.len);
        if (memory == NULL) {
            return WEIR_FAILED;
        }
        memcpy(memory, path.ptr, path.len);
        memcpy(memory + path.len, name.ptr, name.len);
        struct weir_str index = weir_str_make(memory, path.len + name.len);
        const struct weir_file *file;
        enum weir_verdict verdict = weir_file_find(request, conf->dir, index, find_flags(asked),
                serve, &file);
        if (verdict != WEIR_NEXT) {
            return verdict;
        }
        if (weir_file_kind(file) == WEIR_FILE_REGULAR) {
            return send_file(request, asked, index, file);
        }
        verdict = static_answer_error(request, weir_file_error(file));
        if (verdict != WEIR_NEXT) {
            return verdict;
        }
    }
    return WEIR_NEXT;
}

static enum weir_verdict
serve_directory(struct weir_request *request, const struct asked *asked, struct weir_str path)
{
    enum weir_verdict verdict = try_index(request, asked, path);
    if (verdict != WEIR_NEXT || !asked->conf->listing) {
        return verdict;
    }
    return asked->is_read ? static_list(request, asked->conf, path, serve)
                          : answer_method(request);
}

static bool
ends_with_slash(struct weir_str path)
{
    return path.len > 0 && path.ptr[path.len - 1] == '/';
}

/* `path` as a file, or, when it ends with a slash, as a directory. */
static enum weir_verdict
try_path(struct weir_request *request, const struct asked *asked, struct weir_str path,
        bool is_own)
{
    const struct weir_file *file;
    enum weir_verdict verdict = weir_file_find(request, asked->conf->dir, path,
            find_flags(asked), serve, &file);
    if (verdict != WEIR_NEXT) {
        return verdict;
    }
    switch (weir_file_kind(file)) {
    case WEIR_FILE_REGULAR:
        return ends_with_slash(path) ? WEIR_NEXT : send_file(request, asked, path, file);
    case WEIR_FILE_DIRECTORY:
        if (ends_with_slash(path)) {
            return serve_directory(request, asked, path);
        }
        if (!is_own) {
            return WEIR_NEXT;
        }
        return asked->is_read ? redirect(request) : answer_method(request);
    case WEIR_FILE_NONE:
    case WEIR_FILE_OTHER:
        break;
    }
    return static_answer_error(request, weir_file_error(file));
}

#define PATH_VARIABLE "{path}"

/* A path of `try`, with the request's in the place of {path}; .ptr NULL without memory. */
static struct weir_str
expand(struct weir_request *request, struct weir_str pattern, struct weir_str path)
{
    size_t len = pattern.len;
    const char *at = pattern.ptr, *end = pattern.ptr + pattern.len;
    const size_t variable = sizeof(PATH_VARIABLE) - 1;
    while ((at = memmem(at, (size_t)(end - at), PATH_VARIABLE, variable)) != NULL) {
        len += path.len;
        at += variable;
    }
    char *memory = weir_request_alloc(request, len + 1);
    if (memory == NULL) {
        return weir_str_make(NULL, 0);
    }
    char *to = memory;
    for (at = pattern.ptr; at < end;) {
        if ((size_t)(end - at) >= variable && memcmp(at, PATH_VARIABLE, variable) == 0) {
            if (path.len > 0) {
                memcpy(to, path.ptr, path.len);
            }
            to += path.len;
            at += variable;
        } else {
            *to++ = *at++;
        }
    }
    return weir_str_make(memory, (size_t)(to - memory));
}

static enum weir_verdict
try_others(struct weir_request *request, const struct asked *asked)
{
    const struct static_conf *conf = asked->conf;
    /* The directory's own slash is not part of a name: /docs/ may be /docs.html. */
    struct weir_str path = asked->path;
    while (ends_with_slash(path)) {
        path.len--;
    }
    for (size_t i = 0; i < conf->try_.count; i++) {
        struct weir_str other = expand(request, WEIR_LIST_AT(struct weir_str, &conf->try_, i),
                path);
        if (other.ptr == NULL) {
            return WEIR_FAILED;
        }
        enum weir_verdict verdict = try_path(request, asked, other, false);
        if (verdict != WEIR_NEXT) {
            return verdict;
        }
    }
    return WEIR_NEXT;
}

/* The most specific range of Accept decides; without the field everything is welcome (RFC 9110
 * section 12.5.1). */
static bool
accepts_html(const struct weir_request *request)
{
    static const struct weir_str ranges[] = { WEIR_STR_INIT("*/*"), WEIR_STR_INIT("text/*"),
        WEIR_STR_INIT("text/html") };
    size_t found = 0; /* one more than the range that decided */
    bool has_accept = false, accepts = false;
    struct weir_str name, value;
    for (uint32_t i = 0; weir_request_field_at(request, i, &name, &value); i++) {
        bool is_accept = weir_str_eq_icase(name, WEIR_STR("Accept"));
        has_accept |= is_accept;
        struct weir_str type;
        while (is_accept && value.ptr != NULL && weir_str_split(&value, ',', &type)) {
            struct weir_str parameters = type;
            if (!weir_str_split(&parameters, ';', &type)) {
                continue;
            }
            for (size_t j = found; j < sizeof(ranges) / sizeof(ranges[0]); j++) {
                if (weir_str_eq_icase(type, ranges[j])) {
                    found = j + 1;
                    accepts = static_weight_in(parameters) > 0;
                    break;
                }
            }
        }
    }
    return !has_accept || accepts;
}

/* One page for all paths of an application that routes in the browser; never for a missing
 * script or picture. */
static enum weir_verdict
try_fallback(struct weir_request *request, const struct asked *asked)
{
    const struct static_conf *conf = asked->conf;
    if (conf->fallback.len == 0 || !asked->is_read ||
            static_path_names_file(weir_request_path(request)) || !accepts_html(request)) {
        return WEIR_NEXT;
    }
    const struct weir_file *file;
    enum weir_verdict verdict = weir_file_find(request, conf->dir, conf->fallback,
            find_flags(asked), serve, &file);
    if (verdict != WEIR_NEXT) {
        return verdict;
    }
    if (weir_file_kind(file) != WEIR_FILE_REGULAR) {
        return static_answer_error(request, weir_file_error(file));
    }
    return static_answer_fallback(request, conf, conf->fallback, file, serve);
}

/* ---- the hook ---------------------------------------------------------------------------- */

static enum weir_verdict
look(struct weir_request *request, const struct static_conf *conf)
{
    struct asked asked = { .conf = conf };
    struct weir_str path = weir_request_path(request);
    if (path.len == 0 || path.ptr[0] != '/' || /* OPTIONS *, CONNECT */
            !static_path_strip(path, conf->strip, &asked.path) ||
            (!conf->hidden && static_path_is_hidden(asked.path))) {
        return WEIR_NEXT;
    }
    if (weir_request_path_flags(request) != 0) {
        return WEIR_NEXT; /* a %2F or a backslash: two readers would not agree what it names */
    }
    asked.is_read = is_method(request, WEIR_STR("GET")) || is_method(request, WEIR_STR("HEAD"));
    enum weir_verdict verdict = try_path(request, &asked, asked.path, true);
    if (verdict == WEIR_NEXT && conf->try_.count > 0) {
        verdict = try_others(request, &asked);
    }
    return verdict == WEIR_NEXT ? try_fallback(request, &asked) : verdict;
}

static enum weir_verdict
serve(struct weir_request *request, const void *conf)
{
    enum weir_verdict verdict = look(request, conf);
    /* Nothing fails above but for want of memory, which is a reason to come again. */
    return verdict == WEIR_FAILED ? static_answer_error(request, -ENOMEM) : verdict;
}

/* ---- the configuration ------------------------------------------------------------------- */

static void
check_name(struct weir_conf_report *report, const char *option, struct weir_str name)
{
    if (name.len == 0 || memchr(name.ptr, '/', name.len) != NULL) {
        weir_conf_error(report, option, "\"%.*s\" is not the name of a file",
                WEIR_STR_ARG(name));
    }
}

static void
check_pattern(struct weir_conf_report *report, struct weir_str pattern)
{
    const char *end = pattern.ptr + pattern.len;
    const size_t variable = sizeof(PATH_VARIABLE) - 1;
    for (const char *at = pattern.ptr; at < end; at++) {
        if ((size_t)(end - at) >= variable && memcmp(at, PATH_VARIABLE, variable) == 0) {
            at += variable - 1;
        } else if (*at == '{' || *at == '}') {
            weir_conf_error(report, "try", "\"%.*s\": no variable but {path} can stand here",
                    WEIR_STR_ARG(pattern));
            return;
        }
    }
    if (pattern.len == 0) {
        weir_conf_error(report, "try", "an empty path");
    }
}

/* As a field's value may be (RFC 9110 section 5.5). */
static void
check_value(struct weir_conf_report *report, const char *option, struct weir_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            weir_conf_error(report, option, "a control character in the value of a field");
            return;
        }
    }
}

/* Fields of the message and of the part that is sent, which are the server's to say. */
static bool
is_of_framing(struct weir_str name)
{
    static const struct weir_str names[] = {
        WEIR_STR_INIT("connection"),
        WEIR_STR_INIT("content-length"),
        WEIR_STR_INIT("content-range"),
        WEIR_STR_INIT("keep-alive"),
        WEIR_STR_INIT("proxy-connection"),
        WEIR_STR_INIT("te"),
        WEIR_STR_INIT("trailer"),
        WEIR_STR_INIT("transfer-encoding"),
        WEIR_STR_INIT("upgrade"),
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (weir_str_eq_icase(names[i], name)) {
            return true;
        }
    }
    return false;
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct static_conf *conf = conf_;
    if (conf->strip.len > 0 && conf->strip.ptr[0] != '/') {
        weir_conf_error(report, "strip", "\"%.*s\" does not begin with a slash",
                WEIR_STR_ARG(conf->strip));
    }
    for (size_t i = 0; i < conf->index.count; i++) {
        check_name(report, "index", WEIR_LIST_AT(struct weir_str, &conf->index, i));
    }
    for (size_t i = 0; i < conf->try_.count; i++) {
        check_pattern(report, WEIR_LIST_AT(struct weir_str, &conf->try_, i));
    }
    check_value(report, "cache_control", conf->cache_control);
    for (size_t i = 0; i < conf->headers.count; i++) {
        struct weir_str name = conf->headers.items[i].key;
        check_value(report, "headers", conf->headers.items[i].value);
        if (is_of_framing(name)) {
            weir_conf_error(report, "headers", "%.*s is the server's to say",
                    WEIR_STR_ARG(name));
        }
    }
    return 0;
}

static int
open_root(void *conf_, struct weir_conf_report *report)
{
    struct static_conf *conf = conf_;
    struct weir_root_settings settings = {
        .bytes = sizeof(settings),
        .symlinks = (enum weir_symlinks)conf->symlinks,
        .types = &conf->types,
    };
    int r = weir_root_open(conf->root, &settings, &conf->dir);
    if (r < 0) {
        weir_conf_error(report, "root", "cannot open the directory %.*s: %s%s",
                WEIR_STR_ARG(conf->root), strerror(-r),
                r == -EACCES ? "; the account of workers (workers.user) has to be allowed to "
                               "enter it and those above"
                             : "");
    }
    return r;
}

static void
close_root(void *conf_)
{
    struct static_conf *conf = conf_;
    weir_root_close(conf->dir);
    conf->dir = NULL;
}

static const struct weir_choice codings[] = {
    { "gzip", STATIC_GZIP },
    { "br", STATIC_BROTLI },
    { "zstd", STATIC_ZSTD },
};

static const struct weir_choice symlinks[] = {
    { "beneath", WEIR_SYMLINKS_BENEATH },
    { "deny", WEIR_SYMLINKS_DENY },
};

static const struct weir_option options[] = {
    WEIR_PATH(struct static_conf, root, .required = true, .shorthand = true,
            .access = WEIR_ACCESS_FOLDER, .help = "The directory whose files are served"),
    WEIR_STRING(struct static_conf, strip,
            .help = "A prefix of the request's path that is no part of the file's"),
    WEIR_LIST(struct static_conf, index, .element = WEIR_TYPE_STRING, .preset = "index.html",
            .help = "Names that answer for their directory, the first that exists"),
    WEIR_LIST(struct static_conf, try_, .key = "try", .element = WEIR_TYPE_STRING,
            .help = "Paths beneath the root to try when nothing is under the request's own, "
                    "which stands for {path}; the first that exists"),
    WEIR_STRING(struct static_conf, fallback,
            .help = "A file that answers for pages that do not exist, for applications that "
                    "route in the browser"),
    WEIR_BOOL(struct static_conf, listing, .preset = "false",
            .help = "List directories that have no index"),
    WEIR_LIST(struct static_conf, precompressed, .element = WEIR_TYPE_ENUM,
            .choices = WEIR_CHOICES(codings),
            .help = "Codings whose files (.gz, .br, .zst) are sent, when they are not older, "
                    "to clients that accept them; the preferred one first"),
    WEIR_STRING(struct static_conf, cache_control, .help = "The Cache-Control of answers"),
    WEIR_MAP(struct static_conf, headers, .element = WEIR_TYPE_STRING, .keys = WEIR_KEYS_FIELD,
            .help = "Fields of answers with a file"),
    WEIR_MAP(struct static_conf, types, .element = WEIR_TYPE_STRING,
            .help = "Media types by extension, before the built-in ones"),
    WEIR_BOOL(struct static_conf, hidden, .preset = "false",
            .help = "Serve names that begin with a dot; /.well-known/ always is"),
    WEIR_ENUM(struct static_conf, symlinks, .choices = WEIR_CHOICES(symlinks),
            .preset = "beneath",
            .help = "Follow symbolic links that stay beneath the root, or none"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = serve },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("static", "1.0.0", "Files beneath a directory"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "static",
            .options = WEIR_OPTIONS(struct static_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers with the files beneath a directory",
            .state_bytes = sizeof(struct static_state),
            .conf_check = check,
            .conf_open = open_root,
            .conf_close = close_root }),
};
