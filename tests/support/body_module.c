/* SPDX-License-Identifier: MIT */
/* A module for tests of bodies: its handler `sum` reads the whole of one, lets a thread of the
 * default pool think about it, and answers "LENGTH ADLER32" (RFC 1950 section 8.2). */
#include <errno.h>
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

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = begin } };

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("body", "1.0.0", "Sums up bodies"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS(
            { .name = "sum", .hooks = WEIR_HOOKS(hooks), .state_bytes = sizeof(struct sum) }),
};
