/* SPDX-License-Identifier: MIT */
/* Passes a request on to an upstream, and its answer back: { "proxy": "shop" }.
 *
 *     request -- fields of its own put in (forwarded.c) --> exchange
 *                                                             | a head
 *                                                             |--> adopted: the client's answer
 *                                                             | none
 *                                                             +--> 502, 503 or 504
 *
 * Connections, streaming and HTTP's framing are the server's (weir/exchange.h); what is decided
 * here is what the upstream is told, and what the client is when that fails. */
#include "proxy.h"

#include <errno.h>
#include <stdio.h>

#include <weir/log.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

struct proxy_state {
    struct weir_exchange *exchange;
};

/* ---- what goes wrong --------------------------------------------------------------------- */

static enum weir_verdict
fail(struct weir_request *request, const struct proxy_conf *conf,
        const struct weir_exchange *exchange)
{
    enum weir_exchange_error error = weir_exchange_error(exchange);
    unsigned status = weir_exchange_error_status(error);
    struct weir_str address = weir_exchange_address(exchange);
    struct weir_str fault = weir_exchange_fault(exchange);
    if (error == WEIR_EXCHANGE_BODY) {
        return WEIR_FAILED; /* the server says what was wrong with it */
    }
    weir_request_log(request, WEIR_LOG_WARN, "upstream %.*s, %.*s: %.*s%s%.*s: %u",
            WEIR_STR_ARG(conf->to), WEIR_STR_ARG(address),
            WEIR_STR_ARG(weir_exchange_error_label(error)), fault.len > 0 ? ", " : "",
            WEIR_STR_ARG(fault), status);
    enum weir_verdict verdict = weir_reply_error(request, status);
    if (verdict == WEIR_DONE) {
        proxy_put_status(request, conf, exchange);
    }
    if (verdict == WEIR_DONE && status == 503 &&
            weir_reply_set(request, WEIR_STR("Retry-After"), WEIR_STR("1")) < 0) {
        return WEIR_FAILED;
    }
    return verdict;
}

/* ---- answers that are not passed on ------------------------------------------------------ */

static bool
is_intercepted(const struct proxy_conf *conf, unsigned status)
{
    for (size_t i = 0; i < conf->intercept.count; i++) {
        const struct weir_status *range = &WEIR_LIST_AT(struct weir_status, &conf->intercept,
                i);
        if (status >= range->first && status <= range->last) {
            return true;
        }
    }
    return false;
}

/* The server's own answer in its place, with what a client needs to know of that status. */
static enum weir_verdict
intercept(struct weir_request *request, const struct proxy_conf *conf,
        struct weir_exchange *exchange)
{
    static const struct weir_str kept[] = {
        WEIR_STR_INIT("Allow"),
        WEIR_STR_INIT("Retry-After"),
        WEIR_STR_INIT("WWW-Authenticate"),
    };
    enum weir_verdict verdict = weir_reply_error(request, weir_exchange_status(exchange));
    if (verdict == WEIR_DONE) {
        proxy_put_status(request, conf, exchange);
    }
    struct weir_str name, value;
    int r = 0;
    for (uint32_t i = 0; r == 0 && weir_exchange_field_at(exchange, i, &name, &value); i++) {
        for (size_t j = 0; j < sizeof(kept) / sizeof(kept[0]); j++) {
            if (weir_str_eq_icase(name, kept[j])) {
                r = weir_reply_add(request, name, value);
                break;
            }
        }
    }
    weir_exchange_close(exchange);
    return r < 0 ? WEIR_FAILED : verdict;
}

/* ---- the exchange ------------------------------------------------------------------------ */

static enum weir_verdict
on_answer(struct weir_request *request, const void *conf_)
{
    const struct proxy_conf *conf = conf_;
    const struct proxy_state *state = weir_request_state(request);
    struct weir_exchange *exchange = state->exchange;
    if (weir_exchange_error(exchange) != WEIR_EXCHANGE_FINE) {
        return fail(request, conf, exchange);
    }
    if (is_intercepted(conf, weir_exchange_status(exchange))) {
        return intercept(request, conf, exchange);
    }
    enum weir_verdict verdict = weir_exchange_adopt(exchange);
    if (verdict != WEIR_DONE) {
        return verdict;
    }
    proxy_put_status(request, conf, exchange);
    if (proxy_edit_answer(request, &conf->headers.response) < 0) {
        return WEIR_FAILED;
    }
    if (conf->buffering && weir_exchange_status(exchange) != 101) {
        int r = weir_reply_keep(request);
        (void)r; /* it is whole already, or the client is waited for after all */
    }
    return WEIR_DONE;
}

