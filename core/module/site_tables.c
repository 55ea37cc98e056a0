/* SPDX-License-Identifier: MIT */
/* One table a level. A key of SCHEMA_ANY has structure, which site.c reads. */
#include "module/site_tables.h"

#define ANY(name_, help_)                                     \
    {                                                         \
        .type = SCHEMA_ANY, .field = (name_), .help = (help_) \
    }
#define NEEDED(name_, help_)                                                    \
    {                                                                           \
        .type = SCHEMA_ANY, .field = (name_), .help = (help_), .required = true \
    }
#define LATER(name_, help_)                                            \
    {                                                                  \
        .type = SCHEMA_NOT_IN_BUILD, .field = (name_), .help = (help_) \
    }
#define TABLE(array) WEIR_OPTIONS(char, array) /* for levels that fill no struct */

static const struct weir_option top[] = {
    ANY("$schema", "Where editors find the schema of this file"),
    ANY("include", "Globs of files that hold modules, listeners, upstreams and servers"),
    ANY("workers", "Processes that serve"),
    ANY("pools", "Pools of threads for work that blocks, by name"),
    ANY("log", "The error log"),
    ANY("control", "The control socket"),
    ANY("modules", "Modules to load; nothing else is"),
    ANY("listeners", "Addresses with settings of their own, by name"),
    ANY("upstreams", "Whom to ask for answers, by name"),
    ANY("defaults", "What all listeners, servers and routes inherit"),
    ANY("servers", "Sites, by listening address and host"),
};

static const struct weir_choice auto_choices[] = { { "auto", 0 } };

static const struct weir_option workers[] = {
    WEIR_INT(struct site_workers, processes, .preset = "auto", .min = 1, .max = 1024,
            .choices = WEIR_CHOICES(auto_choices),
            .help = "Worker processes; \"auto\" is one per core"),
    WEIR_INT(struct site_workers, loops, .preset = "1", .min = 1, .max = 256,
            .help = "Event loops, each on a thread, in a worker"),
    WEIR_STRING(struct site_workers, user,
            .help = "Account that workers run as; must be given when started as root"),
    WEIR_STRING(struct site_workers, group, .help = "Group instead of the account's own"),
    WEIR_SIZE(struct site_workers, memory_bytes, .key = "memory", .min = 1 << 20,
            .max = INT64_MAX,
            .help = "Memory for requests in each worker; a quarter of the machine's, divided by "
                    "processes, unless given"),
    WEIR_PATH(struct site_workers, temp_dir, .preset = "/var/tmp",
            .help = "Directory for bodies that are too large for memory: files without a name"),
    WEIR_SIZE(struct site_workers, temp_size_bytes, .key = "temp_size", .preset = "1g",
            .min = 1 << 20, .max = INT64_MAX,
            .help = "What each worker may keep there; 507 above it"),
    WEIR_DURATION(struct site_workers, drain_timeout_ns, .key = "drain_timeout",
            .preset = "60s", .help = "The longest a stopping worker finishes what it accepted"),
    WEIR_DURATION(struct site_workers, stop_delay_ns, .key = "stop_delay", .preset = "0s",
            .zero = true,
            .help = "How long a server that was told to stop serves on, and says that it is not "
                    "ready"),
    WEIR_DURATION(struct site_workers, start_timeout_ns, .key = "start_timeout",
            .preset = "60s",
            .help = "The longest a worker may take until it serves; then it is ended, and named"),
    WEIR_DURATION(struct site_workers, stall_timeout_ns, .key = "stall_timeout",
            .preset = "10s",
            .help = "How long a module's hook may keep an event loop before the worker is taken "
                    "for stuck and replaced"),
    WEIR_COUNT(struct site_workers, max_requests, .preset = "false",
            .help = "Requests after which a worker is replaced"),
    WEIR_BOOL(struct site_workers, cpu_affinity, .preset = "false",
            .help = "Bind each worker to a core"),
};

