/* SPDX-License-Identifier: MIT */
/* One check of one address after the other, each on a connection of its own.
 *
 *     IDLE --health_check_begin()--> CONNECTING --> ASKING --+
 *      ^ ^                               |                   |
 *      | +---- on_done(): the result ----+-------------------+
 *      +------ health_check_stop(): nothing is said
 *
 * What the peer sends is read as strictly as any answer (answer.h), and no more of it than
 * HEALTH_TOTAL_BYTES_MAX within the time of one check. Thread: the loop's. */
#ifndef WEIR_UPSTREAM_HEALTH_CHECK_H
#define WEIR_UPSTREAM_HEALTH_CHECK_H

#include "base/arena.h"
#include "base/buf.h"
#include "event/timer.h"
#include "net/connect.h"
#include "net/proxy_protocol.h"
#include "upstream/answer.h"
#include "upstream/health.h"

/* What came of it, with the word for metrics. */
// clang-format off
#define HEALTH_RESULTS(X)                                              \
    X(FINE,        "fine")                                             \
    X(REFUSED,     "refused")     /* there is no connection */         \
    X(TIMEOUT,     "timeout")                                          \
    X(CLOSED,      "closed")      /* before all that matters was there */ \
    X(BAD_ANSWER,  "bad_answer")                                       \
    X(TOO_LARGE,   "too_large")                                        \
    X(STATUS,      "status")      /* not one that is expected */       \
    X(BODY,        "body")        /* likewise */                       \
    X(EXHAUSTED,   "exhausted")   /* our own lack says nothing of the target */
// clang-format on

enum health_result {
#define X(name, word) HEALTH_##name,
    HEALTH_RESULTS(X)
#undef X
};

const char *health_result_word(enum health_result result);

enum health_check_state {
    HEALTH_CHECK_IDLE,
    HEALTH_CHECK_CONNECTING,
    HEALTH_CHECK_ASKING,
};

/* Whom to ask, and how. All is borrowed by a check. */
struct health_question {
    const struct health_settings *settings;
    const struct connector *connector;
    const struct addr *addr;
    struct weir_str address;  /* what Host says unless the settings say otherwise */
    enum proxy_version proxy; /* what a connection begins with */
};

struct health_check {
    /* Fixed by health_check_init(). */
    struct loop *loop; /* borrowed */
    struct health_question question;
    void (*on_done)(struct health_check *check);
    struct buf request; /* owned: the head that is sent; empty: a connection is enough */

    /* Changes. */
    enum health_check_state state;
    struct stream *stream; /* owned; its memory is below */
    struct timer timer;
    char introduction[PROXY_HEADER_BYTES_MAX];
    size_t introduction_bytes;
    size_t sent_bytes; /* of that and the request */
    uint64_t received_bytes;
    struct arena arena; /* of the answer's head */
    struct answer_reader reader;
    struct answer_head head;
    struct answer_body body_reader;
    unsigned interims;
    bool has_head;
    struct buf body; /* what counts of it */

    /* The result of the last one. */
    enum health_result result;
    int error;               /* REFUSED: a negative errno */
    enum answer_fault fault; /* BAD_ANSWER */
    bool was_connected;      /* TIMEOUT */

    _Alignas(8) unsigned char stream_memory[CONNECT_STREAM_BYTES];
};

/* on_done() may begin the next check, or end everything. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int health_check_init(struct health_check *check, struct loop *loop,
        const struct health_question *question, void (*on_done)(struct health_check *check));
void health_check_fini(struct health_check *check); /* stops, too */

/* Begins one, in state IDLE. on_done() may be called from within. */
void health_check_begin(struct health_check *check);

/* Ends the one that runs, if any, without a word. */
void health_check_stop(struct health_check *check);

/* What came of the last one, in words: "status 500, expected 2xx". Returns the length; cut
 * where there is no room. */
#define HEALTH_CHECK_TEXT_BYTES 160u
size_t health_check_format(const struct health_check *check, char *dst, size_t bytes);

#endif
