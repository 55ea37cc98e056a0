/* SPDX-License-Identifier: MIT */
/* "Did you mean": the edit distance (insert, drop, replace, swap neighbours), case ignored, of
 * short words only, so that a hostile file cannot make it expensive. */
#include "config/diagnostic.h"

#define WORD_MAX_BYTES 40u

static char
fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c == '-' ? '_' : c;
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment; both at most WORD_MAX_BYTES. */
static size_t
distance(struct weir_str a, struct weir_str b)
{
    size_t rows[3][WORD_MAX_BYTES + 1];
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = fold(a.ptr[i - 1]) == fold(b.ptr[j - 1]);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + !same);
            if (i > 1 && j > 1 && fold(a.ptr[i - 1]) == fold(b.ptr[j - 2]) &&
                    fold(a.ptr[i - 2]) == fold(b.ptr[j - 1])) {
                row[j] = least(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a.len % 3][b.len];
}

void
suggestion_init(struct suggestion *suggestion, struct weir_str word)
{
    /* A third of the word may be wrong, and at least one letter. */
    size_t allowed = word.len <= 3 ? 1 : word.len / 3;
    *suggestion = (struct suggestion){ .word = word, .distance = allowed + 1 };
}

void
suggestion_offer(struct suggestion *suggestion, struct weir_str candidate)
{
    struct weir_str word = suggestion->word;
    if (word.len == 0 || word.len > WORD_MAX_BYTES || candidate.len > WORD_MAX_BYTES ||
            candidate.len == 0) {
        return;
    }
    size_t d = distance(word, candidate);
    if (d < suggestion->distance) {
        suggestion->distance = d;
        suggestion->best = candidate;
    }
}

void
suggestion_hint(const struct suggestion *suggestion, struct diagnostic *diagnostic)
{
    if (suggestion->best.ptr != NULL) {
        diagnostic_hint(diagnostic, "did you mean \"%.*s\"?", WEIR_STR_ARG(suggestion->best));
    }
}
