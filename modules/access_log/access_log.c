/* SPDX-License-Identifier: MIT */
/* One line in a file for each request that ended (F91, F95):
 *     { "access_log": { "file": "access.json", "format": "json", "when": ["4xx", "5xx"] } }
 *
 * Also for one that was refused, and for one whose client left. Lines are made on the loop and
 * written by the server's own thread (weir/log.h); no request waits for a disk. */
#include "access_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/internal.h>
#include <weir/template.h>

struct access_log_conf {
    struct weir_str file;
    const struct weir_template *format;
    struct weir_list when; /* const struct weir_template *, or a status as text */
    uint64_t slow_ns;
    bool logs_internal;

    /* Set by open_log(). */
    struct weir_log_file *log; /* counted */
    enum {
        FORMAT_JSON,
        FORMAT_COMBINED,
        FORMAT_TEMPLATE
    } kind;
    struct weir_status *statuses; /* owned; of each entry of `when`; 0 to 0: a template */
};

/* ---- when -------------------------------------------------------------------------------- */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* `404`, `4xx` or `400-499`. */
static bool
read_status(struct weir_str text, struct weir_status *out)
{
    const char *s = text.ptr;
    if (text.len == 3 && s[0] >= '1' && s[0] <= '5' && s[1] == 'x' && s[2] == 'x') {
        *out = (struct weir_status){ (uint16_t)((s[0] - '0') * 100),
            (uint16_t)((s[0] - '0') * 100 + 99) };
        return true;
    }
    if (text.len != 3 && (text.len != 7 || s[3] != '-')) {
        return false;
    }
    uint16_t ends[2] = { 0, 0 };
    for (size_t i = 0; i < text.len; i++) {
        if (i != 3 && !is_digit(s[i])) {
            return false;
        }
        uint16_t *end = &ends[i > 3];
        *end = i == 3 ? *end : (uint16_t)(*end * 10 + (s[i] - '0'));
    }
    *out = (struct weir_status){ ends[0], text.len == 3 ? ends[0] : ends[1] };
    return out->first >= 100 && out->last <= 599 && out->first <= out->last;
}

static const struct weir_template *
condition(const struct access_log_conf *conf, size_t i)
{
    return ((const struct weir_template *const *)conf->when.items)[i];
}

static bool
is_wanted(struct weir_request *request, const struct access_log_conf *conf)
{
    if (conf->slow_ns > 0) {
        /* Until the answer began: one that streams for hours is not slow. */
        uint64_t begun_ns = weir_request_first_byte_ns(request);
        uint64_t took_ns = begun_ns > 0 ? begun_ns : weir_request_duration_ns(request);
        if (took_ns < conf->slow_ns) {
            return false;
        }
    }
    if (conf->when.count == 0) {
        return true;
    }
    unsigned status = access_log_status(request);
    for (size_t i = 0; i < conf->when.count; i++) {
        const struct weir_status *wanted = &conf->statuses[i];
        if (wanted->last != 0) {
            if (status >= wanted->first && status <= wanted->last) {
                return true;
            }
            continue;
        }
        struct weir_str text = weir_template_text(request, condition(conf, i));
        if (text.len > 0 && !weir_str_eq(text, WEIR_STR("0"))) {
            return true;
        }
    }
    return false;
}

/* ---- the hook ---------------------------------------------------------------------------- */

static enum weir_verdict
log_request(struct weir_request *request, const void *conf_)
{
    const struct access_log_conf *conf = conf_;
    if ((weir_request_depth(request) > 0 && !conf->logs_internal) ||
            !is_wanted(request, conf)) {
        return WEIR_NEXT;
    }
    struct access_log_line line;
    struct weir_str text = { NULL, 0 };
    switch (conf->kind) {
    case FORMAT_JSON:
        text = access_log_json(request, &line);
        break;
    case FORMAT_COMBINED:
        text = access_log_combined(request, &line);
        break;
    case FORMAT_TEMPLATE:
        text = weir_template_text(request, conf->format);
        text.len = text.len < WEIR_LOG_LINE_BYTES ? text.len : WEIR_LOG_LINE_BYTES - 1;
        break;
    }
    if (text.ptr != NULL) {
        weir_log_line(conf->log, text); /* what is dropped is counted there */
    }
    return WEIR_NEXT;
}