static const struct weir_option pool[] = {
    WEIR_INT(struct site_pool, min, .preset = "2", .min = 1, .max = 10000,
            .help = "Threads that stay"),
    WEIR_INT(struct site_pool, max, .preset = "16", .min = -1, .max = 10000, .optional = true,
            .help = "Threads at most; false or -1: no limit"),
    WEIR_COUNT(struct site_pool, queue_size, .preset = "1000", .help = "Tasks that may wait"),
    WEIR_DURATION(struct site_pool, queue_timeout_ns, .key = "queue_timeout", .preset = "10s",
            .help = "The longest a task may wait"),
    WEIR_DURATION(struct site_pool, idle_timeout_ns, .key = "idle_timeout", .preset = "30s",
            .help = "Idle time after which a thread above min leaves"),
};

static const struct weir_option balance[] = {
    WEIR_TEMPLATE(struct balance_conf, hash, .preset = "{client.ip}",
            .help = "Requests with the same text go to the same target"),
    WEIR_INT(struct balance_conf, bound, .min = 100, .max = 1000, .optional = true,
            .help = "Percentage of its part of all connections that a target may have; then a "
                    "text's next target is asked"),
};

static const struct weir_choice same_sites[] = {
    { "lax", SITE_SAME_SITE_LAX },
    { "strict", SITE_SAME_SITE_STRICT },
    { "none", SITE_SAME_SITE_NONE },
};

static const struct weir_option sticky[] = {
    WEIR_STRING(struct sticky_conf, cookie, .required = true, .help = "Name of the cookie"),
    WEIR_STRING(struct sticky_conf, path, .preset = "/", .help = "Its Path"),
    WEIR_DURATION(struct sticky_conf, max_age_ns, .key = "max_age", .preset = "false",
            .min = 1000000000, .max = INT64_MAX,
            .help = "Its Max-Age; until the browser is closed unless given"),
    WEIR_BOOL(struct sticky_conf, http_only, .preset = "true",
            .help = "HttpOnly: no script reads it"),
    WEIR_BOOL(struct sticky_conf, secure, .preset = "false",
            .help = "Secure: it is sent over https alone"),
    WEIR_ENUM(struct sticky_conf, same_site, .preset = "lax",
            .choices = WEIR_CHOICES(same_sites), .help = "Its SameSite"),
    WEIR_SECRET(struct sticky_conf, secret,
            .help = "Without it whoever guesses a target's address can check the guess"),
};

static const struct weir_option upstream_timeouts[] = {
    WEIR_DURATION(struct upstream_timeouts_conf, connect_ns, .key = "connect", .preset = "5s",
            .help = "Until a connection is there; then the next target is asked"),
    WEIR_DURATION(struct upstream_timeouts_conf, send_ns, .key = "send", .preset = "30s",
            .help = "Without progress of what is sent; 504"),
    WEIR_DURATION(struct upstream_timeouts_conf, read_ns, .key = "read", .preset = "60s",
            .help = "Between two reads of an answer, and until its first byte; 504"),
    WEIR_DURATION(struct upstream_timeouts_conf, queue_ns, .key = "queue", .preset = "5s",
            .help = "The longest a request waits for a connection; 503"),
    WEIR_DURATION(struct upstream_timeouts_conf, keepalive_ns, .key = "keepalive",
            .preset = "60s",
            .help = "Idle time of a connection that is kept; less where the target says so"),
};

static const struct weir_option upstream_eject[] = {
    WEIR_COUNT(struct eject_settings, failures, .preset = "3",
            .help = "Requests in a row that a target fails before it is passed over"),
    WEIR_DURATION(struct eject_settings, within_ns, .key = "within", .preset = "10s",
            .help = "The longest from the first of them to the last"),
    WEIR_DURATION(struct eject_settings, for_ns, .key = "for", .preset = "10s",
            .help = "For how long it is passed over; twice as long each time soon after"),
    WEIR_DURATION(struct eject_settings, for_max_ns, .key = "for_max", .preset = "5m",
            .help = "The longest that it is passed over"),
    WEIR_INT(struct eject_settings, max_percent, .preset = "100", .min = 0, .max = 100,
            .help = "How many of the targets may be passed over at once"),
    WEIR_LIST(struct eject_settings, statuses, .key = "status", .element = WEIR_TYPE_STATUS,
            .help = "Answers that count as failures: \"503\", \"5xx\", \"500-504\""),
};

static const struct weir_choice retry_reasons[] = {
#define REASON(name, word) { (word), (int)WEIR_RETRY_##name },
    RETRY_REASONS(REASON)
#undef REASON
};

