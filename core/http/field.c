/* SPDX-License-Identifier: MIT */
/* The table of field names and the grammar around it. Nothing here asks a locale. */
#include "http/field.h"

#include <endian.h>

#define NAME_BYTES_MIN 2

/* Half a cache line each. */
struct entry {
    uint8_t len;
    uint8_t flags;
    char name[30];
};

_Static_assert(sizeof(struct entry) == 32, "two entries to a cache line");
_Static_assert(FIELD_COUNT <= 128, "field_set and the slots hold 128 fields");

/* Bytes of this size that a name of the table must not exceed. */
#define FIELD_FITS(id, text, slot, flags)                                   \
    _Static_assert(sizeof(text) - 1 <= sizeof(((struct entry *)0)->name) && \
                    sizeof(text) - 1 >= NAME_BYTES_MIN,                     \
            "the name does not fit its entry");
FIELDS(FIELD_FITS)
#undef FIELD_FITS

static const struct entry entries[FIELD_COUNT] __attribute__((aligned(64))) = {
#define FIELD_ENTRY(id, text, slot, flags) [FIELD_##id] = { sizeof(text) - 1, flags, text },
    FIELDS(FIELD_ENTRY)
#undef FIELD_ENTRY
};

/* FIELD_OTHER where no name belongs: its length of 0 is no name's. */
static const uint8_t slots[256] __attribute__((aligned(64))) = {
#define FIELD_SLOT(id, text, slot, flags) [slot] = FIELD_##id,
    FIELDS(FIELD_SLOT)
#undef FIELD_SLOT
};

static inline uint64_t
load64(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return le64toh(word);
}

static inline uint64_t
load32(const char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof(word));
    return le32toh(word);
}

static inline uint64_t
load_tiny(const char *p, size_t len)
{
    return (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[len / 2] << 8 |
            (uint64_t)(unsigned char)p[len - 1] << 16;
}

static inline uint64_t
key(const char *p, size_t len)
{
    uint64_t front, back = 0;
    if (len >= 8) {
        front = load64(p);
        back = load64(p + len - 8);
    } else if (len >= 4) {
        front = load32(p);
        back = load32(p + len - 4);
    } else {
        front = load_tiny(p, len);
    }
    /* Folds letters; that it also merges some bytes that are none costs nothing, since the name
     * is compared afterwards. */
    front |= UINT64_C(0x2020202020202020);
    back |= UINT64_C(0x2020202020202020);
    return front ^ (back << 7 | back >> 57) ^ len;
}

/* `ours` holds letters, digits and hyphens only. Of these letters alone have bit 6 set, so the
 * mask is bit 5 of exactly the bytes whose case does not matter. */
static inline bool
word_eq_icase(uint64_t theirs, uint64_t ours)
{
    uint64_t mask = (ours & UINT64_C(0x4040404040404040)) >> 1;
    return (theirs | mask) == (ours | mask);
}

static inline bool
name_eq_icase(const char *theirs, const char *ours, size_t len)
{
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            if (!word_eq_icase(load64(theirs + i), load64(ours + i))) {
                return false;
            }
        }
        return word_eq_icase(load64(theirs + len - 8), load64(ours + len - 8));
    }
    if (len >= 4) {
        return word_eq_icase(load32(theirs), load32(ours)) &&
                word_eq_icase(load32(theirs + len - 4), load32(ours + len - 4));
    }
    return word_eq_icase(load_tiny(theirs, len), load_tiny(ours, len));
}

uint64_t
field_key(struct weir_str name)
{
    return key(name.ptr, name.len);
}

enum field_id
field_id_find(struct weir_str name)
{
    if (name.len < NAME_BYTES_MIN) {
        return FIELD_OTHER;
    }
    uint8_t id = slots[field_slot(key(name.ptr, name.len), FIELD_MULTIPLIER)];
    const struct entry *entry = &entries[id];
    if (entry->len != name.len || !name_eq_icase(name.ptr, entry->name, name.len)) {
        return FIELD_OTHER;
    }
    return (enum field_id)id;
}

struct weir_str
field_name(enum field_id id)
{
    return weir_str_make(entries[id].name, entries[id].len);
}

unsigned
field_flags(enum field_id id)
{
    return entries[id].flags;
}

/* RFC 9110 section 5.6.2: tchar. */
const bool field_token_bytes[256] = {
    ['!'] = true,
    ['#' ... '\''] = true,
    ['*'] = true,
    ['+'] = true,
    ['-'] = true,
    ['.'] = true,
    ['0' ... '9'] = true,
    ['A' ... 'Z'] = true,
    ['^' ... '`'] = true,
    ['a' ... 'z'] = true,
    ['|'] = true,
    ['~'] = true,
};

size_t
field_token_len(struct weir_str s)
{
    size_t len = 0;
    while (len < s.len && field_is_token_byte(s.ptr[len])) {
        len++;
    }
    return len;
}

bool
field_name_is_valid(struct weir_str name)
{
    return name.len > 0 && field_token_len(name) == name.len;
}

bool
field_value_is_valid(struct weir_str value)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    size_t i = 0;
    for (; value.len - i >= 8; i += 8) {
        uint64_t word = load64(value.ptr + i);
        uint64_t del = word ^ ones * 0x7f;
        /* A high bit is set for a byte below 0x20 or equal to 0x7F; a borrow may also set it
         * for a byte above one of those, never hide one. */
        uint64_t suspects = ((word - ones * 0x20) & ~word) | ((del - ones) & ~del);
        if ((suspects & highs) == 0) {
            continue;
        }
        for (size_t j = i; j < i + 8; j++) {
            unsigned char c = (unsigned char)value.ptr[j];
            if ((c < 0x20 && c != '\t') || c == 0x7f) {
                return false;
            }
        }
    }
    for (; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

bool
field_name_has_underscore(struct weir_str name)
{
    return name.len > 0 && memchr(name.ptr, '_', name.len) != NULL;
}

/* Where the element at the front of `s` ends: at its comma or at the end. */
static size_t
element_len(struct weir_str s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '"') {
            quoted = !quoted;
        } else if (c == '\\' && quoted) {
            i++; /* quoted-pair: the next byte stands for itself */
        } else if (c == ',' && !quoted) {
            return i;
        }
    }
    return s.len;
}

bool
field_list_next(struct weir_str *rest, struct weir_str *element)
{
    while (rest->len > 0) {
        size_t len = element_len(*rest);
        struct weir_str found = weir_str_trim(weir_str_make(rest->ptr, len));
        size_t taken = len < rest->len ? len + 1 : len;
        rest->ptr += taken;
        rest->len -= taken;
        if (found.len > 0) {
            *element = found;
            return true;
        }
    }
    return false;
}
