/* SPDX-License-Identifier: MIT */
/* A channel of c-ares on a loop. It is made when something is asked, and again after a failure
 * once nothing is asked any more, so that a resolv.conf that has changed is read anew. c-ares
 * calls back from within whatever it is told; what it says is kept, and told at the end of the
 * loop's turn. It reads /etc/hosts at each question: a small file, in the page cache. */
#include "net/resolver.h"

#include <ares.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/timer.h"
#include "net/dns_answer.h"

/* One of a server list, ",": longest text of an address and more. */
#define SERVER_BYTES (ADDR_TEXT_BYTES + 1)

/* A socket that c-ares looks at. */
struct watch {
    struct real *real;
    int fd;
    struct watch *next;
    struct event event;
};

struct real {
    struct resolver resolver; /* first */
    struct loop *loop;        /* borrowed */
    const struct resolver_settings *settings;
    ares_channel channel; /* owned; NULL: none yet */
    struct watch *watches;
    struct timer timer;
    struct loop_task task;
    struct resolver_query *answered, **answered_end; /* to be told, oldest first */
    uint64_t asked;                                  /* that c-ares has not answered */
    bool has_failed;                                 /* since the channel was made */
};

struct resolver_query {
    struct real *real;
    enum resolver_kind kind;
    resolver_fn *fn; /* NULL: nobody wants it any more */
    void *context;
    struct resolver_query *next; /* in real->answered */
    struct resolver_answer answer;
    void *records; /* owned: what the answer points at */
};

const char *
resolver_result_word(enum resolver_result result)
{
    switch (result) {
    case RESOLVER_FOUND:
        return "found";
    case RESOLVER_NO_NAME:
        return "no_name";
    case RESOLVER_NO_DATA:
        return "no_data";
    case RESOLVER_TIMED_OUT:
        return "timed_out";
    case RESOLVER_FAILURE:
        return "server_failure";
    case RESOLVER_BAD_ANSWER:
        return "bad_answer";
    case RESOLVER_EXHAUSTED:
        break;
    }
    return "exhausted";
}

static enum resolver_result
result_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return RESOLVER_FOUND;
    case ARES_ENOTFOUND:
        return RESOLVER_NO_NAME;
    case ARES_ENODATA:
        return RESOLVER_NO_DATA;
    case ARES_ETIMEOUT:
        return RESOLVER_TIMED_OUT;
    case ARES_ECONNREFUSED: /* which it also says when all servers said one of the following */
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
        return RESOLVER_FAILURE;
    case ARES_ENOMEM:
    case ARES_EFILE:
        return RESOLVER_EXHAUSTED;
    default:
        return RESOLVER_BAD_ANSWER;
    }
}

/* ---- its sockets and its time ------------------------------------------------------------ */

static void
set_timer(struct real *real)
{
    struct timeval wait;
    if (real->channel == NULL || ares_timeout(real->channel, NULL, &wait) == NULL) {
        timer_cancel(&real->timer);
        return;
    }
    uint64_t wait_ns = (uint64_t)wait.tv_sec * NS_PER_S + (uint64_t)wait.tv_usec * 1000 +
            NS_PER_MS;
    if (timer_set(&real->timer, clock_add_ns(loop_now_ns(real->loop), wait_ns)) < 0) {
        ares_cancel(real->channel); /* nobody would ask again */
    }
}

