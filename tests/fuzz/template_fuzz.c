/* SPDX-License-Identifier: MIT */
/* Templates: the first byte is the context, the rest of the first line the template, all that
 * follows the requests into which it is filled. What a client sends never leaves its context.
 */
#include "config/template.h"

#include <weir/reply.h>
#include <weir/template.h>

#include "fuzz/fuzz.h"
#include "support/rig.h"

/* The pieces are the text again: `{{` stands for a brace, and a variable between its braces. */
static void
check_pieces(const struct weir_template *template, struct weir_str text)
{
    FUZZ_CHECK(weir_str_eq(weir_template_source(template), text));
    size_t at = 0;
    for (size_t i = 0; i < template->count; i++) {
        const struct template_piece *piece = &template->pieces[i];
        if (piece->variable == TEMPLATE_LITERAL) {
            FUZZ_CHECK(piece->text.len > 0 && piece->text.len <= text.len - at);
            FUZZ_CHECK(memcmp(piece->text.ptr, text.ptr + at, piece->text.len) == 0);
            at += piece->text.len;
            at += at < text.len && text.ptr[at - 1] == '{' && text.ptr[at] == '{' ? 1 : 0;
            continue;
        }
        FUZZ_CHECK(at < text.len && text.ptr[at] == '{' && !template->is_literal);
        const char *end = memchr(text.ptr + at, '}', text.len - at);
        FUZZ_CHECK(end != NULL);
        at = (size_t)(end - text.ptr) + 1;
    }
    FUZZ_CHECK(at == text.len);
}

static bool
may_hold(enum weir_context context, unsigned char c)
{
    switch (context) {
    case WEIR_CONTEXT_TEXT:
    case WEIR_CONTEXT_HTML: /* its literals are the operator's; see count_tags() */
        return true;
    case WEIR_CONTEXT_HEADER:
        return c != '\r' && c != '\n' && c != '\0';
    case WEIR_CONTEXT_TARGET:
        return c > 0x20 && c != 0x7f;
    case WEIR_CONTEXT_PATH:
        return c != '\0';
    case WEIR_CONTEXT_LOG:
        return c != '\r' && c != '\n' && c != '\0';
    }
    return false;
}

static size_t
count_tags(struct weir_str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == '<' || text.ptr[i] == '"' || text.ptr[i] == '\'';
    }
    return count;
}

/* Segments `..`. */
static size_t
count_ups(struct weir_str text)
{
    size_t count = 0;
    for (size_t i = 0; i + 1 < text.len; i++) {
        bool is_segment = (i == 0 || text.ptr[i - 1] == '/') &&
                (i + 2 == text.len || text.ptr[i + 2] == '/');
        count += is_segment && memcmp(text.ptr + i, "..", 2) == 0;
    }
    return count;
}

/* What it becomes, of which nothing leaves its place. */
static struct weir_str
fill(struct weir_request *request, const struct weir_template *template)
{
    struct weir_str text = weir_template_text(request, template);
    FUZZ_CHECK(text.ptr != NULL);
    for (size_t i = 0; i < text.len; i++) {
        FUZZ_CHECK(may_hold(template->context, (unsigned char)text.ptr[i]));
    }
    if (template->context == WEIR_CONTEXT_HTML) {
        FUZZ_CHECK(count_tags(text) <= count_tags(template->raw));
    }
    if (template->context == WEIR_CONTEXT_PATH &&
            memmem(template->raw.ptr, template->raw.len, "..", 2) == NULL) {
        FUZZ_CHECK(count_ups(text) == 0);
    }
    return text;
}

static enum weir_verdict
answer(struct weir_request *request, const void *conf)
{
    const struct weir_template *template = *(const struct weir_template *const *)conf;
    if (template->context == WEIR_CONTEXT_LOG) {
        return weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("logged"));
    }
    struct weir_str text = fill(request, template);
    if (template->context == WEIR_CONTEXT_HEADER) {
        FUZZ_CHECK(weir_reply_begin(request, 200) == 0);
        FUZZ_CHECK(weir_reply_set(request, WEIR_STR("X-Filled"), text) == 0);
        return weir_reply_end(request) == 0 ? WEIR_DONE : WEIR_FAILED;
    }
    return weir_reply_text(request, 200, WEIR_STR("text/plain"), text);
}

/* What is known when the request has ended is for lines of logs. */
static enum weir_verdict
write_line(struct weir_request *request, const void *conf)
{
    const struct weir_template *template = *(const struct weir_template *const *)conf;
    if (template->context == WEIR_CONTEXT_LOG) {
        (void)fill(request, template);
    }
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = answer },
    { .on = WEIR_ON_LOG, .request = write_line } };
static const struct weir_handler handler = { .name = "filler", .hooks = WEIR_HOOKS(hooks) };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_str rest = fuzz_str(data, size), text = fuzz_take_line(&rest);
    if (text.len == 0) {
        return 0;
    }
    enum weir_context context = (enum weir_context)(
            (unsigned char)text.ptr[0] % (WEIR_CONTEXT_LOG + 1));
    text.ptr++;
    text.len--;
    struct arena arena;
    arena_init(&arena, NULL, 0, SIZE_MAX);
    const struct weir_template *template = NULL;
    struct template_mistake mistake = { .message = NULL };
    if (template_parse(&arena, text, context, NULL, &template, &mistake) == 0) {
        check_pieces(template, text);
        static struct rig rig;
        const void *const confs[] = { &template };
        rig_init_with(&rig, &handler, confs, 1);
        rig_connect(&rig);
        rig_send(&rig, rest);
        FUZZ_CHECK(!weir_str_starts_with(rig_received(&rig), WEIR_STR("HTTP/1.1 500")));
        rig_fini(&rig);
    } else {
        FUZZ_CHECK(mistake.message != NULL && mistake.offset <= text.len);
        FUZZ_CHECK(mistake.length <= text.len - mistake.offset);
    }
    arena_reset(&arena);
    return 0;
}
