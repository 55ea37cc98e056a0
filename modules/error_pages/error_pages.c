/* SPDX-License-Identifier: MIT */
/* Other bodies for error answers (F61, F155):
 *     { "error_pages": { "404": ["404.html", "404.json"], "5xx": "50x.html" } }
 *
 * The status stays, and fields like Allow and Retry-After. Only the server's own short texts
 * are replaced, unless `intercept` says that the bodies of handlers are too. Files are read
 * when the configuration is opened; routes are asked when their page is needed. */
#include "error_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

#define FILE_BYTES_MAX (1u << 20)

/* ---- the hook ---------------------------------------------------------------------------- */

/* Without memory the answer goes without it. */
static void
put_code(struct weir_request *request, const struct error_pages_conf *conf)
{
    struct weir_str code = weir_reply_code(request);
    if (conf->code_header.len > 0 && code.len > 0) {
        int ignored = weir_reply_set(request, conf->code_header, code);
        (void)ignored;
    }
}

static enum weir_verdict
put_page(struct weir_request *request, const void *conf_)
{
    const struct error_pages_conf *conf = conf_;
    struct error_pages_state *state = weir_request_state(request);
    unsigned status = weir_reply_status(request);
    if (state->asked != NULL) {
        weir_internal_close(state->asked); /* the answer that it was for is no more */
        state->asked = NULL;
    }
    if (status < 400) {
        return WEIR_NEXT;
    }
    put_code(request, conf);
    if (!weir_reply_is_own(request) && !conf->intercept) {
        return WEIR_NEXT;
    }
    const struct page *page = error_pages_choose(request, conf, status);
    if (page == NULL) {
        return WEIR_NEXT;
    }
    if (page->target != NULL) {
        return error_pages_ask(request, page);
    }
    struct weir_str text = page->written == NULL ? page->text
                                                 : weir_template_text(request, page->written);
    if (text.ptr == NULL || weir_reply_replace_body(request, page->type, text) < 0) {
        return WEIR_FAILED;
    }
    return WEIR_NEXT;
}

/* ---- the configuration ------------------------------------------------------------------- */

static struct weir_str
type_of(struct weir_str path)
{
    static const struct {
        struct weir_str end, type;
    } types[] = {
        { WEIR_STR_INIT(".html"), WEIR_STR_INIT("text/html; charset=utf-8") },
        { WEIR_STR_INIT(".htm"), WEIR_STR_INIT("text/html; charset=utf-8") },
        { WEIR_STR_INIT(".json"), WEIR_STR_INIT("application/json") },
        { WEIR_STR_INIT(".xml"), WEIR_STR_INIT("application/xml") },
        { WEIR_STR_INIT(".txt"), WEIR_STR_INIT("text/plain; charset=utf-8") },
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        size_t len = types[i].end.len;
        if (path.len > len &&
                weir_str_eq_icase(weir_str_make(path.ptr + path.len - len, len),
                        types[i].end)) {
            return types[i].type;
        }
    }
    return weir_str_make(NULL, 0);
}

static void
check_statuses(struct weir_conf_report *report, const struct weir_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct weir_map_entry *entry = &map->items[i];
        if (entry->status.first < 400 || entry->status.last > 599) {
            weir_conf_error(report, NULL, "\"%.*s\": only 4xx and 5xx have error pages",
                    WEIR_STR_ARG(entry->key));
        }
    }
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct error_pages_conf *conf = conf_;
    check_statuses(report, &conf->files);
    check_statuses(report, &conf->text);
    check_statuses(report, &conf->routes);
    for (size_t i = 0; i < conf->files.count; i++) {
        const struct weir_map_entry *entry = &conf->files.items[i];
        if (type_of(entry->value).ptr == NULL) {
            weir_conf_error(report, NULL,
                    "\"%.*s\" is no .html, .json, .xml or .txt file: its media type is not "
                    "known",
                    WEIR_STR_ARG(entry->value));
        }
    }
    for (size_t i = 0; i < conf->routes.count; i++) {
        struct weir_str target = conf->routes.items[i].value;
        if (target.len == 0 || target.ptr[0] != '/') {
            weir_conf_error(report, "routes", "\"%.*s\" does not begin with a slash",
                    WEIR_STR_ARG(target));
        }
    }
    if (conf->code_header.len > 0 && !weir_str_is_token(conf->code_header)) {
        weir_conf_error(report, "code_header", "\"%.*s\" is no name of a field",
                WEIR_STR_ARG(conf->code_header));
    }
    if (conf->files.count + conf->text.count + conf->routes.count + conf->code_header.len ==
            0) {
        weir_conf_error(report, NULL, "no status has a page");
    }
    return 0;
}

