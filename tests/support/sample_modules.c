/* SPDX-License-Identifier: MIT */
#include "support/sample_modules.h"

#include "base/assert.h"
#include "module/loader.h"

int probe_checks;

static enum weir_verdict
nothing(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_NEXT;
}

static enum weir_verdict
nothing_filtered(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    (void)filter;
    return WEIR_NEXT;
}

static enum weir_verdict
nothing_connected(struct weir_connection *connection, const void *conf)
{
    (void)connection;
    (void)conf;
    return WEIR_NEXT;
}

static const struct weir_hook on_content[] = { { .on = WEIR_ON_CONTENT, .request = nothing } };
static const struct weir_hook on_access[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_AUTHORIZE, .request = nothing }
};
static const struct weir_hook on_limit[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_LIMIT, .request = nothing }
};
static const struct weir_hook on_log[] = { { .on = WEIR_ON_LOG, .request = nothing } };
static const struct weir_hook on_head[] = { { .on = WEIR_ON_HEAD, .request = nothing } };
static const struct weir_hook on_accept[] = { { .on = WEIR_ON_ACCEPT,
        .connection = nothing_connected } };
static const struct weir_hook on_reply[] = {
    { .on = WEIR_ON_REPLY_HEAD, .request = nothing },
    { .on = WEIR_ON_REPLY_BODY, .stage = WEIR_STAGE_ENCODE, .filter = nothing_filtered },
};
static const struct weir_hook on_log_and_content[] = {
    { .on = WEIR_ON_LOG, .request = nothing },
    { .on = WEIR_ON_CONTENT, .request = nothing },
};

/* static */

struct static_conf {
    struct weir_str root, strip, fallback, cache_control;
    struct weir_list index, try_, precompressed;
    bool listing, hidden, symlinks;
};

static const struct weir_option static_options[] = {
    WEIR_PATH(struct static_conf, root, .required = true, .shorthand = true,
            .help = "Directory that is served"),
    WEIR_STRING(struct static_conf, strip, .help = "Prefix taken off the path"),
    WEIR_LIST(struct static_conf, index, .preset = "index.html"),
    WEIR_LIST(struct static_conf, try_, .key = "try", .element = WEIR_TYPE_TEMPLATE,
            .context = WEIR_CONTEXT_PATH),
    WEIR_STRING(struct static_conf, fallback, .optional = true),
    WEIR_BOOL(struct static_conf, listing, .preset = "false"),
    WEIR_LIST(struct static_conf, precompressed),
    WEIR_STRING(struct static_conf, cache_control),
    WEIR_BOOL(struct static_conf, hidden, .preset = "false"),
    WEIR_BOOL(struct static_conf, symlinks, .preset = "false"),
};

/* respond, redirect */

struct respond_conf {
    struct weir_status status;
    const struct weir_template *body;
    struct weir_str type;
};

static const struct weir_option respond_options[] = {
    WEIR_STATUS(struct respond_conf, status, .preset = "200", .single = true),
    WEIR_TEMPLATE(struct respond_conf, body, .shorthand = true),
    WEIR_STRING(struct respond_conf, type, .preset = "text/plain"),
};

struct redirect_conf {
    const struct weir_template *to;
    struct weir_status status;
};

static const struct weir_option redirect_options[] = {
    WEIR_TEMPLATE(struct redirect_conf, to, .required = true, .shorthand = true,
            .context = WEIR_CONTEXT_TARGET, .help = "Where to"),
    WEIR_STATUS(struct redirect_conf, status, .preset = "308", .single = true),
};

/* headers */

struct changes {
    struct weir_map set, add;
    struct weir_list remove;
};

struct headers_conf {
    struct changes request, response;
};

static const struct weir_option change_options[] = {
    WEIR_MAP(struct changes, set, .element = WEIR_TYPE_TEMPLATE, .context = WEIR_CONTEXT_HEADER,
            .keys = WEIR_KEYS_FIELD),
    WEIR_MAP(struct changes, add, .element = WEIR_TYPE_TEMPLATE, .context = WEIR_CONTEXT_HEADER,
            .keys = WEIR_KEYS_FIELD, .merge = WEIR_MERGE_APPEND),
    WEIR_LIST(struct changes, remove, .merge = WEIR_MERGE_APPEND),
};

static const struct weir_option headers_options[] = {
    WEIR_OBJECT(struct headers_conf, request, struct changes,
            .members = WEIR_OPTIONS(struct changes, change_options)),
    WEIR_OBJECT(struct headers_conf, response, struct changes,
            .members = WEIR_OPTIONS(struct changes, change_options)),
};

/* access_log, error_pages, access, rate_limit */

struct access_log_conf {
    struct weir_str file;
    int format;
};

static const struct weir_choice log_formats[] = { { "json", 1 }, { "combined", 2 } };

