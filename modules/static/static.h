/* SPDX-License-Identifier: MIT */
/* The handler `static`: what its files share. */
#ifndef WEIR_STATIC_STATIC_H
#define WEIR_STATIC_STATIC_H

#include <weir/file.h>
#include <weir/module.h>
#include <weir/option.h>
#include <weir/reply.h>
#include <weir/request.h>

/* Content codings of precompressed files (RFC 9110 section 8.4.1). */
enum static_coding {
    STATIC_GZIP,
    STATIC_BROTLI,
    STATIC_ZSTD,
    STATIC_CODINGS,
};

struct static_conf {
    /* Filled from the options. */
    struct weir_str root, strip, fallback, cache_control;
    struct weir_list index;         /* of struct weir_str */
    struct weir_list try_;          /* of struct weir_str */
    struct weir_list precompressed; /* of int: enum static_coding */
    struct weir_map headers, types;
    bool listing, hidden;
    int symlinks; /* enum weir_symlinks */

    /* conf_open() */
    struct weir_root *dir;
};

/* Of each request. */
struct static_state {
    uint32_t next_entry; /* of a listing: written before it */
    size_t written;      /* of the piece that begins there */
};

/* ---- answer.c ---------------------------------------------------------------------------- */

/* Answers with the file found under `path`, or with a precompressed one beside it. `resume` is
 * the hook, run again when something must be waited for. */
WEIR_MUST_USE enum weir_verdict static_answer(struct weir_request *request,
        const struct static_conf *conf, struct weir_str path, const struct weir_file *file,
        weir_request_fn *resume);

/* The same with the fallback, which is never stored without asking. */
WEIR_MUST_USE enum weir_verdict static_answer_fallback(struct weir_request *request,
        const struct static_conf *conf, struct weir_str path, const struct weir_file *file,
        weir_request_fn *resume);

/* Something is there, and why it cannot be used is the server's business or forbidden to the
 * client: answers 403, 500 or 503. WEIR_NEXT when there is simply nothing. */
WEIR_MUST_USE enum weir_verdict static_answer_error(struct weir_request *request, int error);

/* ---- coding.c ---------------------------------------------------------------------------- */

/* What the client accepts: a weight of 0 to 1000 for each coding (RFC 9110 section 12.5.3).
 * Pure; any thread. */
struct static_weights {
    uint16_t of[STATIC_CODINGS];
    uint16_t any;      /* of `*` */
    uint16_t identity; /* of the file as it is, when it is named; else 0: rather any other */
};

/* The weight that the parameters of an element say, 1000 without one; 0 when malformed. */
uint16_t static_weight_in(struct weir_str parameters);

void static_weights_init(struct static_weights *weights);

/* Reads one line of Accept-Encoding after another. */
void static_weights_read(struct static_weights *weights, struct weir_str value);

/* The weight of one coding: its own, that of `*`, or none. */
uint16_t static_weight(const struct static_weights *weights, enum static_coding coding);

struct weir_str static_coding_name(enum static_coding coding);
struct weir_str static_coding_suffix(enum static_coding coding); /* ".gz" */

/* ---- listing.c --------------------------------------------------------------------------- */

/* Answers with the names in the directory `path`, beneath the request's own path, which ends
 * with a slash. */
WEIR_MUST_USE enum weir_verdict static_list(struct weir_request *request,
        const struct static_conf *conf, struct weir_str path, weir_request_fn *resume);

/* ---- path.c ------------------------------------------------------------------------------ */

/* Takes `prefix` off the front of `path` where a segment ends. False when it is not there. */
bool static_path_strip(struct weir_str path, struct weir_str prefix, struct weir_str *out);

/* A segment begins with a dot; but for `.well-known` as the first (RFC 8615). */
bool static_path_is_hidden(struct weir_str path);

/* True when the last segment holds a dot. */
bool static_path_names_file(struct weir_str path);

#endif
