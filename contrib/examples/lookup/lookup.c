/* SPDX-License-Identifier: MIT */
/* An example of work that blocks: clients whose address stands in a file are answered 403.
 *
 *     { "modules": [{ "name": "lookup", "options": { "file": "/srv/banned.txt" } }],
 *       "defaults": { "use": [{ "lookup": { "within": "2s" } }] } }
 *
 * The file has an address on each line and is read anew for each request. Reading it may take
 * long, so a thread of the pool `default` does it; the request waits, and its loop serves
 * others meanwhile. A question to a database would look the same: what stands for its
 * connection is the open file, which has one position and so serves one thread. Each thread
 * opens it before its first question and keeps it. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/module.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/worker.h>

#define ADDRESS_BYTES  64
#define LIST_MAX_BYTES (16u << 20)

/* The module's, for all of the server. */
struct lookup_options {
    struct weir_str file;
};

/* Of each place where it is used. */
struct lookup_conf {
    uint64_t within_ns;
};

/* ---- on threads of the pool, which may block --------------------------------------------- */

/* What each thread keeps. No other thread sees it, so nothing is locked. */
struct reader {
    const char *path; /* the options', which live longer */
    int fd;           /* -1: to be opened again */
    char *text;       /* room for the list */
    size_t room;
};

static int
open_list(struct reader *reader)
{
    reader->fd = open(reader->path, O_RDONLY | O_CLOEXEC);
    return reader->fd == -1 ? errno : 0;
}

static void
close_list(struct reader *reader)
{
    close(reader->fd);
    reader->fd = -1;
}

/* Before a thread's first question. When it fails, that question is answered with WEIR_BUSY,
 * the log says why, and the next one's thread tries again. */
static WEIR_ON_THREAD int
thread_start(struct weir_worker *worker, void **state)
{
    const struct lookup_options *own = weir_worker_options(worker);
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return -ENOMEM;
    }
    reader->path = own->file.ptr;
    int error = open_list(reader);
    if (error != 0) {
        free(reader);
        return -error;
    }
    *state = reader;
    return 0;
}

/* Before the thread ends. */
static WEIR_ON_THREAD void
thread_stop(struct weir_worker *worker, void *state)
{
    (void)worker;
    struct reader *reader = state;
    if (reader->fd != -1) {
        close_list(reader);
    }
    free(reader->text);
    free(reader);
}

/* The whole list; it is the reader's. Returns 0 or an error number. */
static int
read_list(struct reader *reader, struct weir_str *list)
{
    size_t len = 0;
    for (;;) {
        if (len == reader->room) {
            size_t room = reader->room == 0 ? 4096 : reader->room * 2;
            char *text = room > LIST_MAX_BYTES ? NULL : realloc(reader->text, room);
            if (text == NULL) {
                return room > LIST_MAX_BYTES ? EFBIG : ENOMEM;
            }
            reader->text = text;
            reader->room = room;
        }
        ssize_t n = read(reader->fd, reader->text + len, reader->room - len);
        if (n <= 0) {
            *list = weir_str_make(reader->text, len);
            return n == 0 ? 0 : errno;
        }
        len += (size_t)n;
    }
}

/* All that the thread needs beside, as copies: the client may leave and the request be freed
 * while the thread is still at work. For the same reason it is not from weir_request_alloc().
 */
struct question {
    char address[ADDRESS_BYTES];
    bool is_listed; /* the answer */
    int error;      /* why there is none; 0: there is one */
};

static WEIR_ON_THREAD void
run(void *data, void *thread_state)
{
    struct question *question = data;
    struct reader *reader = thread_state;
    struct stat status;
    struct weir_str list, line;
    if (reader->fd != -1 && fstat(reader->fd, &status) == 0 && status.st_nlink == 0) {
        close_list(reader); /* another file may be in its place */
    }
    question->error = reader->fd == -1 ? open_list(reader) : 0;
    if (question->error != 0) {
        return;
    }
    question->error = read_list(reader, &list);
    if (question->error != 0 || lseek(reader->fd, 0, SEEK_SET) == -1) {
        close_list(reader);
    }
    while (question->error == 0 && !question->is_listed && weir_str_split(&list, '\n', &line)) {
        line.len -= line.len > 0 && line.ptr[line.len - 1] == '\r';
        question->is_listed = weir_str_eq(line, weir_str_from(question->address));
    }
}

/* ---- on the request's loop, which may not ------------------------------------------------ */

/* In the place of the hook that asked. */
static enum weir_verdict
done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)conf;
    const struct question *question = data; /* NULL unless `how` is WEIR_WOKEN or WEIR_BUSY */
    switch (how) {
    case WEIR_WOKEN:
        if (question->error != 0) {
            return WEIR_FAILED; /* 500: nobody passes whom we could not look up */
        }
        return question->is_listed ? weir_reply_error(request, 403) : WEIR_NEXT;
    case WEIR_BUSY:
        return WEIR_NEXT; /* does not let it pass: the core answers 503 with Retry-After */
    case WEIR_TIMED_OUT:
        return weir_reply_text(request, 504, WEIR_STR("text/plain; charset=utf-8"),
                WEIR_STR("The list was not read in time.\n"));
    case WEIR_ABORTED:
        break; /* the request has ended; nobody hears what we say */
    }
    return WEIR_NEXT;
}

static const struct weir_job job = { .run = run, .done = done, .free = free };

/* The hook. */
static enum weir_verdict
look_up(struct weir_request *request, const void *conf_)
{
    const struct lookup_conf *conf = conf_;
    struct question *question = calloc(1, sizeof(*question));
    if (question == NULL) {
        return WEIR_FAILED;
    }
    struct weir_str client = weir_request_client(request);
    if (client.ptr == NULL ||
            weir_str_to_path(client, question->address, sizeof(question->address)) < 0) {
        free(question);
        return WEIR_FAILED;
    }
    /* From here on the question is the core's, which frees it once, whatever happens. */
    return weir_offload(request, &job, question, conf->within_ns);
}

/* ---- what it is -------------------------------------------------------------------------- */

static const struct weir_option options[] = {
    WEIR_PATH(struct lookup_options, file, .help = "Addresses that may not pass, one a line",
            .required = true, .access = WEIR_ACCESS_FILE),
};

static const struct weir_option handler_options[] = {
    WEIR_DURATION(struct lookup_conf, within_ns, .key = "within", .preset = "2s",
            .help = "How long a request waits for the answer, at most timeouts.wait"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_AUTHORIZE, .request = look_up },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("lookup", "2.0.0", "Looks clients up in a file"),
    .flags = WEIR_MODULE_MANY_LOOPS, /* it has no variables of its own */
    WEIR_HANDLERS({ .name = "lookup",
            .options = WEIR_OPTIONS(struct lookup_conf, handler_options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers 403 to clients whose address stands in a file" }),
    .options = WEIR_OPTIONS(struct lookup_options, options),
    .thread_start = thread_start,
    .thread_stop = thread_stop,
};
