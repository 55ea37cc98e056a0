/* SPDX-License-Identifier: MIT */
/* Accept-Encoding (RFC 9110 section 12.5.3). */
#include "static.h"

#define UNSAID UINT16_MAX

static const struct {
    struct weir_str name, alias, suffix;
} codings[STATIC_CODINGS] = {
    [STATIC_GZIP] = { WEIR_STR_INIT("gzip"), WEIR_STR_INIT("x-gzip"), WEIR_STR_INIT(".gz") },
    [STATIC_BROTLI] = { WEIR_STR_INIT("br"), WEIR_STR_INIT("br"), WEIR_STR_INIT(".br") },
    [STATIC_ZSTD] = { WEIR_STR_INIT("zstd"), WEIR_STR_INIT("zstd"), WEIR_STR_INIT(".zst") },
};

struct weir_str
static_coding_name(enum static_coding coding)
{
    return codings[coding].name;
}

struct weir_str
static_coding_suffix(enum static_coding coding)
{
    return codings[coding].suffix;
}

void
static_weights_init(struct static_weights *weights)
{
    for (int i = 0; i < STATIC_CODINGS; i++) {
        weights->of[i] = UNSAID;
    }
    weights->any = UNSAID;
    weights->identity = 0;
}

/* qvalue (section 12.4.2) in thousandths; 0, so that it is not used, when malformed. */
static uint16_t
read_weight(struct weir_str text)
{
    if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1') ||
            (text.len > 1 && text.ptr[1] != '.')) {
        return 0;
    }
    unsigned weight = (unsigned)(text.ptr[0] - '0') * 1000;
    unsigned unit = 100;
    for (size_t i = 2; i < text.len; i++, unit /= 10) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return 0;
        }
        weight += (unsigned)(text.ptr[i] - '0') * unit;
    }
    return weight > 1000 ? 0 : (uint16_t)weight;
}

uint16_t
static_weight_in(struct weir_str parameters)
{
    struct weir_str part;
    while (parameters.ptr != NULL && weir_str_split(&parameters, ';', &part)) {
        if (part.len >= 2 && (part.ptr[0] == 'q' || part.ptr[0] == 'Q') && part.ptr[1] == '=') {
            return read_weight(weir_str_make(part.ptr + 2, part.len - 2));
        }
    }
    return 1000;
}

void
static_weights_read(struct static_weights *weights, struct weir_str value)
{
    struct weir_str element;
    while (value.ptr != NULL && weir_str_split(&value, ',', &element)) {
        struct weir_str parameters = element, name;
        if (!weir_str_split(&parameters, ';', &name)) {
            continue;
        }
        uint16_t weight = static_weight_in(parameters);
        if (weir_str_eq(name, WEIR_STR("*"))) {
            weights->any = weight;
            continue;
        }
        if (weir_str_eq_icase(name, WEIR_STR("identity"))) {
            weights->identity = weight;
            continue;
        }
        for (int i = 0; i < STATIC_CODINGS; i++) {
            if (weir_str_eq_icase(name, codings[i].name) ||
                    weir_str_eq_icase(name, codings[i].alias)) {
                weights->of[i] = weight;
            }
        }
    }
}

uint16_t
static_weight(const struct static_weights *weights, enum static_coding coding)
{
    if (weights->of[coding] != UNSAID) {
        return weights->of[coding];
    }
    return weights->any == UNSAID ? 0 : weights->any;
}
