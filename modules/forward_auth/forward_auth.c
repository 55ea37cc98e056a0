/* SPDX-License-Identifier: MIT */
/* An upstream decides who may pass:
 *     { "forward_auth": { "to": "auth", "path": "/check", "copy": ["X-User"] } }
 *
 *     request -- fields of `copy` taken off --> asked, without its body (ask.c)
 *                                                 | 2xx
 *                                                 |--> fields of `copy` put in, goes on
 *                                                 | another status
 *                                                 |--> that answer is the client's
 *                                                 | none
 *                                                 +--> 502, 503 or 504
 *
 * Before the decision nothing of the body is read, and nothing that fails lets anybody in,
 * unless the configuration says so in so many words. */
#include "forward_auth.h"

#include <errno.h>

#include <weir/log.h>
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

struct forward_auth_state {
    struct weir_exchange *exchange;
};

/* ---- the fields that are copied ---------------------------------------------------------- */

/* As CGI and its heirs see names: case and the kind of dash do not count. */
static bool
is_same_name(struct weir_str one, struct weir_str other)
{
    if (one.len != other.len) {
        return false;
    }
    for (size_t i = 0; i < one.len; i++) {
        unsigned char a = (unsigned char)one.ptr[i], b = (unsigned char)other.ptr[i];
        a = a == '_' ? '-' : a >= 'A' && a <= 'Z' ? (unsigned char)(a | 0x20) : a;
        b = b == '_' ? '-' : b >= 'A' && b <= 'Z' ? (unsigned char)(b | 0x20) : b;
        if (a != b) {
            return false;
        }
    }
    return true;
}

static bool
is_copied(const struct forward_auth_conf *conf, struct weir_str name)
{
    for (size_t i = 0; i < conf->copy.count; i++) {
        if (is_same_name(WEIR_LIST_AT(struct weir_str, &conf->copy, i), name)) {
            return true;
        }
    }
    return false;
}

/* What a client sends under these names is not the upstream's word, whatever it decides. */
static int
take_off(struct weir_request *request, const struct forward_auth_conf *conf)
{
    struct weir_str name, value;
    uint32_t i = 0;
    while (conf->copy.count > 0 && weir_request_field_at(request, i, &name, &value)) {
        if (!is_copied(conf, name)) {
            i++;
            continue;
        }
        int r = weir_request_field_remove(request, name);
        if (r <= 0) {
            return r < 0 ? r : -EINVAL;
        }
        i = 0; /* the others have moved */
    }
    return 0;
}

static int
put_in(struct weir_request *request, const struct forward_auth_conf *conf,
        const struct weir_exchange *exchange)
{
    struct weir_str name, value;
    int r = 0;
    for (uint32_t i = 0; r == 0 && weir_exchange_field_at(exchange, i, &name, &value); i++) {
        for (size_t j = 0; r == 0 && j < conf->copy.count; j++) {
            struct weir_str wanted = WEIR_LIST_AT(struct weir_str, &conf->copy, j);
            if (weir_str_eq_icase(wanted, name)) {
                r = weir_request_field_add(request, name, value);
                break;
            }
        }
    }
    return r;
}

/* ---- the decision ------------------------------------------------------------------------ */

static enum weir_verdict
fail(struct weir_request *request, const struct forward_auth_conf *conf, unsigned status,
        struct weir_str address, struct weir_str why)
{
    if (conf->on_error == FORWARD_AUTH_ALLOWS) {
        weir_request_log(request, WEIR_LOG_WARN,
                "upstream %.*s, %.*s: %.*s: nobody decided, and it passes (`on_error`)",
                WEIR_STR_ARG(conf->to), WEIR_STR_ARG(address), WEIR_STR_ARG(why));
        return WEIR_NEXT;
    }
    weir_request_log(request, WEIR_LOG_WARN, "upstream %.*s, %.*s: %.*s: nobody decided: %u",
            WEIR_STR_ARG(conf->to), WEIR_STR_ARG(address), WEIR_STR_ARG(why), status);
    enum weir_verdict verdict = weir_reply_error(request, status);
    if (verdict == WEIR_DONE && status == 503 &&
            weir_reply_set(request, WEIR_STR("Retry-After"), WEIR_STR("1")) < 0) {
        return WEIR_FAILED;
    }
    return verdict;
}

/* An answer to HEAD says how long a body would be that there is none of. */
static enum weir_verdict
deny_without_body(struct weir_request *request, struct weir_exchange *exchange)
{
    struct weir_str name, value;
    int r = weir_reply_begin(request, weir_exchange_status(exchange));
    for (uint32_t i = 0; r == 0 && weir_exchange_field_at(exchange, i, &name, &value); i++) {
        if (!weir_str_eq_icase(name, WEIR_STR("Content-Encoding")) &&
                !weir_str_eq_icase(name, WEIR_STR("Content-Type"))) {
            r = weir_reply_add(request, name, value);
        }
    }
    if (r == 0) {
        r = weir_reply_end(request);
    }
    weir_exchange_close(exchange);
    return r < 0 ? WEIR_FAILED : WEIR_DONE;
}

