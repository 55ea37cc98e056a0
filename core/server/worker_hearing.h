/* SPDX-License-Identifier: MIT */
/* What the master says to a worker, and the descriptors that it sends. Thread: the main one. */
#ifndef WEIR_SERVER_WORKER_HEARING_H
#define WEIR_SERVER_WORKER_HEARING_H

#include "server/worker_state.h"

/* Of a channel_owner whose context is a struct worker. */
void worker_on_message(void *context, const struct channel_message *message);
void worker_on_channel_closed(void *context, int error);

void worker_close_inherited(struct worker *worker);

#endif
