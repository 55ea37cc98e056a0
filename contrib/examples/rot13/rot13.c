/* SPDX-License-Identifier: MIT */
/* An example of a body filter: turns the letters of every text that is answered by 13 places.
 *
 *     { "use": ["rot13"] }
 *
 * Two hooks: the one of the reply head sees each answer before any of it leaves, and switches
 * the filter on for those that it wants; the filter then sees their bytes, run by run, and
 * never more of them in memory than the client has room for. */
#include <weir/filter.h>
#include <weir/module.h>
#include <weir/reply.h>

static enum weir_verdict
choose(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str type = weir_reply_field(request, WEIR_STR("Content-Type"));
    struct weir_str coding = weir_reply_field(request, WEIR_STR("Content-Encoding"));
    if (!weir_str_starts_with(type, WEIR_STR("text/")) || coding.ptr != NULL) {
        return WEIR_NEXT; /* no text, or a compressed one */
    }
    return weir_filter_enable(request) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static char
turn(char c)
{
    if ((c >= 'a' && c <= 'm') || (c >= 'A' && c <= 'M')) {
        return (char)(c + 13);
    }
    if ((c >= 'n' && c <= 'z') || (c >= 'N' && c <= 'Z')) {
        return (char)(c - 13);
    }
    return c;
}

/* Takes what there is, as much as fits; is called again for the rest. */
static enum weir_verdict
filter_run(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    char turned[4096];
    struct weir_str input = weir_filter_input(filter); /* empty at the very end */
    size_t room = weir_filter_room(filter);
    size_t len = input.len < sizeof(turned) ? input.len : sizeof(turned);
    len = len < room ? len : room;
    for (size_t i = 0; i < len; i++) {
        turned[i] = turn(input.ptr[i]);
    }
    if (weir_filter_write(filter, weir_str_make(turned, len)) < 0) {
        return WEIR_FAILED; /* no memory; there was room */
    }
    weir_filter_consume(filter, len);
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_REPLY_HEAD, .request = choose },
    { .on = WEIR_ON_REPLY_BODY, .stage = WEIR_STAGE_TRANSFORM, .filter = filter_run },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("rot13", "1.0.0", "Turns the letters of texts"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "rot13",
            .hooks = WEIR_HOOKS(hooks),
            .help = "Turns the letters of every text by 13 places" }),
};
