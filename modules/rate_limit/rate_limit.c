/* SPDX-License-Identifier: MIT */
/* How often a client may ask (F96):
 *     { "rate_limit": { "rate": "10/s", "burst": 20 } }
 *
 * One limit for the whole server: all workers count in one table (table.h), in memory that
 * outlives them. Nothing on a request's way allocates, locks or waits. */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <weir/internal.h>
#include <weir/log.h>
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>
#include <weir/zone.h>

#include "hash.h"
#include "key.h"
#include "table.h"

#define NS_PER_S UINT64_C(1000000000)

/* No more than one line in that time from each rule in each worker, whatever clients do. */
#define SAID_EVERY_NS NS_PER_S

/* What the log was last told of a rule. Any loop. */
struct notice {
    _Atomic(uint64_t) said_ns; /* 0: nothing yet */
    _Atomic(uint64_t) unsaid;  /* requests since then */
};

struct rate_conf {
    struct weir_rate rate;
    int64_t burst; /* 0: as many as the rate names */
    struct weir_list key_parts;
    struct weir_str zone; /* "": of these options alone */
    int64_t max_keys, ipv6_prefix;
    struct weir_status status;
    bool is_dry_run, has_fields;

    /* conf_open()'s. */
    struct gcra gcra;
    struct key key;
    struct table table;
    struct notice *notice; /* owned */
};

enum result {
    NOT_ASKED, /* an internal request, or one without a key */
    ALLOWED,
    LIMITED,
    DRY_RUN, /* would be limited */
};

/* Of one request. */
struct rate_state {
    uint64_t ahead; /* of its client: gcra.h */
    enum result result;
};

enum {
    M_ALLOWED,
    M_LIMITED,
    M_DRY_RUN,
    M_KEYLESS,
    M_UNCOUNTED,
    M_EVICTED
};

#define RESULT(value_)                                                                       \
    {                                                                                        \
        .type = WEIR_METRIC_COUNTER, .labels = WEIR_METRIC_BY_SERVER | WEIR_METRIC_BY_ROUTE, \
        .name = "weir_rate_limit_requests_total",                                            \
        .help = "Requests that met a rate limit, by what became of them", .label = "result", \
        .value = (value_)                                                                    \
    }

static const struct weir_own_metric metrics[] = {
    [M_ALLOWED] = RESULT("allowed"),
    [M_LIMITED] = RESULT("limited"),
    [M_DRY_RUN] = RESULT("dry_run"),
    [M_KEYLESS] = RESULT("keyless"),
    [M_UNCOUNTED] = RESULT("uncounted"),
    [M_EVICTED] = { .type = WEIR_METRIC_COUNTER,
            .labels = WEIR_METRIC_BY_SERVER | WEIR_METRIC_BY_ROUTE,
            .name = "weir_rate_limit_evictions_total",
            .help = "Clients that were forgotten before their time, for want of room" },
};

/* ---- what a configuration is ------------------------------------------------------------- */

static uint64_t
burst_of(const struct rate_conf *conf)
{
    uint64_t count = conf->rate.count < GCRA_BURST_MAX ? conf->rate.count : GCRA_BURST_MAX;
    return conf->burst != 0 ? (uint64_t)conf->burst : count;
}

/* What everybody who counts in one table must agree on. */
static uint64_t
layout_of(const struct rate_conf *conf)
{
    static const uint64_t no_secret[2];
    const uint64_t all[] = { TABLE_LAYOUT, conf->rate.count, conf->rate.per_ns,
        burst_of(conf) };
    return hash_bytes(no_secret, all, sizeof(all));
}