/* ---- the configuration ------------------------------------------------------------------- */

static bool
is_word(struct weir_str text)
{
    return text.len > 0 && memchr(text.ptr, '{', text.len) == NULL &&
            memchr(text.ptr, ' ', text.len) == NULL;
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct access_log_conf *conf = conf_;
    struct weir_str format = weir_template_source(conf->format);
    bool is_known = weir_str_eq(format, WEIR_STR("json")) ||
            weir_str_eq(format, WEIR_STR("combined"));
    if (format.len == 0 || (is_word(format) && !is_known)) {
        weir_conf_error(report, "format",
                "\"%.*s\" is no format: json, combined, or a line with {variables}",
                WEIR_STR_ARG(format));
    }
    if (conf->logs_internal && weir_str_eq(format, WEIR_STR("combined"))) {
        weir_conf_error(report, "internal",
                "combined cannot tell an internal request from a client's: json, or a line with "
                "{internal} in it");
    }
    for (size_t i = 0; i < conf->when.count; i++) {
        struct weir_str text = weir_template_source(condition(conf, i));
        struct weir_status status;
        if (memchr(text.ptr, '{', text.len) == NULL && !read_status(text, &status)) {
            weir_conf_error(report, "when",
                    "\"%.*s\" is neither a status (404, 4xx, 400-499) nor a {variable}",
                    WEIR_STR_ARG(text));
        }
    }
    return 0;
}

static void
close_log(void *conf_)
{
    struct access_log_conf *conf = conf_;
    weir_log_close(conf->log);
    free(conf->statuses);
    conf->log = NULL;
    conf->statuses = NULL;
}

static int
open_log(void *conf_, struct weir_conf_report *report)
{
    struct access_log_conf *conf = conf_;
    struct weir_str format = weir_template_source(conf->format);
    conf->kind = weir_str_eq(format, WEIR_STR("json"))  ? FORMAT_JSON
            : weir_str_eq(format, WEIR_STR("combined")) ? FORMAT_COMBINED
                                                        : FORMAT_TEMPLATE;
    conf->statuses = calloc(conf->when.count + 1, sizeof(*conf->statuses));
    if (conf->statuses == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < conf->when.count; i++) {
        if (!read_status(weir_template_source(condition(conf, i)), &conf->statuses[i])) {
            conf->statuses[i] = (struct weir_status){ 0, 0 };
        }
    }
    int r = weir_log_open(conf->file, &conf->log);
    if (r < 0) {
        weir_conf_error(report, "file", "cannot open %.*s for writing: %s",
                WEIR_STR_ARG(conf->file), strerror(-r));
        close_log(conf);
    }
    return r;
}

static const struct weir_option options[] = {
    WEIR_LOG(struct access_log_conf, file, .required = true, .shorthand = true,
            .help = "The file that lines are appended to; or stdout, stderr"),
    WEIR_TEMPLATE(struct access_log_conf, format, .preset = "json", .context = WEIR_CONTEXT_LOG,
            .help = "json, combined, or a line with variables"),
    WEIR_LIST(struct access_log_conf, when, .element = WEIR_TYPE_TEMPLATE,
            .context = WEIR_CONTEXT_LOG,
            .help = "Only requests with one of these statuses (\"404\", \"5xx\"), or for which "
                    "one of these templates is neither empty nor 0"),
    WEIR_DURATION(struct access_log_conf, slow_ns, .key = "slow", .optional = true,
            .help = "Only requests whose answer took that long to begin"),
    WEIR_BOOL(struct access_log_conf, logs_internal, .key = "internal", .preset = "false",
            .help = "Also what the server asked itself for: error pages, X-Accel-Redirect"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_LOG, .request = log_request },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("access_log", "1.0.0", "Writes a line for each request"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "access_log",
            .options = WEIR_OPTIONS(struct access_log_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Writes a line for each request that ended",
            .conf_check = check,
            .conf_open = open_log,
            .conf_close = close_log }),
};