/* What is asked, where the configuration says so; empty: the request's own. */
static int
fill_in(struct weir_request *request, const struct weir_template *from, struct weir_str *to)
{
    if (from == NULL) {
        return 0;
    }
    *to = weir_template_text(request, from);
    return to->ptr == NULL ? -ENOMEM : to->len == 0 ? -EINVAL : 0;
}

/* The query follows unless the configuration gives one. */
static int
fill_in_target(struct weir_request *request, const struct proxy_conf *conf,
        struct weir_str *target)
{
    int r = fill_in(request, conf->path, target);
    struct weir_str query = weir_request_query(request);
    if (r < 0 || target->len == 0 || query.len == 0 ||
            memchr(target->ptr, '?', target->len) != NULL) {
        return r;
    }
    char *memory = weir_request_alloc(request, target->len + 1 + query.len);
    if (memory == NULL) {
        return -ENOMEM;
    }
    memcpy(memory, target->ptr, target->len);
    memory[target->len] = '?';
    memcpy(memory + target->len + 1, query.ptr, query.len);
    *target = weir_str_make(memory, target->len + 1 + query.len);
    return 0;
}

/* RFC 9110 section 7.6.2: how far OPTIONS and TRACE may go on. True when they are answered
 * here, with *verdict; else what is left stands in `fields`, if there is a bound. */
static bool
ends_here(struct weir_request *request, struct proxy_fields *fields, enum weir_verdict *verdict)
{
    struct weir_str method = weir_request_method(request);
    struct weir_str said = weir_request_field(request, WEIR_STR("Max-Forwards"));
    bool is_options = weir_str_eq(method, WEIR_STR("OPTIONS"));
    if (said.len == 0 || said.len > 9 ||
            (!is_options && !weir_str_eq(method, WEIR_STR("TRACE")))) {
        return false;
    }
    char *text = weir_request_alloc(request, 16);
    unsigned left = 0;
    for (size_t i = 0; i < said.len; i++) {
        if (said.ptr[i] < '0' || said.ptr[i] > '9') {
            return false;
        }
        left = left * 10 + (unsigned)(said.ptr[i] - '0');
    }
    if (left > 0 && text != NULL) {
        int len = snprintf(text, 16, "%u", left - 1);
        fields->items[fields->count++] = (struct weir_ask_field){ WEIR_STR("Max-Forwards"),
            weir_str_make(text, (size_t)len) };
        return false;
    }
    *verdict = text == NULL ? weir_reply_error(request, 503)
            : !is_options   ? weir_reply_error(request, 501)
                            : weir_reply_text(request, 204, WEIR_STR(""), WEIR_STR(""));
    return true;
}

static void
narrow_retries(const struct proxy_conf *conf, struct weir_exchange_ask *ask)
{
    ask->retry_on = WEIR_RETRY_NEVER;
    for (size_t i = 0; i < conf->retry.on.count; i++) {
        ask->retry_on |= (uint32_t)WEIR_LIST_AT(int, &conf->retry.on, i);
    }
    if (conf->retry.times == 0) {
        ask->retry_on &= WEIR_RETRY_NEVER | WEIR_RETRY_CONNECT;
    } else if (conf->retry.times < UINT32_MAX) {
        ask->retry_times = (uint32_t)conf->retry.times;
    }
}

