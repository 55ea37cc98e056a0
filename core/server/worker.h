/* SPDX-License-Identifier: MIT */
/* A worker: one process that serves a site with one or several event loops. The master starts
 * it
 * (`weir worker`) and says over its channel what to do: server/channel.h. */
#ifndef WEIR_SERVER_WORKER_H
#define WEIR_SERVER_WORKER_H

/* The hidden command: serves what the master on descriptor CHANNEL_WORKER_FD says, until it is
 * told to end. Returns an exit code. */
int command_worker(int argc, char **argv);

#endif
