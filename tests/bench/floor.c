/* SPDX-License-Identifier: MIT */
/* The floor: what it costs at least to answer a request on this machine. A raw epoll loop on
 * one thread that answers every "\r\n\r\n" with the same bytes, made before the first
 * connection comes. It looks at nothing in a request but its end and the words "Connection:
 * close", so it is no HTTP server; it is the cost of the kernel's TCP and of two system calls.
 *
 *     floor [--port PORT] [--status "200 OK"] [--body BYTES] [--close 0|1]
 *           [--sendfile 0|1] [--request-body BYTES]
 *
 * With --sendfile the body comes out of a file, in a call of its own. With --request-body so
 * much follows each request's head, and is read before it is answered. One recv and one send
 * for everything that came in together, also for sixteen pipelined requests; edge-triggered,
 * registered once. Says "listening on 127.0.0.1:PORT". */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    READ_BYTES = 65536,
    AT_ONCE = 64,     /* answers in one call */
    PORTION = 262144, /* bytes of a file in one call */
};

/* One client connection; freed when it is closed. */
struct client {
    int fd;
    unsigned matched; /* bytes of "\r\n\r\n" that the last read ended with */
    bool served;      /* one answer or more was owed */
    uint64_t owed;    /* answers */
    size_t body_left; /* of the request that is being read */
    size_t sent;      /* bytes of the first answer owed */
};

static struct {
    char *bytes;
    size_t len;
    bool close; /* the connection after it */
    size_t request_body_bytes;

    /* With --sendfile: `bytes` is the head alone, and `len` still the whole. */
    size_t head_bytes;
    int file;
} answer;

static _Noreturn void __attribute__((format(printf, 1, 2))) die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("floor: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(EXIT_FAILURE);
}

static void
make_answer(const char *status, size_t body_bytes, bool closes, bool from_file)
{
    /* A 304 has no body, and no length of it either. */
    bool has_body = strncmp(status, "304", 3) != 0;
    char length[64] = "";
    if (has_body) {
        snprintf(length, sizeof(length), "Content-Length: %zu\r\n", body_bytes);
    }
    char head[512];
    int len = snprintf(head, sizeof(head),
            "HTTP/1.1 %s\r\nServer: floor\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
            "Content-Type: text/plain\r\n%s%s\r\n",
            status, length, closes ? "Connection: close\r\n" : "");
    if (len < 0 || (size_t)len >= sizeof(head)) {
        die("the status is too long");
    }
    size_t head_bytes = (size_t)len;
    size_t total = head_bytes + (has_body ? body_bytes : 0);
    answer.bytes = malloc(total);
    if (answer.bytes == NULL) {
        die("out of memory");
    }
    memset(answer.bytes, 'x', total);
    memcpy(answer.bytes, head, head_bytes);
    answer.len = total;
    answer.close = closes;
    answer.head_bytes = head_bytes;
    answer.file = -1;
    if (from_file && has_body) {
        FILE *file = tmpfile(); /* one on disk: a memfd's small pages cost half as much again */
        if (file == NULL) {
            die("cannot make a file: %s", strerror(errno));
        }
        answer.file = fileno(file);
        const char *body = answer.bytes + head_bytes;
        for (size_t done = 0; done < body_bytes;) {
            ssize_t r = write(answer.file, body + done, body_bytes - done);
            if (r <= 0) {
                die("cannot make the file: %s", strerror(errno));
            }
            done += (size_t)r;
        }
    }
}

/* Counts the ends of requests in what was read; one may lie across several reads. */
static void
count_requests(struct client *client, const char *bytes, size_t len)
{
    static const char end[] = "\r\n\r\n";
    const char *stop = bytes + len;
    const char *p = bytes;
    while (p < stop) {
        if (client->body_left > 0) {
            size_t here = (size_t)(stop - p) < client->body_left ? (size_t)(stop - p)
                                                                 : client->body_left;
            p += here;
            client->body_left -= here;
            client->owed += client->body_left == 0;
            continue;
        }
        if (client->matched == 0) {
            p = memchr(p, '\r', (size_t)(stop - p));
            if (p == NULL) {
                return;
            }
        }
        if (*p == end[client->matched]) {
            p++;
            if (++client->matched == 4) {
                client->matched = 0;
                client->body_left = answer.request_body_bytes;
                client->owed += client->body_left == 0;
            }
        } else if (client->matched == 0) {
            p++;
        } else {
            client->matched = 0; /* and look at this byte again */
        }
    }
}

static void
drop(struct client *client)
{
    close(client->fd);
    free(client);
}

/* As many answers as fit into one call. Sets *wanted to the bytes that it tried to send;
 * returns those sent, or -1 and errno. */