static enum weir_verdict
pass_on(struct weir_request *request, const void *conf_)
{
    const struct proxy_conf *conf = conf_;
    struct proxy_state *state = weir_request_state(request);
    if (weir_str_eq(weir_request_method(request), WEIR_STR("CONNECT"))) {
        return weir_reply_error(request, 501); /* this is no tunnel */
    }
    struct proxy_fields fields;
    fields.items = fields.own;
    fields.count = fields.added_count = 0;
    enum weir_verdict verdict;
    if (ends_here(request, &fields, &verdict)) {
        return verdict;
    }
    struct weir_exchange_ask ask = {
        .bytes = sizeof(ask),
        .flags = WEIR_EXCHANGE_RELAY_INTERIM,
        .upstream = conf->to,
        .upgrade = proxy_choose_upgrade(request, conf),
    };
    narrow_retries(conf, &ask);
    int r = fill_in_target(request, conf, &ask.target);
    if (r == 0) {
        r = fill_in(request, conf->host, &ask.host);
    }
    if (r == 0) {
        r = proxy_put_fields(request, conf, &fields);
    }
    if (r == 0) {
        r = proxy_edit_request(request, &conf->headers.request, &fields);
    }
    ask.fields = fields.items;
    ask.field_count = fields.count;
    ask.added = fields.added_count > 0 ? fields.added : NULL;
    ask.added_count = fields.added_count;
    if (r == 0) {
        r = weir_exchange_open(request, &ask, &state->exchange);
    }
    if (r == -EINVAL) {
        weir_request_log(request, WEIR_LOG_WARN,
                "`path` or `host` makes something that cannot be asked: 400");
        return weir_reply_error(request, 400);
    }
    if (r == -ENOMEM) {
        return weir_reply_error(request, 503);
    }
    return r < 0 ? WEIR_FAILED : weir_exchange_wait(state->exchange, on_answer);
}

/* ---- the configuration ------------------------------------------------------------------- */

/* Whether it has one of those, whatever a request brings: one with variables cannot be told. */
static bool
always_has(struct weir_str template_, const char *signs)
{
    return strchr(template_.ptr, '{') == NULL && strpbrk(template_.ptr, signs) != NULL;
}

/* What each request would fail for. */
static void
check_target(const struct proxy_conf *conf, struct weir_conf_report *report)
{
    struct weir_str path = conf->path == NULL ? WEIR_STR("/")
                                              : weir_template_source(conf->path);
    if (path.len == 0 || (path.ptr[0] != '/' && path.ptr[0] != '{')) {
        weir_conf_error(report, "path", "a path begins with a slash");
    } else if (always_has(path, "#")) {
        weir_conf_error(report, "path", "nothing behind # is ever sent to a server");
    }
    struct weir_str host = conf->host == NULL ? WEIR_STR("") : weir_template_source(conf->host);
    if (always_has(host, " /?#@\\")) {
        weir_conf_error(report, "host", "\"%.*s\" is no host to ask for", WEIR_STR_ARG(host));
    }
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct proxy_conf *conf = conf_;
    proxy_check_upgrade(conf, report);
    proxy_check_edits(&conf->headers, report);
    for (size_t i = 0; i < conf->intercept.count; i++) {
        if (WEIR_LIST_AT(struct weir_status, &conf->intercept, i).first < 400) {
            weir_conf_error(report, "intercept", "only 4xx and 5xx are errors");
        }
    }
    check_target(conf, report);
    return 0;
}

static const struct weir_choice tells[] = {
    { "x-forwarded", PROXY_TELLS_X },
    { "forwarded", PROXY_TELLS_FORWARDED },
    { "both", PROXY_TELLS_X | PROXY_TELLS_FORWARDED },
    { "none", 0 },
};

static const struct weir_option edit_options[] = {
    WEIR_MAP(struct proxy_edits, set, .element = WEIR_TYPE_TEMPLATE, .keys = WEIR_KEYS_FIELD,
            .context = WEIR_CONTEXT_HEADER, .merge = WEIR_MERGE_APPEND,
            .help = "Fields and their values, in place of what was there; one that comes out "
                    "empty is removed"),
    WEIR_MAP(struct proxy_edits, add, .element = WEIR_TYPE_TEMPLATE, .keys = WEIR_KEYS_FIELD,
            .context = WEIR_CONTEXT_HEADER, .merge = WEIR_MERGE_APPEND,
            .help = "Fields and their values, beside what was there"),
    WEIR_LIST(struct proxy_edits, remove, .element = WEIR_TYPE_STRING,
            .merge = WEIR_MERGE_APPEND, .help = "Names of fields that are taken away first"),
};