static const struct weir_option upstream_retry[] = {
    WEIR_COUNT(struct upstream_retry_conf, times, .preset = "1", .zero = true,
            .max = RETRY_TIMES_MAX, .help = "How often one request is sent again; 0: never"),
    WEIR_LIST(struct upstream_retry_conf, on, .element = WEIR_TYPE_ENUM,
            .preset = "connect,closed", .choices = WEIR_CHOICES(retry_reasons),
            .help = "What is worth asking another target for; only what is safe to send twice "
                    "is, and without a connection nothing was sent"),
    WEIR_INT(struct upstream_retry_conf, budget, .preset = "20", .max = 100, .optional = true,
            .help = "Percent of the requests that may be sent again; false: all"),
    WEIR_RATE(struct upstream_retry_conf, floor, .preset = "10/s",
            .help = "Of each worker, so many whatever their number is"),
};

static const struct weir_choice proxy_versions[] = {
    { "none", PROXY_NONE },
    { "v1", PROXY_V1 },
    { "v2", PROXY_V2 },
};

static const struct weir_option upstream_health[] = {
    WEIR_STRING(struct health_settings, path,
            .help = "What is asked for, with GET; without it a connection is enough"),
    WEIR_STRING(struct health_settings, host,
            .help = "What Host says; the address of the target unless given"),
    ANY("expect", "Statuses that are good, one or a list, or an object; \"2xx\" unless given"),
    WEIR_DURATION(struct health_settings, every_ns, .key = "every", .preset = "5s",
            .min = NS_PER_MS, .max = 86400 * (int64_t)NS_PER_S,
            .help = "Time from one check to the next, a tenth more or less"),
    WEIR_DURATION(struct health_settings, timeout_ns, .key = "timeout", .preset = "2s",
            .min = NS_PER_MS, .max = 3600 * (int64_t)NS_PER_S,
            .help = "The longest that a check may take"),
    WEIR_INT(struct health_settings, rise, .preset = "2", .min = 1, .max = 1000,
            .help = "Checks in a row that succeed before a target that is down is up"),
    WEIR_INT(struct health_settings, fall, .preset = "3", .min = 1, .max = 1000,
            .help = "Checks in a row that fail before a target that is up is down"),
};

static const struct weir_option upstream_expect[] = {
    WEIR_LIST(struct health_settings, statuses, .key = "status", .element = WEIR_TYPE_STATUS,
            .preset = "2xx", .help = "Statuses that are good: \"2xx\", \"200-204\", 301"),
    WEIR_STRING(struct health_settings, body, .help = "Text that the body must hold"),
    WEIR_REGEX(struct health_settings, body_regex,
            .help = "A regular expression that the body must match"),
};

static const struct weir_choice families[] = {
    { "any", NAME_ANY },
    { "ipv4", NAME_IPV4 },
    { "ipv6", NAME_IPV6 },
};

static const struct weir_option upstream_resolve[] = {
    WEIR_LIST(struct resolve_conf, servers, .element = WEIR_TYPE_STRING,
            .help = "Name servers, as \"127.0.0.1:53\"; preset: those of /etc/resolv.conf"),
    WEIR_DURATION(struct resolve_conf, timeout_ns, .key = "timeout", .preset = "2s",
            .help = "Until a name server that does not answer is asked again, once"),
    WEIR_DURATION(struct resolve_conf, ttl_min_ns, .key = "ttl_min", .preset = "1s",
            .help = "A name is not asked for more often, whatever its time to live"),
    WEIR_DURATION(struct resolve_conf, ttl_max_ns, .key = "ttl_max", .preset = "5m",
            .help = "A name is not asked for less often, whatever its time to live"),
    WEIR_ENUM(struct resolve_conf, family, .preset = "any", .choices = WEIR_CHOICES(families),
            .help = "Addresses of which kind are used"),
};

static const struct weir_choice all_out_choices[] = { { "ask", 0 }, { "refuse", 1 } };

