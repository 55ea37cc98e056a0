/* SPDX-License-Identifier: MIT */
/* A line is formatted on the stack, escaped, and written with one call, so that lines of
 * several threads and processes do not mix. */
#include "observe/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 2048

/* Of a log that cannot be written, at the most. */
#define TELL_EVERY_S 60

static _Atomic int log_fd = STDERR_FILENO;
static _Atomic int level_now = LOG_INFO;
static _Atomic int form_now = LOG_TEXT;

static _Thread_local struct {
    log_listen_fn *fn;
    void *context; /* borrowed */
} listener;

void
log_init(int fd, enum log_level level)
{
    atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

void
log_listen(log_listen_fn *fn, void *context)
{
    listener.fn = fn;
    listener.context = context;
}

void
log_set_form(enum log_form form)
{
    atomic_store_explicit(&form_now, (int)form, memory_order_relaxed);
}

enum log_level
log_level(void)
{
    return (enum log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

const char *
log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "";
}

/* Copies with control bytes as \xNN. Returns the bytes written, at most `dst_bytes`. */
static size_t
escape(char *dst, size_t dst_bytes, const char *src, size_t len)
{
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)src[i];
        bool plain = c >= 0x20 && c != 0x7f;
        if (at + (plain ? 1 : 4) > dst_bytes) {
            break;
        }
        if (plain) {
            dst[at++] = src[i];
        } else {
            dst[at++] = '\\';
            dst[at++] = 'x';
            dst[at++] = "0123456789abcdef"[c >> 4];
            dst[at++] = "0123456789abcdef"[c & 0xf];
        }
    }
    return at;
}

/* The bytes of the code point at the front of `src` (RFC 3629); 0 when it is none. */
static size_t
utf8_bytes(const unsigned char *src, size_t len)
{
    unsigned char c = src[0];
    size_t bytes = c < 0x80         ? 1
            : c >= 0xc2 && c < 0xe0 ? 2
            : c >= 0xe0 && c < 0xf0 ? 3
            : c >= 0xf0 && c < 0xf5 ? 4
                                    : 0;
    for (size_t i = 1; i < bytes; i++) {
        if (i >= len || (src[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    bool bad = bytes > 2 &&
            ((c == 0xe0 && src[1] < 0xa0) || (c == 0xed && src[1] >= 0xa0) ||
                    (c == 0xf0 && src[1] < 0x90) || (c == 0xf4 && src[1] >= 0x90));
    return bad ? 0 : bytes;
}

/* The same as the inside of a JSON string (RFC 8259 section 7). */
static size_t
escape_json(char *dst, size_t dst_bytes, const char *src, size_t len)
{
    size_t at = 0;
    for (size_t i = 0; i < len;) {
        char piece[8];
        unsigned char c = (unsigned char)src[i];
        size_t taken = utf8_bytes((const unsigned char *)src + i, len - i), bytes;
        if (taken == 0) {
            bytes = (size_t)snprintf(piece, sizeof(piece), "\\ufffd");
        } else if (c < 0x20 || c == 0x7f) {
            bytes = (size_t)snprintf(piece, sizeof(piece), "\\u%04x", c);
        } else if (c == '"' || c == '\\') {
            bytes = (size_t)snprintf(piece, sizeof(piece), "\\%c", c);
        } else {
            bytes = taken;
            memcpy(piece, src + i, taken);
        }
        if (at + bytes > dst_bytes) {
            break;
        }
        memcpy(dst + at, piece, bytes);
        at += bytes;
        i += taken == 0 ? 1 : taken;
    }
    return at;
}

/* Writes the line's beginning, up to the message. */
static size_t
put_head(char *line, enum log_level level, bool is_json)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char time[64];
    snprintf(time, sizeof(time), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900,
            utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
            now.tv_nsec / 1000000);
    int head = snprintf(line, LINE_BYTES,
            is_json ? "{\"time\":\"%s\",\"pid\":%d,\"level\":\"%s\",\"message\":\""
                    : "%s weir[%d] %s: ",
            time, (int)getpid(), log_level_name(level));
    return head < 0 ? 0 : (size_t)head;
}

/* A log that cannot be written is not worth failing for, but worth knowing about: now and then
 * why, and the line itself each time. */
static void
write_elsewhere(const char *line, size_t bytes, int error)
{
    static _Atomic(time_t) told_s;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t before_s = atomic_load_explicit(&told_s, memory_order_relaxed);
    if ((before_s == 0 || now.tv_sec - before_s >= TELL_EVERY_S) &&
            atomic_compare_exchange_strong_explicit(&told_s, &before_s, now.tv_sec,
                    memory_order_relaxed, memory_order_relaxed)) {
        char why[256];
        int len = snprintf(why, sizeof(why),
                "weir[%d] error: the error log cannot be written: %s; until it can, its lines "
                "come here\n",
                (int)getpid(), strerrordesc_np(error));
        (void)!write(STDERR_FILENO, why, (size_t)len);
    }
    (void)!write(STDERR_FILENO, line, bytes);
}

static void WEIR_PRINTF(2, 0) write_line(enum log_level level, const char *format, va_list args)
{
    char text[LINE_BYTES], line[LINE_BYTES];
    int len = vsnprintf(text, sizeof(text), format, args);
    if (len < 0) {
        return;
    }
    size_t text_len = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    if (listener.fn != NULL && level <= LOG_WARN) {
        listener.fn(listener.context, text, text_len);
    }
    bool is_json = atomic_load_explicit(&form_now, memory_order_relaxed) == LOG_JSON;
    size_t at = put_head(line, level, is_json);
    if (is_json) {
        at += escape_json(line + at, sizeof(line) - at - 3, text, text_len);
        line[at++] = '"';
        line[at++] = '}';
    } else {
        at += escape(line + at, sizeof(line) - at - 1, text, text_len);
    }
    line[at++] = '\n';
    int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
    ssize_t n = write(fd, line, at);
    if (n != (ssize_t)at && fd != STDERR_FILENO) {
        write_elsewhere(line, at, n == -1 ? errno : ENOSPC);
    }
}

void
log_write(enum log_level level, const char *format, ...)
{
    if (level > log_level()) {
        return;
    }
    va_list args;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}

void
log_write_within(enum log_level most, enum log_level level, const char *format, ...)
{
    if (level > most) {
        return;
    }
    va_list args;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}
