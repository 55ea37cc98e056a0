/* SPDX-License-Identifier: MIT */
/* Body filters: hooks in WEIR_ON_REQUEST_BODY and WEIR_ON_REPLY_BODY.
 *
 * A filter is called when there is input, or the input has ended, and there is room for output.
 * It says what it consumed and what it produced, and keeps no bytes of its own: what it does
 * not consume it is shown again, longer, with the next call. It returns
 *
 *     WEIR_NEXT     call me again when there is more to do; at the end of the input, when
 *                   nothing was changed: that was all
 *     WEIR_DONE     the rest passes unchanged
 *     WEIR_PENDING  I wait (weir/wait.h), and am called again when that is over; what stands
 *                   in the input stays there
 *     WEIR_FAILED   the body cannot be finished: the request ends
 *
 * Three calls in a row that change nothing, while something could have been done, end the
 * request and name the module in the log. Thread: the request's loop. Grows until 1.0. */
#ifndef WEIR_FILTER_H
#define WEIR_FILTER_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/module.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

/* Switches this handler's reply-body filter on for the answer in hand; called from its
 * reply-head hook. Content-Length and Accept-Ranges are removed and a strong ETag becomes weak,
 * since the bytes will not be the ones that they speak of. Returns 0; -EINVAL elsewhere. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_filter_enable(struct weir_request *request);

/* A run of input, in one piece; more may stand behind it. Valid until consumed. Empty when
 * there is none yet, or the input has ended. */
WEIR_API WEIR_LOOP struct weir_str weir_filter_input(struct weir_filter *filter);

/* True when no input will follow what weir_filter_input() shows. */
WEIR_API WEIR_LOOP bool weir_filter_is_last(const struct weir_filter *filter);

/* Asks for a longer run: the next call comes when the input holds `bytes` in one piece, at most
 * 64 KiB, or has ended. Holds for one call; return WEIR_NEXT afterwards. Returns 0; -EMSGSIZE
 * above that bound. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_filter_want(struct weir_filter *filter,
        uint32_t bytes);

/* Drops `bytes` of the input, no more than weir_filter_input() shows. */
WEIR_API WEIR_LOOP void weir_filter_consume(struct weir_filter *filter, size_t bytes);

/* Passes `bytes` of the input on unchanged and without a copy. Returns 0; -ENOMEM. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_filter_pass(struct weir_filter *filter, size_t bytes);

/* Bytes that weir_filter_write() will take now. */
WEIR_API WEIR_LOOP size_t weir_filter_room(const struct weir_filter *filter);

/* Appends a copy to the output. Returns 0; -EAGAIN when there is less room, and nothing was
 * taken; -ENOMEM. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_filter_write(struct weir_filter *filter,
        struct weir_str bytes);

WEIR_END_DECLS

#endif