static const struct weir_option upstream[] = {
    NEEDED("targets",
            "\"127.0.0.1:9000\", \"[::1]:9000\", \"unix:/path\", \"@name\", \"host.example:9000\", "
            "\"srv:_http._tcp.example\", or an object; one or a list"),
    ANY("balance",
            "Which target is asked next: \"round_robin\", \"least_connections\", \"random\", "
            "\"hash\" or an object"),
    ANY("sticky", "Name of a cookie that leads back to the same target, or an object"),
    WEIR_DURATION(struct upstream_conf, slow_start_ns, .key = "slow_start", .preset = "0s",
            .zero = true,
            .help = "How long a target that came back grows to its weight; 0 or false: it has it at "
                    "once"),
    WEIR_COUNT(struct upstream_conf, keepalive, .preset = "64", .zero = true,
            .help = "Idle connections to each target that a worker keeps; 0: none"),
    WEIR_COUNT(struct upstream_conf, connections, .preset = "false",
            .help = "Most connections of a worker to each target"),
    WEIR_COUNT(struct upstream_conf, queue_size, .preset = "1000", .zero = true,
            .help = "Requests that may wait for a connection; 503 above it"),
    WEIR_OBJECT(struct upstream_conf, timeouts, struct upstream_timeouts_conf,
            .members = WEIR_OPTIONS(struct upstream_timeouts_conf, upstream_timeouts),
            .help = "Limits of time"),
    WEIR_OBJECT(struct upstream_conf, eject, struct eject_settings,
            .members = WEIR_OPTIONS(struct eject_settings, upstream_eject), .optional = true,
            .help = "When a target that fails is passed over; false: never"),
    WEIR_OBJECT(struct upstream_conf, retry, struct upstream_retry_conf,
            .members = WEIR_OPTIONS(struct upstream_retry_conf, upstream_retry),
            .help = "When another target is asked, since one came to nothing"),
    WEIR_ENUM(struct upstream_conf, proxy_protocol, .preset = "none",
            .choices = WEIR_CHOICES(proxy_versions),
            .help = "Header of the PROXY protocol that each connection begins with and that "
                    "names the client; none is kept for another then"),
    WEIR_ENUM(struct upstream_conf, all_out, .preset = "ask",
            .choices = WEIR_CHOICES(all_out_choices),
            .help = "What happens when all targets are passed over or down: they are asked all the "
                    "same, or requests are refused with 503"),
    ANY("health", "Whether targets are up is found out by checks"),
    WEIR_OBJECT(struct upstream_conf, resolve, struct resolve_conf,
            .members = WEIR_OPTIONS(struct resolve_conf, upstream_resolve),
            .help = "How names are looked up"),
    LATER("tls", "a later version speaks TLS to targets"),
};

static const struct weir_option target[] = {
    NEEDED("address", "As among \"targets\""),
    WEIR_INT(struct target_conf, weight, .preset = "1", .min = 1, .max = 1000,
            .help = "Its share of the requests, compared with the others'"),
    WEIR_BOOL(struct target_conf, backup, .preset = "false",
            .help = "It is asked only when no other target is in service"),
};

static const struct weir_choice levels[] = {
    { "debug", SITE_LOG_DEBUG },
    { "info", SITE_LOG_INFO },
    { "warn", SITE_LOG_WARN },
    { "error", SITE_LOG_ERROR },
};

static const struct weir_choice formats[] = {
    { "text", SITE_LOG_TEXT },
    { "json", SITE_LOG_JSON },
};

static const struct weir_option log_top[] = {
    WEIR_PATH(struct site_log, file,
            .help = "File of the error log; standard error unless given"),
    WEIR_ENUM(struct site_log, level, .preset = "info", .choices = WEIR_CHOICES(levels),
            .help = "What is worth a line: this and what is worse"),
    WEIR_ENUM(struct site_log, format, .preset = "text", .choices = WEIR_CHOICES(formats),
            .help = "Form of a line"),
};

static const struct weir_option log_level[] = {
    WEIR_ENUM(struct site_log, level, .preset = "info", .choices = WEIR_CHOICES(levels),
            .help = "What is worth a line: this and what is worse"),
};

static const struct weir_option control[] = {
    WEIR_STRING(struct site_control, listen,
            .help = "Address of the control socket; unix: in the run-time directory unless given"),
};

static const struct weir_choice crash_policies[] = {
    { "restart", SITE_CRASH_RESTART },
    { "stop", SITE_CRASH_STOP },
};