/* The whole of a regular file; the caller frees it. */
static int
read_file(struct weir_str path, struct weir_str *out)
{
    char name[4096];
    int r = weir_str_to_path(path, name, sizeof(name));
    if (r < 0) {
        return r;
    }
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1) {
        return -errno;
    }
    struct stat status;
    char *text = NULL;
    if (fstat(fd, &status) == -1) {
        r = -errno;
    } else if (!S_ISREG(status.st_mode)) {
        r = -EINVAL;
    } else if (status.st_size > FILE_BYTES_MAX) {
        r = -EFBIG;
    } else {
        text = malloc((size_t)status.st_size + 1);
        r = text == NULL ? -ENOMEM : 0;
    }
    size_t len = 0;
    while (r == 0 && len < (size_t)status.st_size) {
        ssize_t n = read(fd, text + len, (size_t)status.st_size - len);
        if (n <= 0) {
            r = n == 0 ? 0 : -errno;
            break;
        }
        len += (size_t)n;
    }
    close(fd);
    if (r < 0) {
        free(text);
        return r;
    }
    *out = weir_str_make(text, len);
    return 0;
}

static void
close_pages(void *conf_)
{
    struct error_pages_conf *conf = conf_;
    for (size_t i = 0; i < conf->count; i++) {
        free((void *)(uintptr_t)conf->pages[i].text.ptr);
    }
    free(conf->pages);
    conf->pages = NULL;
    conf->count = 0;
}

static int
open_pages(void *conf_, struct weir_conf_report *report)
{
    struct error_pages_conf *conf = conf_;
    conf->pages = calloc(conf->files.count + conf->text.count + conf->routes.count + 1,
            sizeof(*conf->pages));
    if (conf->pages == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < conf->files.count; i++) {
        const struct weir_map_entry *entry = &conf->files.items[i];
        struct page *page = &conf->pages[conf->count++];
        *page = (struct page){ .status = entry->status, .type = type_of(entry->value) };
        int r = read_file(entry->value, &page->text);
        if (r < 0) {
            weir_conf_error(report, NULL, "cannot read %.*s: %s", WEIR_STR_ARG(entry->value),
                    r == -EINVAL ? "not a regular file" : strerror(-r));
            close_pages(conf);
            return r;
        }
    }
    for (size_t i = 0; i < conf->text.count; i++) {
        const struct weir_map_entry *entry = &conf->text.items[i];
        conf->pages[conf->count++] = (struct page){ .status = entry->status,
            .type = WEIR_STR("text/plain; charset=utf-8"),
            .written = entry->template_ };
    }
    for (size_t i = 0; i < conf->routes.count; i++) {
        const struct weir_map_entry *entry = &conf->routes.items[i];
        conf->pages[conf->count++] = (struct page){ .status = entry->status,
            .target = entry->template_ };
    }
    return 0;
}

static const struct weir_option options[] = {
    WEIR_MAP(struct error_pages_conf, files, .element = WEIR_TYPE_PATH,
            .keys = WEIR_KEYS_STATUS, .rest = true, .access = WEIR_ACCESS_FILE,
            .help = "Statuses and their files; of several for one status, what the client "
                    "accepts"),
    WEIR_MAP(struct error_pages_conf, text, .element = WEIR_TYPE_TEMPLATE,
            .keys = WEIR_KEYS_STATUS, .context = WEIR_CONTEXT_TEXT,
            .help = "Statuses and their plain text, with variables"),
    WEIR_MAP(struct error_pages_conf, routes, .element = WEIR_TYPE_TEMPLATE,
            .keys = WEIR_KEYS_STATUS, .context = WEIR_CONTEXT_TARGET,
            .help = "Statuses and targets, with variables, that routes marked internal answer"),
    WEIR_BOOL(struct error_pages_conf, take_status, .preset = "false",
            .help = "Answer with the status of the route, not with the error's"),
    WEIR_STRING(struct error_pages_conf, code_header, .preset = "x-error-code",
            .optional = true,
            .help = "Field with a word for the error, of the server's own answers; false: none"),
    WEIR_BOOL(struct error_pages_conf, intercept, .preset = "false",
            .help = "Replace the bodies of handlers too, not the server's own alone"),
};

/* Behind those that put another answer in this one's place (accel), before hooks that change
 * fields or filter bodies. */
static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_REPLY_HEAD, .stage = WEIR_STAGE_LIMIT, .request = put_page },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("error_pages", "1.0.0", "Other bodies for error answers"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "error_pages",
            .options = WEIR_OPTIONS(struct error_pages_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers errors with pages of the site's",
            .state_bytes = sizeof(struct error_pages_state),
            .conf_check = check,
            .conf_open = open_pages,
            .conf_close = close_pages }),
};
