/* SPDX-License-Identifier: MIT */
/* A line is formatted on the stack, escaped, and written with one call, so that lines of
 * several threads and processes do not mix. */
#include "observe/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 2048

static _Atomic int log_fd = STDERR_FILENO;
static _Atomic int level_now = LOG_INFO;

void
log_init(int fd, enum log_level level)
{
    atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
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

void
log_write(enum log_level level, const char *format, ...)
{
    if (level > log_level()) {
        return;
    }
    char text[LINE_BYTES], line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    size_t text_len = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;

    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    int head = snprintf(line, sizeof(line),
            "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ weir[%d] %s: ", utc.tm_year + 1900,
            utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
            now.tv_nsec / 1000000, (int)getpid(), log_level_name(level));
    if (head < 0) {
        return;
    }
    size_t at = (size_t)head;
    at += escape(line + at, sizeof(line) - at - 1, text, text_len);
    line[at++] = '\n';
    /* A log that cannot be written is not worth failing for. */
    ssize_t ignored = write(atomic_load_explicit(&log_fd, memory_order_relaxed), line, at);
    (void)ignored;
}
