/* SPDX-License-Identifier: MIT */
/* What workers say to their crew. Nothing of it is believed. Thread: the master's. */
#ifndef WEIR_SERVER_CREW_HEARING_H
#define WEIR_SERVER_CREW_HEARING_H

#include "server/crew.h"

/* Of a channel_owner whose context is a struct crew_worker. */
void crew_on_message(void *context, const struct channel_message *message);
void crew_on_channel_closed(void *context, int error);

#endif