static const struct weir_option header_options[] = {
    WEIR_OBJECT(struct proxy_headers, request, struct proxy_edits,
            .members = WEIR_OPTIONS(struct proxy_edits, edit_options),
            .help = "Changes of what the upstream is sent, Via and X-Forwarded-* included"),
    WEIR_OBJECT(struct proxy_headers, response, struct proxy_edits,
            .members = WEIR_OPTIONS(struct proxy_edits, edit_options),
            .help = "Changes of the upstream's answer"),
};

static const struct weir_choice retry_reasons[] = {
    { "connect", WEIR_RETRY_CONNECT },
    { "timeout", WEIR_RETRY_TIMEOUT },
    { "closed", WEIR_RETRY_CLOSED },
    { "bad_answer", WEIR_RETRY_BAD_ANSWER },
    { "429", WEIR_RETRY_429 },
    { "500", WEIR_RETRY_500 },
    { "502", WEIR_RETRY_502 },
    { "503", WEIR_RETRY_503 },
    { "504", WEIR_RETRY_504 },
};

static const struct weir_option retry_options[] = {
    WEIR_COUNT(struct proxy_retry, times, .preset = "false", .zero = true,
            .help = "No more often than so; false: as often as the upstream says"),
    WEIR_LIST(struct proxy_retry, on, .element = WEIR_TYPE_ENUM,
            .preset = "connect,timeout,closed,bad_answer,429,500,502,503,504",
            .choices = WEIR_CHOICES(retry_reasons),
            .help = "Only for these reasons of those that the upstream lists"),
};

static const struct weir_option options[] = {
    WEIR_UPSTREAM(struct proxy_conf, to, .required = true, .shorthand = true,
            .help = "One of `upstreams`"),
    WEIR_TEMPLATE(struct proxy_conf, path, .context = WEIR_CONTEXT_TARGET,
            .help = "Path to ask for, \"/app/{path.rest}\"; the query follows unless one is given; "
                    "the request's own unless given"),
    WEIR_TEMPLATE(struct proxy_conf, host, .context = WEIR_CONTEXT_HEADER,
            .help = "Host to ask for; the request's own unless given"),
    WEIR_ENUM(struct proxy_conf, forwarded, .preset = "x-forwarded",
            .choices = WEIR_CHOICES(tells),
            .help = "Fields that tell the upstream who asks: X-Forwarded-*, Forwarded (RFC 7239), "
                    "both or none"),
    WEIR_BOOL(struct proxy_conf, proxy_status, .preset = "false",
            .help = "Say in Proxy-Status (RFC 9209) what became of the request"),
    WEIR_BOOL(struct proxy_conf, next_hop, .preset = "false",
            .help = "Say there, too, which target was asked"),
    WEIR_OBJECT(struct proxy_conf, headers, struct proxy_headers,
            .members = WEIR_OPTIONS(struct proxy_headers, header_options),
            .help = "Changes of fields on their way to the upstream, and of its answer's"),
    WEIR_OBJECT(struct proxy_conf, retry, struct proxy_retry,
            .members = WEIR_OPTIONS(struct proxy_retry, retry_options),
            .help = "Narrows the upstream's own `retry`"),
    WEIR_LIST(struct proxy_conf, intercept, .element = WEIR_TYPE_STATUS,
            .help = "Statuses of the upstream that get the server's own error page, \"502\", "
                    "\"5xx\""),
    WEIR_BOOL(struct proxy_conf, buffering, .preset = "false",
            .help = "Keep answers that clients are slow to read, in memory and then in a file, so "
                    "that they do not hold the upstream; limits.body_buffer does that for "
                    "requests"),
    WEIR_LIST(struct proxy_conf, upgrade, .element = WEIR_TYPE_STRING,
            .help = "Protocols that a client may go on in through a tunnel, \"websocket\"; "
                    "\"*\": any but HTTP and TLS"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = pass_on },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("proxy", "1.0.0", "Passes requests on to upstreams"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "proxy",
            .options = WEIR_OPTIONS(struct proxy_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Passes requests on to an upstream",
            .state_bytes = sizeof(struct proxy_state),
            .conf_check = check }),
};
