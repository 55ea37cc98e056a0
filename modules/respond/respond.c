/* SPDX-License-Identifier: MIT */
/* Answers with a status and a text from the configuration:
 *     { "respond": { "status": 200, "type": "text/plain", "body": "Hello {client.ip}" } } */
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

struct respond_conf {
    struct weir_status status;
    const struct weir_template *body; /* NULL: the server's own text for the status */
    struct weir_str type;
};

static const struct weir_option options[] = {
    WEIR_STATUS(struct respond_conf, status, .preset = "200", .single = true, .min = 200,
            .max = 599, .help = "Status of the answer"),
    WEIR_TEMPLATE(struct respond_conf, body, .optional = true, .shorthand = true,
            .context = WEIR_CONTEXT_TEXT,
            .help = "Text to send; without it a short one that names the status"),
    WEIR_STRING(struct respond_conf, type, .preset = "text/plain; charset=utf-8",
            .help = "Content-Type of the text"),
};

static int
check(const void *conf, struct weir_conf_report *report)
{
    const struct respond_conf *c = conf;
    for (size_t i = 0; i < c->type.len; i++) {
        unsigned char byte = (unsigned char)c->type.ptr[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            weir_conf_error(report, "type", "a control character in the value of a field");
            break;
        }
    }
    if (c->status.first == 205 && c->body != NULL) {
        weir_conf_error(report, "body", "an answer with status 205 has no text");
    }
    return 0;
}

static enum weir_verdict
respond(struct weir_request *request, const void *conf)
{
    const struct respond_conf *c = conf;
    if (c->status.first == 205) { /* RFC 9110 section 15.3.6 */
        bool has_ended = weir_reply_begin(request, 205) == 0 && weir_reply_end(request) == 0;
        return has_ended ? WEIR_DONE : WEIR_FAILED;
    }
    if (c->body == NULL) {
        return weir_reply_error(request, c->status.first);
    }
    struct weir_str text = weir_template_text(request, c->body);
    if (text.ptr == NULL) {
        return WEIR_FAILED;
    }
    return weir_reply_text(request, c->status.first, c->type, text);
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = respond },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("respond", "1.0.0", "Answers with a status and a text"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "respond",
            .help = "Answers with a status and a text",
            .options = WEIR_OPTIONS(struct respond_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .conf_check = check }),
};