/* Without a name of its own a table is that of all uses that count the same. */
static struct weir_str
zone_of(const struct rate_conf *conf, char text[WEIR_ZONE_NAME_BYTES])
{
    if (conf->zone.len > 0) {
        return conf->zone;
    }
    uint64_t hash[2] = { layout_of(conf),
        (uint64_t)conf->max_keys << 8 | (uint64_t)conf->ipv6_prefix };
    for (size_t i = 0; i < conf->key_parts.count; i++) {
        struct weir_str part = weir_template_source(key_part(&conf->key_parts, i));
        hash[1] = hash_bytes(hash, part.ptr, part.len);
    }
    int len = snprintf(text, WEIR_ZONE_NAME_BYTES, "unnamed-%016" PRIx64, hash[1]);
    return weir_str_make(text, (size_t)len);
}

static void
check_rate(const struct rate_conf *conf, struct weir_conf_report *report)
{
    struct gcra gcra;
    if (conf->rate.count == UINT64_MAX) {
        weir_conf_error(report, "rate",
                "a limit without a rate is none: to take it away, write `\"rate_limit\": "
                "false`");
    } else if (gcra_init(&gcra, conf->rate, burst_of(conf)) < 0) {
        weir_conf_error(report, "rate", "rates are from 1 a month to %llu/s",
                (unsigned long long)GCRA_PER_SECOND_MAX);
    }
}

static void
check_key(const struct rate_conf *conf, struct weir_conf_report *report)
{
    if (conf->key_parts.count == 0 || conf->key_parts.count > KEY_PARTS_MAX) {
        weir_conf_error(report, "key", "a key has 1 to %u parts", KEY_PARTS_MAX);
    }
    for (size_t i = 0; i < conf->key_parts.count; i++) {
        if (weir_template_source(key_part(&conf->key_parts, i)).len == 0) {
            weir_conf_error(report, "key",
                    "a part of a key that is empty tells nobody apart, and requests without a key "
                    "are not limited; preset: \"{client.ip}\"");
        }
        if (key_hides_address(key_part(&conf->key_parts, i))) {
            weir_conf_warning(report, "key",
                    "no `ipv6_prefix` is taken of {client.ip} among other text, so that who has "
                    "a network has as many limits as addresses: make it a part of its own, "
                    "[\"{client.ip}\", ...]");
        }
    }
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct rate_conf *conf = conf_;
    char text[WEIR_ZONE_NAME_BYTES];
    check_rate(conf, report);
    check_key(conf, report);
    if (conf->status.first < 400) {
        weir_conf_error(report, "status", "%u is no error: 400 to 599", conf->status.first);
    }
    return weir_zone_declare(report, conf->zone.len > 0 ? "zone" : "max_keys",
            zone_of(conf, text), table_bytes((uint64_t)conf->max_keys), layout_of(conf));
}

static int
open_conf(void *conf_, struct weir_conf_report *report)
{
    struct rate_conf *conf = conf_;
    char text[WEIR_ZONE_NAME_BYTES];
    uint64_t random[2];
    int r = gcra_init(&conf->gcra, conf->rate, burst_of(conf));
    if (r < 0) {
        return r;
    }
    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        return -errno;
    }
    void *memory = weir_zone_open(report, zone_of(conf, text));
    if (memory == NULL) {
        return -ENOMEM;
    }
    conf->notice = calloc(1, sizeof(*conf->notice));
    if (conf->notice == NULL) {
        return -ENOMEM;
    }
    key_init(&conf->key, &conf->key_parts, (unsigned)conf->ipv6_prefix);
    table_open(&conf->table, memory, (uint64_t)conf->max_keys, random);
    return 0;
}

static void
close_conf(void *conf_)
{
    struct rate_conf *conf = conf_;
    free(conf->notice);
    conf->notice = NULL;
}

/* ---- requests ---------------------------------------------------------------------------- */

static uint64_t
to_seconds(uint64_t ns)
{
    return ns / NS_PER_S + (ns % NS_PER_S != 0);
}