static enum weir_verdict
on_answer(struct weir_request *request, const void *conf_)
{
    const struct forward_auth_conf *conf = conf_;
    const struct forward_auth_state *state = weir_request_state(request);
    struct weir_exchange *exchange = state->exchange;
    enum weir_exchange_error error = weir_exchange_error(exchange);
    unsigned status = weir_exchange_status(exchange);
    if (error != WEIR_EXCHANGE_FINE) {
        return fail(request, conf, weir_exchange_error_status(error),
                weir_exchange_address(exchange), weir_exchange_error_label(error));
    }
    if (status == 304) { /* nothing asked for that */
        weir_exchange_close(exchange);
        return fail(request, conf, 502, weir_exchange_address(exchange),
                WEIR_STR("304 is no decision"));
    }
    if (status < 200 || status > 299) {
        return conf->method == FORWARD_AUTH_HEAD ? deny_without_body(request, exchange)
                                                 : weir_exchange_adopt(exchange);
    }
    int r = put_in(request, conf, exchange);
    weir_exchange_close(exchange);
    if (r < 0) {
        weir_request_log(request, WEIR_LOG_ERROR,
                "a field of the answer cannot be copied to the request: %s: 502", strerror(-r));
        return weir_reply_error(request, 502);
    }
    return WEIR_NEXT;
}

static enum weir_verdict
decide(struct weir_request *request, const void *conf_)
{
    const struct forward_auth_conf *conf = conf_;
    struct forward_auth_state *state = weir_request_state(request);
    if (take_off(request, conf) < 0) {
        return weir_reply_error(request, 503);
    }
    int r = forward_auth_ask(request, conf, &state->exchange);
    if (r == 0) {
        return weir_exchange_wait(state->exchange, on_answer);
    }
    if (r == -EINVAL) {
        /* No fault of the upstream's, which may be well: a client that could bring this about
         * would choose not to be asked about. */
        weir_request_log(request, WEIR_LOG_WARN,
                "upstream %.*s: `path` or `host` makes something that cannot be asked: 502",
                WEIR_STR_ARG(conf->to));
        return weir_reply_error(request, 502);
    }
    return fail(request, conf, 503, WEIR_STR("-"), WEIR_STR("cannot be asked"));
}

/* ---- the configuration ------------------------------------------------------------------- */

static const struct weir_str not_copied[] = {
    WEIR_STR_INIT("connection"),
    WEIR_STR_INIT("content-length"),
    WEIR_STR_INIT("expect"),
    WEIR_STR_INIT("host"),
    WEIR_STR_INIT("keep-alive"),
    WEIR_STR_INIT("proxy-authenticate"),
    WEIR_STR_INIT("proxy-authorization"),
    WEIR_STR_INIT("proxy-connection"),
    WEIR_STR_INIT("te"),
    WEIR_STR_INIT("trailer"),
    WEIR_STR_INIT("transfer-encoding"),
    WEIR_STR_INIT("upgrade"),
};

/* Whether it has one of those, whatever a request brings: one with variables cannot be told. */
static bool
always_has(struct weir_str template_, const char *signs)
{
    return strchr(template_.ptr, '{') == NULL && strpbrk(template_.ptr, signs) != NULL;
}

/* What each request would fail for. */
static void
check_target(const struct forward_auth_conf *conf, struct weir_conf_report *report)
{
    struct weir_str path = weir_template_source(conf->path);
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
    const struct forward_auth_conf *conf = conf_;
    check_target(conf, report);
    for (size_t i = 0; i < conf->copy.count; i++) {
        struct weir_str name = WEIR_LIST_AT(struct weir_str, &conf->copy, i);
        if (!weir_str_is_token(name)) {
            weir_conf_error(report, "copy", "\"%.*s\" is no name of a field",
                    WEIR_STR_ARG(name));
        }
        for (size_t j = 0; j < sizeof(not_copied) / sizeof(not_copied[0]); j++) {
            if (is_same_name(not_copied[j], name)) {
                weir_conf_error(report, "copy", "%.*s of a request cannot be changed",
                        WEIR_STR_ARG(name));
            }
        }
    }
    if (conf->on_error == FORWARD_AUTH_ALLOWS) {
        weir_conf_warning(report, "on_error",
                "whoever comes while the upstream cannot be asked passes");
    }
    return 0;
}

static const struct weir_choice methods[] = {
    { "GET", FORWARD_AUTH_GET },
    { "HEAD", FORWARD_AUTH_HEAD },
    { "POST", FORWARD_AUTH_POST },
};

static const struct weir_choice error_choices[] = {
    { "deny", FORWARD_AUTH_DENIES },
    { "allow", FORWARD_AUTH_ALLOWS },
};

static const struct weir_option options[] = {
    WEIR_UPSTREAM(struct forward_auth_conf, to, .required = true, .shorthand = true,
            .help = "One of `upstreams`, which decides"),
    WEIR_TEMPLATE(struct forward_auth_conf, path, .context = WEIR_CONTEXT_TARGET, .preset = "/",
            .help = "Path to ask for, with a query where it needs one"),
    WEIR_TEMPLATE(struct forward_auth_conf, host, .context = WEIR_CONTEXT_HEADER,
            .help = "Host to ask for; the request's own unless given"),
    WEIR_ENUM(struct forward_auth_conf, method, .preset = "GET",
            .choices = WEIR_CHOICES(methods), .help = "Method to ask with; there is no body"),
    WEIR_LIST(struct forward_auth_conf, copy, .element = WEIR_TYPE_STRING,
            .merge = WEIR_MERGE_APPEND,
            .help = "Fields of the answer that the request gets when it passes; what the client "
                    "sends under these names is taken off"),
    WEIR_ENUM(struct forward_auth_conf, on_error, .preset = "deny",
            .choices = WEIR_CHOICES(error_choices),
            .help = "What becomes of requests when the upstream gives no answer: deny (502, 503 or "
                    "504) or, dangerously, allow"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_AUTHENTICATE, .request = decide },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("forward_auth", "1.0.0", "An upstream decides who may pass"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "forward_auth",
            .options = WEIR_OPTIONS(struct forward_auth_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Asks an upstream whether a request may pass",
            .state_bytes = sizeof(struct forward_auth_state),
            .conf_check = check }),
};
