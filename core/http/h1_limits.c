/* SPDX-License-Identifier: MIT */
/* The time limits of an HTTP/1 connection (HTTP.md, Connections): which one runs out next. */
#include "http/h1_parts.h"

/* How long a client may take to read an error answer and close (HTTP.md, Framing). */
#define LINGER_NS (2 * NS_PER_S)

/* How long a connection that was accepted, and has said nothing yet, may go on when the server
 * stops: what its client has sent may be under way (F70). */
#define STOP_GRACE_NS NS_PER_S

/* What a slow body is forgiven before its least rate counts. */
#define RATE_GRACE_NS (5 * NS_PER_S)

/* Until when the client may take for its body; CLOCK_NEVER while nobody waits for it. */
static uint64_t
body_deadline(const struct h1_conn *conn)
{
    const struct weir_request *request = conn->request;
    const struct request_body *in = &request->in;
    if (!conn->reads_body || in->ended || in->error != 0) {
        return CLOCK_NEVER;
    }
    uint64_t deadline = clock_add_ns(conn->since_ns, request->timeouts->body_ns);
    uint64_t rate = request->limits->body_rate_bytes_per_s;
    if (rate == 0) {
        return deadline;
    }
    /* What it sent has earned it time, of which some is spent. */
    uint64_t earned_s = in->received_bytes / rate;
    uint64_t earned_ns = earned_s > CLOCK_NEVER / NS_PER_S ? CLOCK_NEVER : earned_s * NS_PER_S;
    uint64_t allowed_ns = clock_add_ns(RATE_GRACE_NS, earned_ns);
    uint64_t due = allowed_ns < in->spent_ns
            ? in->resumed_ns
            : clock_add_ns(in->resumed_ns, allowed_ns - in->spent_ns);
    return due < deadline ? due : deadline;
}

static uint64_t
request_deadline(const struct weir_request *request)
{
    return clock_add_ns(request->began_ns, request->timeouts->request_ns);
}

static void
sooner(struct h1_limit *limit, uint64_t deadline, enum h1_close reason)
{
    if (deadline < limit->deadline) {
        *limit = (struct h1_limit){ deadline, reason };
    }
}

struct h1_limit
h1_next_limit(const struct h1_conn *conn)
{
    const struct http_timeouts *timeouts = conn->state == H1_EXCHANGE ||
                    conn->state == H1_TUNNEL
            ? conn->request->timeouts
            : conn->timeouts;
    struct h1_limit limit = { CLOCK_NEVER, H1_CLOSE_IDLE };
    bool has_unsent = conn->output.unsent != NULL;
    if (has_unsent) {
        sooner(&limit, clock_add_ns(conn->sent_ns, timeouts->send_ns), H1_CLOSE_SLOW_READER);
    }
    if (conn->answered != NULL) {
        sooner(&limit, request_deadline(conn->answered), H1_CLOSE_SLOW_REQUEST);
    }
    switch (conn->state) {
    case H1_IDLE:
        /* The first request has the time of a head, later ones that of an idle connection; a
         * client that is still reading is not idle. */
        if (conn->requests > 0) {
            sooner(&limit,
                    has_unsent ? CLOCK_NEVER
                               : clock_add_ns(conn->since_ns, timeouts->keepalive_ns),
                    H1_CLOSE_IDLE);
            break;
        }
        sooner(&limit, clock_add_ns(conn->since_ns, timeouts->head_ns), H1_CLOSE_IDLE);
        if (conn->is_stopping) {
            sooner(&limit, clock_add_ns(conn->since_ns, STOP_GRACE_NS), H1_CLOSE_STOPPED);
        }
        break;
    case H1_PREFACE:
        sooner(&limit, clock_add_ns(conn->since_ns, timeouts->head_ns), H1_CLOSE_SLOW_HEAD);
        if (conn->is_stopping) {
            sooner(&limit, clock_add_ns(conn->since_ns, STOP_GRACE_NS), H1_CLOSE_STOPPED);
        }
        break;
    case H1_HEAD:
        sooner(&limit, clock_add_ns(conn->request->began_ns, timeouts->head_ns),
                H1_CLOSE_SLOW_HEAD);
        break;
    case H1_EXCHANGE:
        sooner(&limit, request_deadline(conn->request), H1_CLOSE_SLOW_REQUEST);
        sooner(&limit, body_deadline(conn), H1_CLOSE_SLOW_BODY);
        break;
    case H1_TUNNEL:
        sooner(&limit, clock_add_ns(conn->since_ns, timeouts->idle_ns), H1_CLOSE_TUNNEL_IDLE);
        break;
    case H1_DISCARD:
        sooner(&limit, clock_add_ns(conn->since_ns, timeouts->body_ns), H1_CLOSE_SLOW_BODY);
        break;
    case H1_LINGER:
        sooner(&limit, clock_add_ns(conn->since_ns, LINGER_NS), H1_CLOSE_DONE);
        break;
    case H1_REFUSING:
    case H1_OPENING: /* the watcher's time */
    case H1_FINISH:
    case H1_CLOSED:
        break;
    }
    return limit;
}