static void
on_timer(struct timer *timer)
{
    struct real *real = (struct real *)((char *)timer - offsetof(struct real, timer));
    ares_process_fd(real->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(real);
}

/* The watch may be gone when c-ares returns. */
static void
on_socket(evutil_socket_t fd, short events, void *context)
{
    struct real *real = ((struct watch *)context)->real;
    ares_process_fd(real->channel, (events & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
            (events & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    set_timer(real);
}

static void
drop_watch(struct watch **link)
{
    struct watch *watch = *link;
    *link = watch->next;
    event_del(&watch->event);
    free(watch);
}

/* c-ares wants to know of a socket, of something else about it, or nothing any more. What
 * cannot be watched is asked again when its time is over. */
static void
on_state(void *context, ares_socket_t fd, int readable, int writable)
{
    struct real *real = context;
    struct watch **link = &real->watches;
    while (*link != NULL && (*link)->fd != fd) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        drop_watch(link);
    }
    if (readable == 0 && writable == 0) {
        return;
    }
    struct watch *watch = calloc(1, sizeof(*watch));
    short events = (short)(EV_PERSIST | (readable != 0 ? EV_READ : 0) |
            (writable != 0 ? EV_WRITE : 0));
    if (watch == NULL ||
            event_assign(&watch->event, loop_base(real->loop), fd, events, on_socket, watch) ==
                    -1 ||
            event_add(&watch->event, NULL) == -1) {
        free(watch);
        return;
    }
    watch->real = real;
    watch->fd = fd;
    watch->next = real->watches;
    real->watches = watch;
}

/* ---- the channel ------------------------------------------------------------------------- */

static void
init_library(void)
{
    int r = ares_library_init(ARES_LIB_INIT_ALL);
    WEIR_ASSERT(r == ARES_SUCCESS); /* here it has nothing to do */
}

static int
set_servers(struct real *real)
{
    const struct resolver_settings *settings = real->settings;
    if (settings->server_count == 0) {
        return ARES_SUCCESS;
    }
    char *list = malloc(settings->server_count * SERVER_BYTES);
    if (list == NULL) {
        return ARES_ENOMEM;
    }
    size_t at = 0;
    for (size_t i = 0; i < settings->server_count; i++) {
        at += addr_format(&settings->servers[i], list + at);
        list[at++] = ',';
    }
    list[at - 1] = '\0';
    int status = ares_set_servers_ports_csv(real->channel, list);
    free(list);
    return status;
}

static void
drop_channel(struct real *real)
{
    if (real->channel != NULL) {
        ares_destroy(real->channel);
        real->channel = NULL;
    }
    while (real->watches != NULL) {
        drop_watch(&real->watches);
    }
    timer_cancel(&real->timer);
    real->has_failed = false;
}

static int
need_channel(struct real *real)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (real->channel != NULL) {
        return ARES_SUCCESS;
    }
    pthread_once(&once, init_library);
    uint64_t timeout_ms = real->settings->timeout_ns / NS_PER_MS;
    struct ares_options options = {
        .flags = ARES_FLAG_NOALIASES,
        .timeout = timeout_ms == 0      ? 1
                : timeout_ms > 3600000u ? 3600000
                                        : (int)timeout_ms,
        .tries = RESOLVER_TRIES,
        .sock_state_cb = on_state,
        .sock_state_cb_data = real,
    };
    int status = ares_init_options(&real->channel, &options,
            ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        real->channel = NULL;
        return status;
    }
    status = set_servers(real);
    if (status != ARES_SUCCESS) {
        drop_channel(real);
    }
    return status;
}

/* ---- answers ----------------------------------------------------------------------------- */

static void
query_free(struct resolver_query *query)
{
    free(query->records);
    free(query);
}

/* It will be told. */
static void
answered(struct resolver_query *query, enum resolver_result result)
{
    struct real *real = query->real;
    if (result == RESOLVER_FOUND && query->answer.count == 0) {
        result = RESOLVER_NO_DATA;
    }
    query->answer.result = result;
    real->has_failed |= result != RESOLVER_FOUND && result != RESOLVER_NO_DATA;
    *real->answered_end = query;
    real->answered_end = &query->next;
    loop_defer(real->loop, &real->task);
}

static void
lower_ttl(struct resolver_answer *answer, int ttl)
{
    uint32_t ttl_s = ttl < 0 ? 0 : (uint32_t)ttl;
    answer->ttl_s = ttl_s < answer->ttl_s ? ttl_s : answer->ttl_s;
}

/* Returns false without memory. */
static bool
keep_addresses(struct resolver_query *query, const struct ares_addrinfo *info)
{
    struct resolver_answer *answer = &query->answer;
    struct addr *addrs = calloc(RESOLVER_RECORDS_MAX, sizeof(*addrs));
    if (addrs == NULL) {
        return false;
    }
    sa_family_t family = query->kind == RESOLVER_IPV4 ? AF_INET : AF_INET6;
    answer->ttl_s = UINT32_MAX;
    for (const struct ares_addrinfo_cname *alias = info->cnames; alias != NULL;
            alias = alias->next) {
        lower_ttl(answer, alias->ttl);
    }
    for (const struct ares_addrinfo_node *node = info->nodes;
            node != NULL && answer->count < RESOLVER_RECORDS_MAX; node = node->ai_next) {
        if (node->ai_family != family || node->ai_addrlen > sizeof(addrs->in6)) {
            continue;
        }
        struct addr *addr = &addrs[answer->count++];
        addr->len = node->ai_addrlen;
        memcpy(&addr->sa, node->ai_addr, node->ai_addrlen);
        lower_ttl(answer, node->ai_ttl);
    }
    query->records = addrs;
    answer->addrs = addrs;
    return true;
}

static void
on_addresses(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct resolver_query *query = context;
    query->real->asked--;
    enum resolver_result result = result_of(status);
    if (query->fn == NULL) {
        query_free(query);
    } else {
        if (result == RESOLVER_FOUND && !keep_addresses(query, info)) {
            result = RESOLVER_EXHAUSTED;
        }
        answered(query, result);
    }
    ares_freeaddrinfo(info);
}

static bool
keep_services(struct resolver_query *query, const struct ares_srv_reply *replies)
{
    struct resolver_answer *answer = &query->answer;
    struct resolver_service *services = calloc(RESOLVER_RECORDS_MAX, sizeof(*services));
    if (services == NULL) {
        return false;
    }
    for (const struct ares_srv_reply *reply = replies;
            reply != NULL && answer->count < RESOLVER_RECORDS_MAX; reply = reply->next) {
        size_t len = strlen(reply->host);
        if (len == 0 || len >= RESOLVER_NAME_BYTES || reply->port == 0) {
            continue; /* "." says that there is no such service here */
        }
        struct resolver_service *service = &services[answer->count++];
        memcpy(service->host, reply->host, len + 1);
        service->priority = reply->priority;
        service->weight = reply->weight;
        service->port = reply->port;
    }
    query->records = services;
    answer->services = services;
    return true;
}

static void
on_service(void *context, int status, int timeouts, unsigned char *message, int len)
{
    (void)timeouts;
    struct resolver_query *query = context;
    struct ares_srv_reply *replies = NULL;
    query->real->asked--;
    if (query->fn == NULL) {
        query_free(query);
        return;
    }
    if (status == ARES_SUCCESS) {
        status = ares_parse_srv_reply(message, len, &replies);
    }
    enum resolver_result result = result_of(status);
    if (result == RESOLVER_FOUND) {
        query->answer.ttl_s = dns_answer_ttl(message, (size_t)len);
        if (!keep_services(query, replies)) {
            result = RESOLVER_EXHAUSTED;
        }
    }
    if (replies != NULL) {
        ares_free_data(replies);
    }
    answered(query, result);
}

/* Tells what has come; new questions may be asked meanwhile. */
static void
on_task(struct loop_task *task)
{
    struct real *real = (struct real *)((char *)task - offsetof(struct real, task));
    struct resolver_query *query;
    while ((query = real->answered) != NULL) {
        real->answered = query->next;
        if (real->answered == NULL) {
            real->answered_end = &real->answered;
        }
        if (query->fn != NULL) {
            query->fn(query->context, &query->answer);
        }
        query_free(query);
    }
    if (real->asked == 0 && real->has_failed) {
        drop_channel(real);
    }
}

/* ---- the interface ----------------------------------------------------------------------- */

static struct resolver_query *
ask(struct resolver *resolver, enum resolver_kind kind, const char *name, resolver_fn *fn,
        void *context)
{
    struct real *real = (struct real *)resolver;
    struct resolver_query *query = calloc(1, sizeof(*query));
    if (query == NULL) {
        return NULL;
    }
    *query =
            (struct resolver_query){ .real = real, .kind = kind, .fn = fn, .context = context };
    int status = need_channel(real);
    if (status != ARES_SUCCESS) {
        answered(query, result_of(status));
        return query;
    }
    real->asked++;
    if (kind == RESOLVER_SRV) {
        enum {
            CLASS_IN = 1,
            TYPE_SRV = 33,
        };
        ares_search(real->channel, name, CLASS_IN, TYPE_SRV, on_service, query);
    } else {
        const struct ares_addrinfo_hints hints = {
            .ai_flags = ARES_AI_NOSORT, /* or it would connect sockets to each */
            .ai_family = kind == RESOLVER_IPV4 ? AF_INET : AF_INET6,
            .ai_socktype = SOCK_STREAM,
        };
        ares_getaddrinfo(real->channel, name, NULL, &hints, on_addresses, query);
    }
    set_timer(real);
    return query;
}

static void
cancel(struct resolver *resolver, struct resolver_query *query)
{
    (void)resolver;
    query->fn = NULL; /* it is freed when its answer comes, or was to be told */
}

static void
free_real(struct resolver *resolver)
{
    struct real *real = (struct real *)resolver;
    drop_channel(real); /* what it had not answered is answered, and not wanted */
    loop_undefer(real->loop, &real->task);
    while (real->answered != NULL) {
        struct resolver_query *query = real->answered;
        WEIR_ASSERT(query->fn == NULL);
        real->answered = query->next;
        query_free(query);
    }
    free(real);
}

int
resolver_new(struct loop *loop, const struct resolver_settings *settings, struct resolver **out)
{
    struct real *real = calloc(1, sizeof(*real));
    if (real == NULL) {
        return -ENOMEM;
    }
    real->resolver = (struct resolver){ ask, cancel, free_real };
    real->loop = loop;
    real->settings = settings;
    real->task.fn = on_task;
    real->answered_end = &real->answered;
    timer_init(&real->timer, loop, on_timer);
    *out = &real->resolver;
    return 0;
}
