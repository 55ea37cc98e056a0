/* SPDX-License-Identifier: MIT */
/* What the files of this module share: its pages, and how one is chosen and, where it is a
 * route's, asked for. */
#ifndef WEIR_ERROR_PAGES_ERROR_PAGES_H
#define WEIR_ERROR_PAGES_ERROR_PAGES_H

#include <stddef.h>

#include <weir/internal.h>
#include <weir/module.h>
#include <weir/option.h>
#include <weir/str.h>

/* One of text, written and target. */
struct page {
    struct weir_status status;
    struct weir_str type;                /* .len 0: a route's, which it says itself */
    struct weir_str text;                /* owned; of a file */
    const struct weir_template *written; /* NULL: none */
    const struct weir_template *target;  /* of a route; NULL: none */
};

struct error_pages_conf {
    struct weir_map files;  /* status to path */
    struct weir_map text;   /* status to template */
    struct weir_map routes; /* status to template of a target */
    bool intercept, take_status;
    struct weir_str code_header;

    /* Set by conf_open: in the order of the file; files, then texts, then routes. */
    struct page *pages; /* owned */
    size_t count;
};

/* Of each request. */
struct error_pages_state {
    struct weir_internal *asked; /* the core's; NULL: no route is asked */
};

/* The page for the narrowest range that holds `status`; of several, what the client likes best,
 * then the first. A route's is liked a little: where no other is accepted. NULL: none. Thread:
 * the request's loop. */
const struct page *error_pages_choose(const struct weir_request *request,
        const struct error_pages_conf *conf, unsigned status);

/* Asks the route of `page`, and puts its answer in the place of the one in hand; that one stays
 * when there is no good one. A reply-head hook's verdict. */
enum weir_verdict error_pages_ask(struct weir_request *request, const struct page *page);

#endif
