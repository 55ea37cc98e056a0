/* SPDX-License-Identifier: MIT */
#include "server/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "event/descriptor.h"

/* Of what is under way in one direction; a worker's beginning fits many times. */
#define SEND_BUFFER_BYTES (1 << 20)

/* Messages taken at each event, so that one worker cannot hold the master. */
#define MESSAGES_AT_ONCE 64

struct header {
    uint32_t type, bytes;
};

struct channel {
    struct channel_owner owner;
    struct descriptor_watch *watch; /* owned */
    int fd;                         /* owned */
    bool is_closed;                 /* on_closed() was called */
};

int
channel_pair(int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == -1) {
        return -errno;
    }
    int bytes = SEND_BUFFER_BYTES;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    return 0;
}

/* The descriptors that came with a message, to `out`. Returns how many. */
static size_t
take_descriptors(struct msghdr *message, int *out)
{
    size_t count = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
            part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t there = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < there && count < CHANNEL_DESCRIPTORS_MAX; i++) {
            memcpy(&out[count++], CMSG_DATA(part) + i * sizeof(int), sizeof(int));
        }
    }
    return count;
}

static bool
is_sound(const struct header *header, ssize_t received, int flags)
{
    return (flags & MSG_TRUNC) == 0 && received >= (ssize_t)sizeof(*header) &&
            header->type > CHANNEL_NONE && header->type < CHANNEL_TYPE_COUNT &&
            header->bytes == (size_t)received - sizeof(*header);
}

/* One message. Returns 1; 0 when there is none; a negative errno at the end or when it is none
 * of ours. */
static int
receive(struct channel *channel)
{
    struct header header = { .type = CHANNEL_NONE };
    _Alignas(8) char body[CHANNEL_BODY_MAX];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(CHANNEL_DESCRIPTORS_MAX * sizeof(int))];
    struct iovec parts[] = { { &header, sizeof(header) }, { body, sizeof(body) } };
    struct msghdr message = {
        .msg_iov = parts,
        .msg_iovlen = 2,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(channel->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n == -1) {
        return errno == EAGAIN || errno == EINTR ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
    }
    if (n == 0) {
        return -EPIPE;
    }
    int descriptors[CHANNEL_DESCRIPTORS_MAX];
    size_t count = take_descriptors(&message, descriptors);
    bool is_cut = (message.msg_flags & MSG_CTRUNC) != 0;
    bool sound = is_sound(&header, n, message.msg_flags) &&
            !(is_cut && count == CHANNEL_DESCRIPTORS_MAX); /* more than fit */
    if (sound) {
        const struct channel_message given = {
            .type = (enum channel_type)header.type,
            .body = body,
            .bytes = header.bytes,
            .descriptors = descriptors,
            .descriptor_count = count,
            .is_cut = is_cut,
        };
        channel->owner.on_message(channel->owner.context, &given);
    }
    for (size_t i = 0; i < count; i++) {
        if (descriptors[i] != -1) {
            close(descriptors[i]);
        }
    }
    return sound ? 1 : -EPROTO;
}

static void
on_readable(void *context)
{
    struct channel *channel = context;
    int r = 1;
    for (int i = 0; r > 0 && i < MESSAGES_AT_ONCE; i++) {
        r = receive(channel);
    }
    if (r < 0 && !channel->is_closed) {
        channel->is_closed = true;
        descriptor_watch_free(channel->watch);
        channel->watch = NULL;
        channel->owner.on_closed(channel->owner.context, r); /* may free it */
    }
}

int
channel_new(struct loop *loop, int fd, const struct channel_owner *owner, struct channel **out)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL) {
        return -ENOMEM;
    }
    channel->owner = *owner;
    channel->fd = fd;
    int r = descriptor_watch_new(loop, fd, on_readable, channel, &channel->watch);
    if (r < 0) {
        free(channel);
        return r;
    }
    *out = channel;
    return 0;
}

void
channel_free(struct channel *channel)
{
    if (channel != NULL) {
        descriptor_watch_free(channel->watch);
        close(channel->fd);
        free(channel);
    }
}

void
channel_take_rest(struct channel *channel)
{
    channel->is_closed = true;
    for (unsigned i = 0; i < CHANNEL_REST_MAX && receive(channel) > 0; i++) {
    }
}

int
channel_send(struct channel *channel, enum channel_type type, const void *body, size_t bytes,
        const int *descriptors, size_t count)
{
    WEIR_ASSERT(count <= CHANNEL_DESCRIPTORS_MAX);
    if (bytes > CHANNEL_BODY_MAX) {
        return -EMSGSIZE;
    }
    struct header header = { .type = type, .bytes = (uint32_t)bytes };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(CHANNEL_DESCRIPTORS_MAX * sizeof(int))];
    struct iovec parts[] = { { &header, sizeof(header) }, { (void *)(uintptr_t)body, bytes } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = bytes == 0 ? 1 : 2 };
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        memset(control, 0, message.msg_controllen);
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(part), descriptors, count * sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(channel->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n == -1 && errno == EINTR);
    if (n >= 0) {
        return 0;
    }
    return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
}
