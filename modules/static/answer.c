/* SPDX-License-Identifier: MIT */
/* From a file to an answer: the precompressed one beside it, fields of the configuration's own,
 * and what is said when there is something that cannot be served. */
#include <errno.h>
#include <string.h>

#include "static.h"

enum weir_verdict
static_answer_error(struct weir_request *request, int error)
{
    unsigned status;
    switch (-error) {
    case EACCES:
    case EPERM:
        status = 403;
        break;
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        status = 503;
        break;
    case EIO:
        status = 500;
        break;
    default:
        return WEIR_NEXT;
    }
    enum weir_verdict verdict = weir_reply_error(request, status);
    if (verdict == WEIR_DONE && status == 503) {
        /* Without it the answer is still a good one. */
        int ignored = weir_reply_set(request, WEIR_STR("Retry-After"), WEIR_STR("1"));
        (void)ignored;
    }
    return verdict;
}

static void
read_weights(const struct weir_request *request, struct static_weights *weights)
{
    struct weir_str name, value;
    static_weights_init(weights);
    for (uint32_t i = 0; weir_request_field_at(request, i, &name, &value); i++) {
        if (weir_str_eq_icase(name, WEIR_STR("Accept-Encoding"))) {
            static_weights_read(weights, value);
        }
    }
}

/* The file to send in the place of `file`: the precompressed one that the client wants most,
 * the first in the configuration's order among equals; that of a client that wants the file as
 * it is more than any of them is the file. */
struct choice {
    const struct weir_file *file;
    int coding;       /* -1: as it is */
    bool is_a_choice; /* there is a precompressed one, accepted or not */
};

static enum weir_verdict
choose(struct weir_request *request, const struct static_conf *conf, struct weir_str path,
        weir_request_fn *resume, struct choice *choice)
{
    struct static_weights weights;
    char *name = weir_request_alloc(request, path.len + 4);
    if (name == NULL) {
        return WEIR_FAILED;
    }
    if (path.len > 0) {
        memcpy(name, path.ptr, path.len);
    }
    read_weights(request, &weights);
    const struct weir_file *original = choice->file;
    uint16_t best = weights.identity > 0 ? weights.identity - 1 : 0;
    for (size_t i = 0; i < conf->precompressed.count; i++) {
        int coding = WEIR_LIST_AT(int, &conf->precompressed, i);
        struct weir_str suffix = static_coding_suffix((enum static_coding)coding);
        memcpy(name + path.len, suffix.ptr, suffix.len);
        /* One that will not be sent is only looked for. */
        uint16_t weight = static_weight(&weights, (enum static_coding)coding);
        const struct weir_file *file;
        enum weir_verdict verdict = weir_file_find(request, conf->dir,
                weir_str_make(name, path.len + suffix.len),
                weight > best ? WEIR_FILE_TO_SEND : 0, resume, &file);
        if (verdict != WEIR_NEXT) {
            return verdict;
        }
        if (weir_file_kind(file) != WEIR_FILE_REGULAR ||
                weir_file_modified_ns(file) < weir_file_modified_ns(original)) {
            continue; /* older than the original: it is another version's */
        }
        choice->is_a_choice = true;
        if (weight > best) {
            best = weight;
            choice->file = file;
            choice->coding = coding;
        }
    }
    return WEIR_NEXT;
}

static int
set_fields(struct weir_request *request, const struct static_conf *conf)
{
    int r = 0;
    if (conf->cache_control.len > 0) {
        r = weir_reply_set(request, WEIR_STR("Cache-Control"), conf->cache_control);
    }
    for (size_t i = 0; i < conf->headers.count && r == 0; i++) {
        r = weir_reply_set(request, conf->headers.items[i].key, conf->headers.items[i].value);
    }
    return r;
}

/* Of a coding: its name, and the type of what it decodes to. */
static int
set_coding(struct weir_request *request, int coding, const struct weir_file *original)
{
    int r = weir_reply_set(request, WEIR_STR("Content-Type"), weir_file_type(original));
    return r < 0 ? r
                 : weir_reply_set(request, WEIR_STR("Content-Encoding"),
                           static_coding_name((enum static_coding)coding));
}

enum weir_verdict
static_answer(struct weir_request *request, const struct static_conf *conf,
        struct weir_str path, const struct weir_file *file, weir_request_fn *resume)
{
    struct choice choice = { .file = file, .coding = -1 };
    if (conf->precompressed.count > 0) {
        enum weir_verdict verdict = choose(request, conf, path, resume, &choice);
        if (verdict != WEIR_NEXT) {
            return verdict;
        }
    }
    int r = weir_reply_with_file(request, 200, choice.file) == WEIR_DONE ? 0 : -ENOMEM;
    if (r == 0 && choice.coding >= 0) {
        r = set_coding(request, choice.coding, file);
    }
    if (r == 0) {
        r = set_fields(request, conf);
    }
    if (r == 0 && choice.is_a_choice) {
        /* Beside what the configuration's own headers may say. */
        r = weir_reply_add(request, WEIR_STR("Vary"), WEIR_STR("Accept-Encoding"));
    }
    return r < 0 ? WEIR_FAILED : WEIR_DONE;
}

enum weir_verdict
static_answer_fallback(struct weir_request *request, const struct static_conf *conf,
        struct weir_str path, const struct weir_file *file, weir_request_fn *resume)
{
    enum weir_verdict verdict = static_answer(request, conf, path, file, resume);
    if (verdict == WEIR_DONE &&
            weir_reply_set(request, WEIR_STR("Cache-Control"), WEIR_STR("no-cache")) < 0) {
        return WEIR_FAILED;
    }
    return verdict;
}