static const struct weir_option module[] = {
    NEEDED("name", "Name of the module: NAME.so in the module directory"),
    ANY("path", "File of the module, instead"),
    ANY("sha256", "SHA-256 of the file, in hexadecimal: no other is loaded"),
    ANY("options", "The module's own, for the whole process"),
    ANY("defaults", "Outermost layer of each use of its handlers"),
    WEIR_ENUM(struct module_conf, on_crash, .preset = "restart",
            .choices = WEIR_CHOICES(crash_policies),
            .help = "When a worker crashes in it: another takes its place, or the server stops"),
};

static const struct weir_option defaults[] = {
    ANY("trust", "Whom to believe about the client's address"),
    ANY("use", "Hooks around every request"),
    ANY("limits", "Limits of size and number"),
    ANY("timeouts", "Limits of time"),
    ANY("log", "Level of the error log"),
};

static const struct weir_option listener[] = {
    NEEDED("address",
            "\":8080\", \"127.0.0.1:8080\", \"[::1]:8080\", \"unix:/path\", \"@abstract\""),
    WEIR_STRING(struct listener_conf, mode, .preset = "0660",
            .help = "Permissions of a Unix socket, octal"),
    WEIR_INT(struct listener_conf, backlog, .preset = "1024", .min = 1, .max = 65535,
            .help = "Connections that may wait to be accepted"),
    WEIR_BOOL(struct listener_conf, proxy_protocol, .preset = "false",
            .help = "Connections begin with a header of the PROXY protocol, which trust.peers "
                    "alone may send; others are closed"),
    ANY("trust", "Whom to believe about the client's address"),
    ANY("use", "Hooks around every request that comes this way"),
    ANY("limits", "Limits of size and number"),
    ANY("timeouts", "Limits of time"),
};

static const struct weir_option server[] = {
    ANY("name", "For logs and metrics"),
    NEEDED("listen", "Addresses, or names of listeners; one or a list"),
    ANY("host", "Names it answers to; *.suffix among them; any unless given"),
    LATER("tls", "a later version speaks TLS"),
    ANY("trust", "Whom to believe about the client's address"),
    ANY("use", "Hooks around every request to this server"),
    ANY("routes", "In file order; the first that matches runs"),
    ANY("limits", "Limits of size and number"),
    ANY("timeouts", "Limits of time"),
    ANY("log", "Level of the error log"),
};

static const struct weir_option route[] = {
    ANY("name", "For logs and metrics"),
    ANY("match",
            "A pattern, an object of conditions, or a list of them; everything unless given"),
    ANY("internal", "Only internal requests reach it"),
    ANY("use", "Hooks around every request to this route"),
    ANY("handle", "Who answers; of a list the first that does not decline"),
    ANY("routes", "Nested routes, on the same full path"),
    ANY("limits", "Limits of size and number"),
    ANY("timeouts", "Limits of time"),
    ANY("log", "Level of the error log"),
};

static const struct weir_choice connections_policies[] = {
    { "pause", HTTP_CONNECTIONS_PAUSE },
    { "503", HTTP_CONNECTIONS_503 },
};

