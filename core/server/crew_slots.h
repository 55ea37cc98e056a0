/* SPDX-License-Identifier: MIT */
/* Who of a crew accepts from which sockets. A slot is one event loop of one worker.
 * Thread: the master's. */
#ifndef WEIR_SERVER_CREW_SLOTS_H
#define WEIR_SERVER_CREW_SLOTS_H

#include "server/crew.h"

/* Sockets that were opened since reach those who serve, and the slots their owners. False when
 * there is no memory for that. */
bool crew_take_new_sockets(struct crew *crew);

/* `worker` says that it accepts from a slot. */
void crew_slot_opened(struct crew_worker *worker, uint32_t slot);

/* Or that it cannot: somebody else is asked, and it again after a while. */
void crew_slot_declined(struct crew_worker *worker, uint32_t slot);

/* Of crew->assign_timer. */
void crew_on_assign_timer(struct timer *timer);

/* `worker` is about to be freed: its slots have nobody. */
void crew_forget_owner(const struct crew_worker *worker);

/* Every slot has somebody who accepts from it. */
bool crew_is_open(const struct crew *crew);

/* Every slot gets somebody who accepts from it, for as long as anybody serves. */
void crew_assign(struct crew *crew);

#endif
