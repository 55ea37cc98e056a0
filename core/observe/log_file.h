/* SPDX-License-Identifier: MIT */
/* The files behind <weir/log.h>, and the thread that writes them: one a process, there as long
 * as a file is open.
 *
 * The rights to a file may be another process's: whoever has them opens it and passes the
 * descriptor on. */
#ifndef WEIR_OBSERVE_LOG_FILE_H
#define WEIR_OBSERVE_LOG_FILE_H

#include <stdint.h>

#include <weir/log.h>

/* Says that `fd`, from now on ours, is open on `path` for appending: what opens the file later
 * finds it here. When it is open already, `fd` takes the place of what is written to, between
 * two lines (after a rotation). Thread: any. Returns 0; -ENOMEM, -EMFILE and the like, when
 * `fd` is closed. */
WEIR_MUST_USE int log_file_offer(struct weir_str path, int fd);

/* <weir/log.h>'s, by the names of this floor. */
WEIR_MUST_USE int log_file_open(struct weir_str path, struct weir_log_file **out);
void log_file_close(struct weir_log_file *file);

/* Opens all files anew, by their names, with this process's rights; what cannot be opened goes
 * on where it was, with a line in the error log. No line is lost or split. Thread: any. */
void log_file_reopen(void);

/* Waits until what was logged before is written, at most `timeout_ms`. False: it is not.
 * Thread: any but a loop's that serves. */
bool log_file_flush(unsigned timeout_ms);

/* Lines written and lines dropped, of all files, since the process began. */
struct log_file_figures {
    uint64_t written, dropped;
};
struct log_file_figures log_file_figures(void);

#endif