static const struct weir_option access_log_options[] = {
    WEIR_PATH(struct access_log_conf, file, .shorthand = true),
    WEIR_ENUM(struct access_log_conf, format, .preset = "json",
            .choices = WEIR_CHOICES(log_formats)),
};

struct error_pages_conf {
    struct weir_map pages;
};

static const struct weir_option error_pages_options[] = {
    WEIR_MAP(struct error_pages_conf, pages, .rest = true, .keys = WEIR_KEYS_STATUS),
};

struct access_conf {
    struct weir_list allow, deny;
};

static const struct weir_option access_options[] = {
    WEIR_LIST(struct access_conf, allow, .element = WEIR_TYPE_NETWORK),
    WEIR_LIST(struct access_conf, deny, .element = WEIR_TYPE_NETWORK,
            .merge = WEIR_MERGE_APPEND),
};

struct rate_limit_conf {
    struct weir_rate rate;
    uint64_t burst;
    const struct weir_template *key;
    bool dry_run;
};

static const struct weir_option rate_limit_options[] = {
    WEIR_RATE(struct rate_limit_conf, rate, .required = true, .help = "How often"),
    WEIR_COUNT(struct rate_limit_conf, burst, .preset = "1"),
    WEIR_TEMPLATE(struct rate_limit_conf, key, .preset = "{client.ip}"),
    WEIR_BOOL(struct rate_limit_conf, dry_run, .preset = "false"),
};

/* probe */

static const struct weir_choice words[] = { { "red", 1 }, { "green", 2 }, { "blue", 3 } };

static const struct weir_option inner_options[] = {
    { .type = WEIR_TYPE_INT,
            .field = "depth",
            .offset = 0,
            .bytes = sizeof(int64_t),
            .preset = "3",
            .min = 1,
            .max = 9 },
    { .type = WEIR_TYPE_STRING,
            .field = "name",
            .offset = sizeof(int64_t),
            .bytes = sizeof(struct weir_str) },
};

static const struct weir_option step_options[] = {
    WEIR_STRING(struct probe_step, name, .required = true, .help = "What it is called"),
    WEIR_DURATION(struct probe_step, wait_ns, .key = "wait", .preset = "1s"),
};

static const struct weir_option probe_options[] = {
    WEIR_BOOL(struct probe_conf, flag, .preset = "true"),
    WEIR_INT(struct probe_conf, number, .preset = "7", .min = -5, .max = 100),
    WEIR_COUNT(struct probe_conf, count, .preset = "false"),
    WEIR_SIZE(struct probe_conf, size_bytes, .key = "size", .preset = "64k"),
    WEIR_DURATION(struct probe_conf, time_ns, .key = "time", .preset = "30s"),
    WEIR_RATE(struct probe_conf, rate, .preset = "10/s"),
    WEIR_STRING(struct probe_conf, text, .preset = "x", .shorthand = true),
    WEIR_PATH(struct probe_conf, file),
    WEIR_SECRET(struct probe_conf, secret),
    WEIR_POOL(struct probe_conf, pool, .preset = "default"),
    WEIR_ENUM(struct probe_conf, word, .preset = "green", .choices = WEIR_CHOICES(words)),
    WEIR_STATUS(struct probe_conf, status, .preset = "4xx"),
    WEIR_NETWORK(struct probe_conf, network, .preset = "10.0.0.0/8"),
    WEIR_LIST(struct probe_conf, words, .preset = "a, b"),
    WEIR_LIST(struct probe_conf, deny, .element = WEIR_TYPE_NETWORK,
            .merge = WEIR_MERGE_APPEND),
    WEIR_MAP(struct probe_conf, set),
    WEIR_MAP(struct probe_conf, add, .merge = WEIR_MERGE_APPEND, .keys = WEIR_KEYS_FIELD),
    WEIR_TEMPLATE(struct probe_conf, template_, .key = "template", .preset = "Hi {client.ip}"),
    WEIR_REGEX(struct probe_conf, regex, .optional = true),
    { .type = WEIR_TYPE_OBJECT,
            .field = "inner",
            .offset = (uint32_t)offsetof(struct probe_conf, inner),
            .bytes = sizeof(((struct probe_conf *)0)->inner),
            .members = { inner_options, 2, sizeof(inner_options[0]),
                    sizeof(((struct probe_conf *)0)->inner) } },
    WEIR_OBJECTS(struct probe_conf, steps, .merge = WEIR_MERGE_BY_KEY,
            .members = WEIR_OPTIONS(struct probe_step, step_options)),
};