/* The first one, and then how many there were. */
static void
say(const struct rate_conf *conf, const struct weir_request *request)
{
    uint64_t now_ns = weir_request_now_ns(request);
    uint64_t said_ns = atomic_load_explicit(&conf->notice->said_ns, memory_order_relaxed);
    if ((said_ns != 0 && now_ns - said_ns < SAID_EVERY_NS) ||
            !atomic_compare_exchange_strong(&conf->notice->said_ns, &said_ns, now_ns)) {
        atomic_fetch_add_explicit(&conf->notice->unsaid, 1, memory_order_relaxed);
        return;
    }
    uint64_t unsaid = atomic_exchange(&conf->notice->unsaid, 0);
    char more[64] = "";
    if (unsaid > 0) {
        snprintf(more, sizeof(more), "; so were %" PRIu64 " since the last line", unsaid);
    }
    char text[WEIR_ZONE_NAME_BYTES];
    weir_request_log(request, conf->is_dry_run ? WEIR_LOG_INFO : WEIR_LOG_WARN,
            "over the limit \"%.*s\" of %" PRIu64 " in %" PRIu64 " s, %" PRIu64
            " at once: %s%s",
            WEIR_STR_ARG(zone_of(conf, text)), conf->rate.count, conf->rate.per_ns / NS_PER_S,
            burst_of(conf), conf->is_dry_run ? "served all the same (dry run)" : "refused",
            more);
}

static enum weir_verdict
refuse(const struct rate_conf *conf, struct weir_request *request, uint64_t ahead)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64,
            to_seconds(gcra_wait_ns(&conf->gcra, ahead)));
    enum weir_verdict verdict = weir_reply_error(request, conf->status.first);
    if (verdict == WEIR_DONE) {
        /* Without it the answer is still a good one. */
        int ignored = weir_reply_set(request, WEIR_STR("Retry-After"),
                weir_str_make(text, (size_t)len));
        (void)ignored;
    }
    return verdict;
}

static enum weir_verdict
admit(struct weir_request *request, const void *conf_)
{
    const struct rate_conf *conf = conf_;
    struct rate_state *state = weir_request_state(request);
    uint64_t hash;
    if (weir_request_depth(request) > 0) {
        return WEIR_NEXT; /* the client's own was counted */
    }
    int r = key_hash(&conf->key, request, conf->table.secret, &hash);
    if (r < 0) {
        return weir_reply_error(request, 503);
    }
    if (r == 0) {
        weir_metric_add(request, M_KEYLESS, 1);
        return WEIR_NEXT;
    }
    uint64_t now = gcra_time(&conf->gcra, weir_request_now_ns(request));
    struct table_answer answer = table_take(&conf->table, &conf->gcra, hash, now);
    state->ahead = answer.ahead;
    if (answer.was_full) {
        weir_metric_add(request, M_EVICTED, 1);
    }
    if (answer.is_allowed) {
        state->result = ALLOWED;
        weir_metric_add(request, answer.is_counted ? M_ALLOWED : M_UNCOUNTED, 1);
        return WEIR_NEXT;
    }
    state->result = conf->is_dry_run ? DRY_RUN : LIMITED;
    weir_metric_add(request, conf->is_dry_run ? M_DRY_RUN : M_LIMITED, 1);
    say(conf, request);
    return conf->is_dry_run ? WEIR_NEXT : refuse(conf, request, answer.ahead);
}

/* RateLimit-Policy and RateLimit, as the draft of the IETF's httpapi group has them. */
static enum weir_verdict
tell(struct weir_request *request, const void *conf_)
{
    const struct rate_conf *conf = conf_;
    const struct rate_state *state = weir_request_state(request);
    if (!conf->has_fields || state->result == NOT_ASKED) {
        return WEIR_NEXT;
    }
    char policy[160], left[160];
    struct weir_str name = conf->zone.len > 0 ? conf->zone : WEIR_STR("default");
    int name_len = (int)(name.len < WEIR_ZONE_NAME_BYTES ? name.len : WEIR_ZONE_NAME_BYTES);
    int policy_len = snprintf(policy, sizeof(policy), "\"%.*s\";q=%" PRIu64 ";w=%" PRIu64,
            name_len, name.ptr, burst_of(conf),
            to_seconds(gcra_reset_ns(&conf->gcra, conf->gcra.burst)));
    int left_len = snprintf(left, sizeof(left), "\"%.*s\";r=%" PRIu64 ";t=%" PRIu64, name_len,
            name.ptr, gcra_remaining(&conf->gcra, state->ahead),
            to_seconds(gcra_reset_ns(&conf->gcra, state->ahead)));
    int r = weir_reply_add(request, WEIR_STR("RateLimit-Policy"),
            weir_str_make(policy, (size_t)policy_len));
    r = r < 0 ? r
              : weir_reply_add(request, WEIR_STR("RateLimit"),
                        weir_str_make(left, (size_t)left_len));
    (void)r; /* without them the answer is still a good one */
    return WEIR_NEXT;
}

