/* SPDX-License-Identifier: MIT */
/* Which page: by status, then by what the client accepts. */
#include <string.h>

#include <weir/request.h>

#include "error_pages.h"

/* How well a media type is accepted: its weight in thousandths, 0: not at all. The most
 * specific range decides (RFC 9110 section 12.5.1); without Accept everything is welcome. */
static unsigned
weight(const struct weir_request *request, struct weir_str type)
{
    struct weir_str essence = type, major = type;
    (void)weir_str_split(&type, ';', &essence);
    type = essence;
    (void)weir_str_split(&type, '/', &major);
    unsigned best = 0, found = 1000;
    bool has_accept = false;
    struct weir_str name, value;
    for (uint32_t i = 0; weir_request_field_at(request, i, &name, &value); i++) {
        struct weir_str part;
        while (weir_str_eq_icase(name, WEIR_STR("Accept")) && value.ptr != NULL &&
                weir_str_split(&value, ',', &part)) {
            struct weir_str range, parameter;
            if (!weir_str_split(&part, ';', &range)) {
                continue;
            }
            has_accept = true;
            bool is_major = range.len == major.len + 2 &&
                    weir_str_eq_icase(weir_str_make(range.ptr, major.len), major) &&
                    memcmp(range.ptr + major.len, "/*", 2) == 0;
            unsigned specific = weir_str_eq_icase(range, essence) ? 3
                    : is_major                                    ? 2
                    : weir_str_eq(range, WEIR_STR("*/*"))         ? 1
                                                                  : 0;
            if (specific == 0 || specific < best) {
                continue;
            }
            best = specific;
            found = 1000;
            while (part.ptr != NULL && weir_str_split(&part, ';', &parameter)) {
                bool is_q = parameter.len >= 3 && (parameter.ptr[0] | 0x20) == 'q' &&
                        parameter.ptr[1] == '=';
                if (is_q && parameter.ptr[2] == '0') {
                    unsigned unit = 100;
                    found = 0;
                    for (size_t j = 4; j < parameter.len && j < 7; j++, unit /= 10) {
                        found += parameter.ptr[j] >= '0' && parameter.ptr[j] <= '9'
                                ? unit * (unsigned)(parameter.ptr[j] - '0')
                                : 0;
                    }
                }
            }
        }
    }
    return !has_accept ? 1000 : best == 0 ? 0 : found;
}

const struct page *
error_pages_choose(const struct weir_request *request, const struct error_pages_conf *conf,
        unsigned status)
{
    const struct page *chosen = NULL;
    unsigned chosen_width = 0, chosen_weight = 0;
    for (size_t i = 0; i < conf->count; i++) {
        const struct page *page = &conf->pages[i];
        if (status < page->status.first || status > page->status.last) {
            continue;
        }
        unsigned width = (unsigned)(page->status.last - page->status.first);
        unsigned liked = page->type.len == 0 ? 1 : weight(request, page->type);
        if (chosen == NULL || width < chosen_width ||
                (width == chosen_width && liked > chosen_weight)) {
            chosen = page;
            chosen_width = width;
            chosen_weight = liked;
        }
    }
    return chosen;
}