static int
probe_check(const void *conf, struct weir_conf_report *report)
{
    const struct probe_conf *probe = conf;
    probe_checks++;
    if (probe->number == 13) {
        weir_conf_error(report, "number", "thirteen is unlucky");
        return -1;
    }
    if (probe->number == 12) {
        weir_conf_warning(report, "number", "twelve is nearly thirteen");
    }
    for (size_t i = 0; i < probe->words.count; i++) {
        if (weir_str_eq(WEIR_LIST_AT(struct weir_str, &probe->words, i), WEIR_STR("bad"))) {
            char option[32] = "words[0]";
            option[6] = (char)('0' + i % 10);
            weir_conf_error(report, option, "a bad word");
        }
    }
    return 0;
}

#define MODULE(symbol, name_, summary, ...)                                             \
    static const struct weir_module symbol = { WEIR_MODULE_HEAD(name_, "1.0", summary), \
        __VA_ARGS__ }

MODULE(static_module, "static", "Files",
        WEIR_HANDLERS({ .name = "static",
                .options = WEIR_OPTIONS(struct static_conf, static_options),
                .hooks = WEIR_HOOKS(on_content) }));
MODULE(respond_module, "respond", "Answers",
        WEIR_HANDLERS({ .name = "respond",
                .options = WEIR_OPTIONS(struct respond_conf, respond_options),
                .hooks = WEIR_HOOKS(on_content) }));
MODULE(redirect_module, "redirect", "Redirects",
        WEIR_HANDLERS({ .name = "redirect",
                .options = WEIR_OPTIONS(struct redirect_conf, redirect_options),
                .hooks = WEIR_HOOKS(on_content) }));
MODULE(headers_module, "headers", "Header fields",
        WEIR_HANDLERS({ .name = "headers",
                .options = WEIR_OPTIONS(struct headers_conf, headers_options),
                .hooks = WEIR_HOOKS(on_reply) }));
MODULE(access_log_module, "access_log", "Access log",
        WEIR_HANDLERS({ .name = "access_log",
                .options = WEIR_OPTIONS(struct access_log_conf, access_log_options),
                .hooks = WEIR_HOOKS(on_log) }));
MODULE(error_pages_module, "error_pages", "Error pages",
        WEIR_HANDLERS({ .name = "error_pages",
                .options = WEIR_OPTIONS(struct error_pages_conf, error_pages_options),
                .hooks = WEIR_HOOKS(on_reply) }));
MODULE(access_module, "access", "Access by address",
        WEIR_HANDLERS({ .name = "access",
                .options = WEIR_OPTIONS(struct access_conf, access_options),
                .hooks = WEIR_HOOKS(on_access) }));
MODULE(rate_limit_module, "rate_limit", "Rates",
        WEIR_HANDLERS({ .name = "rate_limit",
                .options = WEIR_OPTIONS(struct rate_limit_conf, rate_limit_options),
                .hooks = WEIR_HOOKS(on_limit) }));
MODULE(metrics_module, "metrics", "Metrics",
        WEIR_HANDLERS({ .name = "metrics", .hooks = WEIR_HOOKS(on_log_and_content) }));
MODULE(probe_module, "probe", "An option of every type",
        WEIR_HANDLERS({ .name = "probe",
                .options = WEIR_OPTIONS(struct probe_conf, probe_options),
                .hooks = WEIR_HOOKS(on_log_and_content),
                .conf_check = probe_check }));
MODULE(phases_module, "phases", "Hooks of single phases",
        WEIR_HANDLERS({ .name = "at_accept", .hooks = WEIR_HOOKS(on_accept) },
                { .name = "at_head", .hooks = WEIR_HOOKS(on_head) },
                { .name = "at_log",
                        .options = WEIR_OPTIONS(struct access_log_conf, access_log_options),
                        .hooks = WEIR_HOOKS(on_log) }));
MODULE(twin_module, "twin", "A handler that another module has too",
        WEIR_HANDLERS({ .name = "access", .hooks = WEIR_HOOKS(on_access) }));
MODULE(proxy_module, "proxy", "Stands for proxy",
        WEIR_HANDLERS({ .name = "proxy", .hooks = WEIR_HOOKS(on_content) }));
MODULE(asgi_module, "asgi", "Stands for asgi",
        WEIR_HANDLERS({ .name = "asgi", .hooks = WEIR_HOOKS(on_content) }));

void
sample_modules_register(bool all)
{
    static const struct weir_module *const modules[] = { &static_module, &respond_module,
        &redirect_module, &headers_module, &access_log_module, &error_pages_module,
        &access_module, &metrics_module, &probe_module, &phases_module, &twin_module,
        &rate_limit_module, &proxy_module, &asgi_module };
    size_t count = sizeof(modules) / sizeof(modules[0]) - (all ? 0 : 3);
    for (size_t i = 0; i < count; i++) {
        struct loader_mistake mistake;
        int r = loader_register(modules[i], &mistake);
        WEIR_ASSERT(r == 0);
    }
}