static ssize_t
send_some(struct client *client, size_t *wanted)
{
    *wanted = answer.len - client->sent;
    if (answer.file != -1) {
        if (client->sent < answer.head_bytes) {
            /* Joined with the first bytes of the body, the head saves a segment, which pays at
             * 64 KiB (7.5 against 8.5 us); at 1 MiB it costs (100 against 40 us). */
            int more = answer.len - answer.head_bytes <= PORTION ? MSG_MORE : 0;
            *wanted = answer.head_bytes - client->sent;
            return send(client->fd, answer.bytes + client->sent, *wanted, MSG_NOSIGNAL | more);
        }
        off_t offset = (off_t)(client->sent - answer.head_bytes);
        *wanted = *wanted < PORTION ? *wanted : PORTION;
        return sendfile(client->fd, answer.file, &offset, *wanted);
    }

    struct iovec parts[AT_ONCE];
    int count = client->owed < AT_ONCE ? (int)client->owed : AT_ONCE;
    for (int i = 0; i < count; i++) {
        parts[i] = (struct iovec){ answer.bytes, answer.len };
    }
    parts[0].iov_base = answer.bytes + client->sent;
    parts[0].iov_len = *wanted;
    *wanted += answer.len * (size_t)(count - 1);
    return count == 1 ? send(client->fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL)
                      : writev(client->fd, parts, count);
}

/* Sends what is owed. Returns false when the client was dropped. */
static bool
pay(struct client *client)
{
    while (client->owed > 0) {
        size_t wanted;
        ssize_t r = send_some(client, &wanted);
        if (r == -1) {
            if (errno == EAGAIN) {
                return true; /* EPOLLOUT will come */
            }
            drop(client);
            return false;
        }
        size_t done = client->sent + (size_t)r;
        client->owed -= done / answer.len;
        client->sent = done % answer.len;
        /* A short write has filled the socket's buffer: EPOLLOUT will come. Trying again at
         * once would find the little that the peer took meanwhile, in many small calls. */
        if (client->sent != 0 && (size_t)r != wanted) {
            return true;
        }
    }
    if (answer.close && client->served) {
        drop(client);
        return false;
    }
    return true;
}

/* Reads until a short read, or until the peer is slower than we are. A FIN may have come with
 * the request in one edge; no other will follow, so then it reads on to the end. */
static void
serve(struct client *client, bool has_ended)
{
    static char scratch[READ_BYTES];
    if (client->owed > 0 && (!pay(client) || client->owed > 0)) {
        return;
    }
    for (;;) {
        ssize_t r = recv(client->fd, scratch, sizeof(scratch), 0);
        if (r == -1 && errno == EAGAIN) {
            return;
        }
        if (r <= 0) {
            drop(client);
            return;
        }
        count_requests(client, scratch, (size_t)r);
        client->served = client->owed > 0;
        if (!pay(client) || client->owed > 0) {
            return;
        }
        if ((size_t)r < sizeof(scratch) && !has_ended) {
            return;
        }
    }
}

static void
accept_all(int listener, int epoll)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -1) {
            return;
        }
        struct client *client = calloc(1, sizeof(*client));
        if (client == NULL) {
            close(fd);
            continue;
        }
        client->fd = fd;
        struct epoll_event event = {
            .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
            .data.ptr = client,
        };
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == -1) {
            drop(client);
        }
    }
}

static int
open_listener(uint16_t port, uint16_t *bound_port)
{
    int on = 1;
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1 ||
            bind(fd, (struct sockaddr *)&addr, len) == -1 || listen(fd, 4096) == -1 ||
            getsockname(fd, (struct sockaddr *)&addr, &len) == -1) {
        die("cannot listen on port %u: %s", port, strerror(errno));
    }
    *bound_port = ntohs(addr.sin_port);
    return fd;
}

/* A whole number up to `max`. */
static size_t
number(const char *text, size_t max)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || n > max) {
        die("not a number up to %zu: %s", max, text);
    }
    return (size_t)n;
}

int
main(int argc, char **argv)
{
    uint16_t port = 0;
    const char *status = "200 OK";
    size_t body_bytes = 1024;
    bool closes = false;
    bool from_file = false;
    size_t request_body_bytes = 0;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            die("%s: wants a value", argv[i]);
        } else if (strcmp(argv[i], "--port") == 0) {
            port = (uint16_t)number(argv[i + 1], UINT16_MAX);
        } else if (strcmp(argv[i], "--status") == 0) {
            status = argv[i + 1];
        } else if (strcmp(argv[i], "--body") == 0) {
            body_bytes = number(argv[i + 1], 1 << 30);
        } else if (strcmp(argv[i], "--close") == 0) {
            closes = number(argv[i + 1], 1) == 1;
        } else if (strcmp(argv[i], "--sendfile") == 0) {
            from_file = number(argv[i + 1], 1) == 1;
        } else if (strcmp(argv[i], "--request-body") == 0) {
            request_body_bytes = number(argv[i + 1], 1 << 30);
        } else {
            die("no option %s; the overview in floor.c lists them", argv[i]);
        }
    }
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        die("signal: %s", strerror(errno));
    }
    answer.request_body_bytes = request_body_bytes;
    make_answer(status, body_bytes, closes, from_file);

    int listener = open_listener(port, &port);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    if (epoll == -1 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == -1) {
        die("epoll: %s", strerror(errno));
    }
    fprintf(stderr, "floor: listening on 127.0.0.1:%u\n", port);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count == -1 && errno != EINTR) {
            die("epoll_wait: %s", strerror(errno));
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                accept_all(listener, epoll);
            } else {
                serve(events[i].data.ptr,
                        (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
            }
        }
    }
}