static const struct weir_option limits[] = {
    WEIR_SIZE(struct limits_conf, http.request_line_bytes, .key = "request_line",
            .preset = "8k", .min = 64, .max = 1 << 20,
            .help = "Longest request line; 414 above it"),
    WEIR_SIZE(struct limits_conf, http.field_bytes, .key = "field", .preset = "8k", .min = 64,
            .max = 1 << 20, .help = "Longest header field; 431 above it"),
    WEIR_COUNT(struct limits_conf, http.fields, .key = "fields", .preset = "100", .min = 1,
            .max = 10000, .help = "Most header fields; 431 above it"),
    WEIR_SIZE(struct limits_conf, http.head_bytes, .key = "head", .preset = "64k", .min = 256,
            .max = 16 << 20,
            .help = "Longest head, from the request line to the empty line, both included; "
                    "431 above it"),
    WEIR_SIZE(struct limits_conf, http.body_bytes, .key = "body", .preset = "1m",
            .help = "Longest request body; 413 above it"),
    WEIR_RATE(struct limits_conf, body_rate, .preset = "false",
            .help = "Least bytes of a request body in a time, \"1k/s\"; 408 below it"),
    WEIR_SIZE(struct limits_conf, http.body_buffer_bytes, .key = "body_buffer", .preset = "0",
            .zero = true,
            .help = "So much of a request body is read before a handler is asked; 0: none, "
                    "false: all of it"),
    WEIR_SIZE(struct limits_conf, http.body_memory_bytes, .key = "body_memory",
            .preset = "512k", .min = 4096, .max = INT64_MAX,
            .help = "Of a body that is buffered, so much stays in memory; the rest goes to a "
                    "file in workers.temp_dir"),
    WEIR_SIZE(struct limits_conf, http.reply_buffer_bytes, .key = "reply_buffer",
            .preset = "1g", .min = 4096, .max = INT64_MAX,
            .help = "Of an answer whose maker is not to wait for its client, so much is kept; "
                    "false: all of it"),
    WEIR_SIZE(struct limits_conf, http.reply_memory_bytes, .key = "reply_memory",
            .preset = "1m", .min = 4096, .max = INT64_MAX,
            .help = "Of an answer that is kept, so much stays in memory; the rest goes to a "
                    "file in workers.temp_dir"),
    WEIR_COUNT(struct limits_conf, http.connections, .key = "connections", .preset = "10000",
            .help = "Most connections of a worker and listener"),
    WEIR_ENUM(struct limits_conf, http.connections_policy, .key = "connections_policy",
            .preset = "pause", .choices = WEIR_CHOICES(connections_policies),
            .help = "What becomes of one more: it waits to be accepted, or is answered 503"),
    WEIR_COUNT(struct limits_conf, http.requests_per_connection,
            .key = "requests_per_connection", .preset = "false",
            .help = "Requests after which a connection is closed"),
    WEIR_COUNT(struct limits_conf, http.pipeline, .key = "pipeline", .preset = "32",
            .help = "Requests that may wait on one connection"),
};

static const struct weir_option timeouts[] = {
    WEIR_DURATION(struct http_timeouts, handshake_ns, .key = "handshake", .preset = "10s",
            .help = "For the TLS handshake, and for hooks that wait as a connection opens"),
    WEIR_DURATION(struct http_timeouts, head_ns, .key = "head", .preset = "10s",
            .help = "For a whole request head; 408"),
    WEIR_DURATION(struct http_timeouts, body_ns, .key = "body", .preset = "30s",
            .help = "Between two reads of a request body; 408"),
    WEIR_DURATION(struct http_timeouts, request_ns, .key = "request", .preset = "false",
            .help = "From the head to the last byte of the answer"),
    WEIR_DURATION(struct http_timeouts, send_ns, .key = "send", .preset = "30s",
            .help = "Without progress of the answer"),
    WEIR_DURATION(struct http_timeouts, keepalive_ns, .key = "keepalive", .preset = "75s",
            .help = "Idle time between two requests of a connection"),
    WEIR_DURATION(struct http_timeouts, idle_ns, .key = "idle", .preset = "1h",
            .help = "Idle time of an upgraded connection"),
    WEIR_DURATION(struct http_timeouts, wait_ns, .key = "wait", .preset = "60s",
            .help = "The longest a hook may wait"),
};

static const struct weir_option trust[] = {
    WEIR_LIST(struct site_trust, peers, .element = WEIR_TYPE_NETWORK,
            .help = "Networks whose word is taken"),
    WEIR_STRING(struct site_trust, header, .preset = "x-forwarded-for",
            .help = "Field that names the client"),
    WEIR_COUNT(struct site_trust, hops, .preset = "1", .min = 1, .max = 64,
            .help = "Proxies in front, counted from the right"),
};

const struct weir_options site_top_options = TABLE(top);
const struct weir_options site_workers_options = WEIR_OPTIONS(struct site_workers, workers);
const struct weir_options site_pool_options = WEIR_OPTIONS(struct site_pool, pool);
const struct weir_options site_upstream_options = WEIR_OPTIONS(struct upstream_conf, upstream);
const struct weir_options site_upstream_timeouts_options =
        WEIR_OPTIONS(struct upstream_timeouts_conf, upstream_timeouts);