/* ---- variables --------------------------------------------------------------------------- */

static struct weir_str
result_value(struct weir_request *request, const void *conf, struct weir_str argument)
{
    const struct rate_state *state = weir_request_state(request);
    (void)conf;
    (void)argument;
    switch (state->result) {
    case LIMITED:
        return WEIR_STR("limited");
    case DRY_RUN:
        return WEIR_STR("dry_run");
    case NOT_ASKED:
    case ALLOWED:
        break;
    }
    return WEIR_STR("");
}

static struct weir_str
zone_value(struct weir_request *request, const void *conf_, struct weir_str argument)
{
    const struct rate_conf *conf = conf_;
    return result_value(request, conf, argument).len > 0 ? conf->zone : WEIR_STR("");
}

static const struct weir_variable variables[] = {
    { "result", result_value,
            "`limited`, or `dry_run` for what a dry run would limit; else nothing" },
    { "zone", zone_value, "The zone of the limit that said so, where it has a name" },
};

/* ---- tables ------------------------------------------------------------------------------ */

static const struct weir_option options[] = {
    WEIR_RATE(struct rate_conf, rate, .required = true, .shorthand = true,
            .help = "How often a client may ask, on average"),
    WEIR_INT(struct rate_conf, burst, .min = 1, .max = (int64_t)GCRA_BURST_MAX,
            .help = "How many requests may come at once; not given: as many as the rate names"),
    WEIR_LIST(struct rate_conf, key_parts, .key = "key", .element = WEIR_TYPE_TEMPLATE,
            .preset = "{client.ip}",
            .help = "Who a client is; requests whose key is empty are not limited"),
    WEIR_STRING(struct rate_conf, zone,
            .help = "Name of what is counted; uses of one name count together"),
    WEIR_INT(struct rate_conf, max_keys, .preset = "100000", .min = 1,
            .max = (int64_t)TABLE_KEYS_MAX,
            .help = "Clients that there is room for, at 16 bytes each"),
    WEIR_INT(struct rate_conf, ipv6_prefix, .preset = "64", .min = 1, .max = 128,
            .help = "Bits of an IPv6 address that tell clients apart"),
    WEIR_STATUS(struct rate_conf, status, .preset = "429", .single = true,
            .help = "Status of the answer to what is over the limit"),
    WEIR_BOOL(struct rate_conf, is_dry_run, .key = "dry_run", .preset = "false",
            .help = "Counts and logs what is over the limit, and serves it"),
    WEIR_BOOL(struct rate_conf, has_fields, .key = "fields", .preset = "false",
            .help = "Tells clients of the limit, in RateLimit and RateLimit-Policy"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_LIMIT, .request = admit },
    { .on = WEIR_ON_REPLY_HEAD, .request = tell },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("rate_limit", "1.0.0", "Limits how often clients may ask"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "rate_limit",
            .options = WEIR_OPTIONS(struct rate_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers 429 to clients that ask too often",
            .state_bytes = sizeof(struct rate_state),
            .conf_check = check,
            .conf_open = open_conf,
            .conf_close = close_conf,
            .variables = WEIR_VARIABLES(variables) }),
    .metrics = WEIR_METRICS(metrics),
};
