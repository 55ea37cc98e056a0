/* SPDX-License-Identifier: MIT */
/* Answers with the server's figures, in a format that Prometheus reads:
 *     { "match": "/metrics", "handle": "metrics" } */
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "exposition.h"

enum format {
    FORMAT_AUTO, /* by Accept */
    FORMAT_PROMETHEUS,
    FORMAT_OPENMETRICS,
};

struct metrics_conf {
    int format;
};

/* ---- which format ------------------------------------------------------------------------ */

/* The weight of a range in thousandths (RFC 9110 section 12.4.2); `parameters` are what follows
 * its type. */
static unsigned
weight(struct weir_str parameters)
{
    struct weir_str parameter;
    while (weir_str_split(&parameters, ';', &parameter)) {
        const char *p = parameter.ptr;
        if (parameter.len < 3 || (p[0] | 0x20) != 'q' || p[1] != '=' || p[2] != '0') {
            continue;
        }
        unsigned value = 0, unit = 100;
        for (size_t i = 4; i < parameter.len && unit > 0; i++, unit /= 10) {
            value += p[i] >= '0' && p[i] <= '9' ? unit * (unsigned)(p[i] - '0') : 0;
        }
        return value;
    }
    return 1000;
}

/* OpenMetrics is for whoever names it, and likes it at least as well as plain text. */
static enum exposition_format
choose(const struct weir_request *request)
{
    unsigned open_weight = 0, text_weight = 0;
    struct weir_str name, value, range;
    for (uint32_t i = 0; weir_request_field_at(request, i, &name, &value); i++) {
        while (weir_str_eq_icase(name, WEIR_STR("Accept")) && value.ptr != NULL &&
                weir_str_split(&value, ',', &range)) {
            struct weir_str type;
            if (!weir_str_split(&range, ';', &type)) {
                continue;
            }
            unsigned liked = weight(range);
            if (weir_str_eq_icase(type, WEIR_STR("application/openmetrics-text"))) {
                open_weight = liked > open_weight ? liked : open_weight;
            } else if (weir_str_eq_icase(type, WEIR_STR("text/plain"))) {
                text_weight = liked > text_weight ? liked : text_weight;
            }
        }
    }
    return open_weight > 0 && open_weight >= text_weight ? EXPOSITION_OPENMETRICS
                                                         : EXPOSITION_PROMETHEUS;
}

/* ---- answering --------------------------------------------------------------------------- */

static enum weir_verdict
answer(struct weir_request *request, const struct metrics_conf *conf,
        const struct exposition *text)
{
    enum weir_verdict verdict = weir_reply_text(request, 200, exposition_type(text->format),
            weir_str_make(text->bytes, text->len));
    if (verdict != WEIR_DONE) {
        return verdict;
    }
    int r = weir_reply_set(request, WEIR_STR("Cache-Control"), WEIR_STR("no-store"));
    if (r == 0 && conf->format == FORMAT_AUTO) {
        r = weir_reply_add(request, WEIR_STR("Vary"), WEIR_STR("Accept"));
    }
    return r < 0 ? WEIR_FAILED : WEIR_DONE;
}

static enum weir_verdict
metrics(struct weir_request *request, const void *conf_)
{
    const struct metrics_conf *conf = conf_;
    struct weir_str method = weir_request_method(request);
    if (!weir_str_eq(method, WEIR_STR("GET")) && !weir_str_eq(method, WEIR_STR("HEAD"))) {
        enum weir_verdict verdict = weir_reply_error(request, 405);
        return verdict == WEIR_DONE &&
                        weir_reply_set(request, WEIR_STR("Allow"), WEIR_STR("GET, HEAD")) < 0
                ? WEIR_FAILED
                : verdict;
    }
    enum exposition_format format = conf->format == FORMAT_AUTO ? choose(request)
            : conf->format == FORMAT_OPENMETRICS                ? EXPOSITION_OPENMETRICS
                                                                : EXPOSITION_PROMETHEUS;
    struct exposition text;
    exposition_init(&text, format);
    int r = weir_metric_each(exposition_add, &text);
    r = r == 0 ? exposition_end(&text) : r;
    enum weir_verdict verdict = r == 0 ? answer(request, conf, &text)
                                       : weir_reply_error(request, 503);
    exposition_fini(&text);
    return verdict;
}

static const struct weir_choice formats[] = {
    { "auto", FORMAT_AUTO },
    { "prometheus", FORMAT_PROMETHEUS },
    { "openmetrics", FORMAT_OPENMETRICS },
};

static const struct weir_option options[] = {
    WEIR_ENUM(struct metrics_conf, format, .preset = "auto", .choices = WEIR_CHOICES(formats),
            .shorthand = true,
            .help = "Prometheus's text format 0.0.4, OpenMetrics 1.0.0, or what the field Accept "
                    "asks for"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = metrics },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("metrics", "1.0.0", "Answers with the server's figures"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "metrics",
            .options = WEIR_OPTIONS(struct metrics_conf, options),
            .help = "Answers with the server's figures, in a format that Prometheus reads",
            .hooks = WEIR_HOOKS(hooks) }),
};
