/* SPDX-License-Identifier: MIT */
/* An example of work that blocks: clients whose address stands in a file are answered 403.
 *
 *     { "use": [{ "lookup": { "file": "/srv/banned.txt", "within": "2s" } }] }
 *
 * The file has an address on each line and is read anew for each request. Reading it may take
 * long, so a thread of the pool `default` does it; the request waits, and its loop serves
 * others meanwhile. A question to a database would look the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/module.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>

#define PATH_BYTES    1024
#define ADDRESS_BYTES 64

struct lookup_conf {
    struct weir_str file;
    uint64_t within_ns;
};

/* All that the thread needs, as copies: the client may leave and the request be freed while the
 * thread is still at work. For the same reason it is not from weir_request_alloc(). */
struct question {
    char path[PATH_BYTES];
    char address[ADDRESS_BYTES];
    bool is_listed; /* the answer */
    int error;      /* why there is none; 0: there is one */
};

/* On a thread of the pool, which may block. */
static void
run(void *data, void *thread_state)
{
    (void)thread_state;
    struct question *question = data;
    FILE *file = fopen(question->path, "re");
    if (file == NULL) {
        question->error = errno;
        return;
    }
    char *line = NULL;
    size_t line_bytes = 0;
    while (!question->is_listed && getline(&line, &line_bytes, file) != -1) {
        line[strcspn(line, "\r\n")] = '\0';
        question->is_listed = strcmp(line, question->address) == 0;
    }
    if (!question->is_listed && !feof(file)) {
        question->error = errno; /* it was not read to its end: no answer */
    }
    free(line);
    fclose(file);
}

/* On the request's loop again, in the place of the hook that asked. */
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
            weir_str_to_path(client, question->address, sizeof(question->address)) < 0 ||
            weir_str_to_path(conf->file, question->path, sizeof(question->path)) < 0) {
        free(question);
        return WEIR_FAILED;
    }
    /* From here on the question is the core's, which frees it once, whatever happens. */
    return weir_offload(request, &job, question, conf->within_ns);
}

/* Pure: looks at the configuration and at nothing else. */
static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct lookup_conf *conf = conf_;
    char path[PATH_BYTES];
    if (weir_str_to_path(conf->file, path, sizeof(path)) < 0) {
        weir_conf_error(report, "file", "a path has at most %d bytes, and no NUL",
                PATH_BYTES - 1);
        return -EINVAL;
    }
    return 0;
}

static const struct weir_option options[] = {
    WEIR_PATH(struct lookup_conf, file, .help = "Addresses that may not pass, one a line",
            .required = true, .shorthand = true),
    WEIR_DURATION(struct lookup_conf, within_ns, .key = "within", .preset = "2s",
            .help = "How long a request waits for the answer, at most timeouts.wait"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_AUTHORIZE, .request = look_up },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("lookup", "1.0.0", "Looks clients up in a file"),
    .flags = WEIR_MODULE_MANY_LOOPS, /* it has no variables of its own */
    WEIR_HANDLERS({ .name = "lookup",
            .options = WEIR_OPTIONS(struct lookup_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers 403 to clients whose address stands in a file",
            .conf_check = check }),
};
