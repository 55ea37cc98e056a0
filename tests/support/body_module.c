/* SPDX-License-Identifier: MIT */
/* A module for tests of bodies. Its handler `sum` reads the whole of one, lets a thread of the
 * default pool think about it, and answers "LENGTH ADLER32" (RFC 1950 section 8.2). Its handler
 * `make` answers so many bytes as the path says, and does not wait for the client; of /made how
 * many such answers have been written to their ends, in this process. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <weir/module.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>

#define ADLER_BASE 65521u

struct sum {
    uint64_t bytes;
    uint32_t low, high;
};

static void
add(struct sum *sum, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum->low = (sum->low + (unsigned char)bytes[i]) % ADLER_BASE;
        sum->high = (sum->high + sum->low) % ADLER_BASE;
    }
    sum->bytes += len;
}

struct thought {
    struct sum sum;
    char text[64];
};

static void
think(void *data, void *thread_state)
{
    (void)thread_state;
    struct thought *thought = data;
    snprintf(thought->text, sizeof(thought->text), "%llu %lu",
            (unsigned long long)thought->sum.bytes,
            (unsigned long)thought->sum.high << 16 | thought->sum.low);
}

static enum weir_verdict
tell(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)conf;
    const struct thought *thought = data;
    return how != WEIR_WOKEN ? WEIR_NEXT
                             : weir_reply_text(request, 200, WEIR_STR("text/plain"),
                                       weir_str_from(thought->text));
}

static const struct weir_job job = { .run = think, .done = tell, .free = free };

static enum weir_verdict
read_on(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct sum *sum = weir_request_state(request);
    char bytes[16384];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
        add(sum, bytes, (size_t)n);
    }
    if (n == -EAGAIN) {
        return weir_body_wait(request, read_on);
    }
    struct thought *thought = n < 0 ? NULL : malloc(sizeof(*thought));
    if (thought == NULL) {
        return WEIR_FAILED;
    }
    thought->sum = *sum;
    return weir_offload(request, &job, thought, WEIR_WAIT_PRESET);
}

static enum weir_verdict
begin(struct weir_request *request, const void *conf)
{
    struct sum *sum = weir_request_state(request);
    sum->low = 1;
    return read_on(request, conf);
}

/* ---- make -------------------------------------------------------------------------------- */

static _Atomic unsigned made; /* by any loop */

struct making {
    uint64_t bytes, written;
};

static enum weir_verdict
write_on(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct making *making = weir_request_state(request);
    char piece[10000];
    while (making->written < making->bytes) {
        size_t len = sizeof(piece);
        len = making->bytes - making->written < len ? (size_t)(making->bytes - making->written)
                                                    : len;
        for (size_t i = 0; i < len; i++) {
            piece[i] = (char)((making->written + i) % 251);
        }
        ssize_t n = weir_reply_write(request, (struct weir_str){ piece, len });
        if (n == -EAGAIN) {
            return weir_reply_wait(request, write_on);
        }
        if (n < 0) {
            return WEIR_FAILED;
        }
        making->written += (uint64_t)n;
    }
    atomic_fetch_add(&made, 1);
    return WEIR_DONE;
}

static enum weir_verdict
begin_making(struct weir_request *request, const void *conf)
{
    struct making *making = weir_request_state(request);
    struct weir_str path = weir_request_path(request);
    char text[64];
    if (weir_str_eq(path, WEIR_STR("/made"))) {
        snprintf(text, sizeof(text), "%u", atomic_load(&made));
        return weir_reply_text(request, 200, WEIR_STR("text/plain"), weir_str_from(text));
    }
    snprintf(text, sizeof(text), "%.*s", WEIR_STR_ARG(path));
    making->bytes = strtoull(text + 1, NULL, 10);
    if (weir_reply_begin(request, 200) < 0 || weir_reply_keep(request) < 0) {
        return WEIR_FAILED;
    }
    return write_on(request, conf);
}

static const struct weir_hook make_hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = begin_making },
};

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = begin } };

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("body", "1.0.0", "Sums up bodies, and makes some"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "sum",
                          .hooks = WEIR_HOOKS(hooks),
                          .state_bytes = sizeof(struct sum) },
            { .name = "make",
                    .hooks = WEIR_HOOKS(make_hooks),
                    .state_bytes = sizeof(struct making) }),
};
