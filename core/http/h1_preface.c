/* SPDX-License-Identifier: MIT */
/* What a peer says before HTTP where a listener takes the PROXY protocol: for whom it speaks.
 *
 * Nothing is guessed: with such a listener every connection begins with a header, and a peer
 * that may not speak for others is closed before a byte of it is read; else whoever reaches the
 * listener past the proxy could be anybody. What is no header gets no answer. The header has
 * the time of a request's head, from the accept on, and its bytes belong to no request. */
#include <stdio.h>
#include <stdlib.h>

#include "base/budget.h"
#include "event/loop.h"
#include "http/h1_parts.h"
#include "observe/log.h"

/* The log is told of such peers this often at the most; how many there were, it is told. */
#define WARN_EVERY_NS NS_PER_S

void
h1_drop_preface(struct h1_conn *conn)
{
    struct h1_preface *preface = conn->preface;
    if (preface == NULL) {
        return;
    }
    if (preface->reader != NULL) {
        budget_give(sizeof(*preface->reader));
        free(preface->reader);
    }
    budget_give(sizeof(*preface));
    free(preface);
    conn->preface = NULL;
}

static bool
make_preface(struct h1_conn *conn)
{
    struct h1_preface *preface = calloc(1, sizeof(*preface));
    if (preface == NULL) {
        return false;
    }
    budget_take(sizeof(*preface));
    conn->preface = preface;
    preface->reader = calloc(1, sizeof(*preface->reader));
    if (preface->reader != NULL) {
        budget_take(sizeof(*preface->reader));
    }
    return preface->reader != NULL;
}

/* Closed, and said so, but not for each of many. */
static enum step_result
turn_away(struct h1_conn *conn, enum h1_close reason, const char *why)
{
    struct engine *engine = conn->engine;
    uint64_t now_ns = h1_now_ns(conn);
    if (engine->proxy_warned_ns != 0 && now_ns - engine->proxy_warned_ns < WARN_EVERY_NS) {
        engine->proxy_unsaid++;
        return h1_gone(conn, reason);
    }
    char ip[ADDR_TEXT_BYTES];
    addr_ip_format(&conn->peer, ip);
    log_warn("connection from %s closed: %s (%llu others since the last of these lines)",
            ip[0] == '\0' ? "a Unix socket" : ip, why,
            (unsigned long long)engine->proxy_unsaid);
    engine->proxy_warned_ns = now_ns;
    engine->proxy_unsaid = 0;
    return h1_gone(conn, reason);
}

/* The header is read: from here on the connection is its. */
static enum step_result
introduce(struct h1_conn *conn)
{
    struct h1_preface *preface = conn->preface;
    preface->ends = preface->reader->ends;
    budget_give(sizeof(*preface->reader));
    free(preface->reader);
    preface->reader = NULL;
    conn->is_introduced = true;
    if (preface->ends.is_told) {
        conn->peer = preface->ends.source;
    } else {
        h1_drop_preface(conn);
    }
    conn->since_ns = h1_now_ns(conn);
    if (conn->watched == NULL) {
        h1_enter(conn, H1_IDLE);
        return STEP_AGAIN;
    }
    h1_enter(conn, H1_OPENING);
    conn->admission = conn->settings->watch->introduced(conn->watched, &conn->peer);
    return STEP_AGAIN;
}

enum step_result
h1_step_preface(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    const struct h1_settings *settings = conn->settings;
    if (conn->preface == NULL) {
        if (!settings->trusts_proxy(settings->origin, &conn->peer)) {
            return turn_away(conn, H1_CLOSE_UNTRUSTED,
                    "it is not one of \"trust\": { \"peers\" }, and the listener takes the "
                    "PROXY protocol");
        }
        if (!make_preface(conn)) {
            return h1_gone(conn, H1_CLOSE_NO_MEMORY);
        }
    }
    struct proxy_reader *reader = conn->preface->reader;
    switch (h1_fill(turn)) {
    case FILLED:
        break;
    case FILL_NOTHING:
        return STEP_WAIT;
    case FILL_END:
        return reader->taken == 0
                ? h1_gone(conn, H1_CLOSE_CLIENT) /* it has looked whether we are there */
                : turn_away(conn, H1_CLOSE_BAD_PROXY,
                          "it ended within the header of the PROXY protocol");
    case FILL_BROKEN:
        return h1_gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    enum proxy_fault fault = PROXY_GOOD;
    switch (proxy_reader_feed(reader, &turn->input, &fault)) {
    case PROXY_MORE:
        return STEP_AGAIN;
    case PROXY_DONE:
        return introduce(conn);
    case PROXY_REFUSED:
        break;
    }
    char why[96];
    snprintf(why, sizeof(why), "no header of the PROXY protocol: %s", proxy_fault_text(fault));
    return turn_away(conn, H1_CLOSE_BAD_PROXY, why);
}