const struct weir_options site_upstream_eject_options = WEIR_OPTIONS(struct eject_settings,
        upstream_eject);
const struct weir_options site_upstream_retry_options = WEIR_OPTIONS(struct upstream_retry_conf,
        upstream_retry);
const struct weir_options site_balance_options = WEIR_OPTIONS(struct balance_conf, balance);
const struct weir_options site_sticky_options = WEIR_OPTIONS(struct sticky_conf, sticky);
const struct weir_options site_upstream_health_options = WEIR_OPTIONS(struct health_settings,
        upstream_health);
const struct weir_options site_upstream_expect_options = WEIR_OPTIONS(struct health_settings,
        upstream_expect);
const struct weir_options site_resolve_options = WEIR_OPTIONS(struct resolve_conf,
        upstream_resolve);
const struct weir_options site_target_options = WEIR_OPTIONS(struct target_conf, target);
const struct weir_options site_log_options = WEIR_OPTIONS(struct site_log, log_top);
const struct weir_options site_log_level_options = WEIR_OPTIONS(struct site_log, log_level);
const struct weir_options site_control_options = WEIR_OPTIONS(struct site_control, control);
const struct weir_options site_module_options = WEIR_OPTIONS(struct module_conf, module);
const struct weir_options site_defaults_options = TABLE(defaults);
const struct weir_options site_listener_options = WEIR_OPTIONS(struct listener_conf, listener);
const struct weir_options site_server_options = TABLE(server);
const struct weir_options site_route_options = TABLE(route);
const struct weir_options site_limits_options = WEIR_OPTIONS(struct limits_conf, limits);
const struct weir_options site_timeouts_options = WEIR_OPTIONS(struct http_timeouts, timeouts);
const struct weir_options site_trust_options = WEIR_OPTIONS(struct site_trust, trust);

const struct site_level site_levels[] = {
    { "top", &site_top_options },
    { "workers", &site_workers_options },
    { "pool", &site_pool_options },
    { "upstream", &site_upstream_options },
    { "upstream_timeouts", &site_upstream_timeouts_options },
    { "upstream_eject", &site_upstream_eject_options },
    { "upstream_retry", &site_upstream_retry_options },
    { "balance", &site_balance_options },
    { "sticky", &site_sticky_options },
    { "upstream_health", &site_upstream_health_options },
    { "upstream_expect", &site_upstream_expect_options },
    { "upstream_resolve", &site_resolve_options },
    { "target", &site_target_options },
    { "log", &site_log_options },
    { "log_level", &site_log_level_options },
    { "control", &site_control_options },
    { "module", &site_module_options },
    { "defaults", &site_defaults_options },
    { "listener", &site_listener_options },
    { "server", &site_server_options },
    { "route", &site_route_options },
    { "limits", &site_limits_options },
    { "timeouts", &site_timeouts_options },
    { "trust", &site_trust_options },
};
const size_t site_levels_count = sizeof(site_levels) / sizeof(site_levels[0]);

enum site_scope
site_scope_of(const char *group, struct weir_str key)
{
    static const struct {
        const char *group, *key;
        enum site_scope scope;
    } narrow[] = {
        { "limits", "request_line", SITE_SCOPE_LISTENER },
        { "limits", "field", SITE_SCOPE_LISTENER },
        { "limits", "fields", SITE_SCOPE_LISTENER },
        { "limits", "head", SITE_SCOPE_LISTENER },
        { "limits", "connections", SITE_SCOPE_LISTENER },
        { "limits", "connections_policy", SITE_SCOPE_LISTENER },
        { "limits", "pipeline", SITE_SCOPE_LISTENER },
        { "limits", "requests_per_connection", SITE_SCOPE_SERVER },
        { "timeouts", "handshake", SITE_SCOPE_LISTENER },
        { "timeouts", "head", SITE_SCOPE_LISTENER },
        { "timeouts", "keepalive", SITE_SCOPE_SERVER },
    };
    for (size_t i = 0; i < sizeof(narrow) / sizeof(narrow[0]); i++) {
        if (strcmp(group, narrow[i].group) == 0 &&
                weir_str_eq(key, weir_str_from(narrow[i].key))) {
            return narrow[i].scope;
        }
    }
    return SITE_SCOPE_ROUTE;
}
