/* SPDX-License-Identifier: MIT */
/* A container's limit counts where it is less than the machine's memory (cgroup v2, or v1). */
#include "server/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include "base/num.h"

#define LEAST_BYTES (UINT64_C(16) << 20)
#define SPARE_BYTES (16 << 20)

/* The number in a file of one line; UINT64_MAX when it says "max", or cannot be read. */
static uint64_t
read_limit(const char *path)
{
    char text[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return UINT64_MAX;
    }
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    uint64_t bytes;
    struct weir_str line = weir_str_trim(weir_str_make(text, n < 0 ? 0 : (size_t)n));
    if (line.len > 0 && line.ptr[line.len - 1] == '\n') {
        line.len--;
    }
    return num_parse_u64(line, UINT64_MAX, &bytes) < 0 ? UINT64_MAX : bytes;
}

static uint64_t
machine_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages <= 0 || page_bytes <= 0 ? UINT64_MAX
                                                   : (uint64_t)pages * (uint64_t)page_bytes;
    uint64_t v2 = read_limit("/sys/fs/cgroup/memory.max");
    uint64_t v1 = read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    bytes = v2 < bytes ? v2 : bytes;
    return v1 < bytes ? v1 : bytes;
}

uint64_t
memory_of_worker(const struct site_workers *workers, unsigned processes)
{
    if (workers->memory_bytes != 0) {
        return workers->memory_bytes;
    }
    uint64_t machine = machine_bytes();
    if (machine == UINT64_MAX) {
        return UINT64_MAX;
    }
    uint64_t bytes = machine / 4 / (processes == 0 ? 1 : processes);
    return bytes < LEAST_BYTES ? LEAST_BYTES : bytes;
}

void
memory_keep_spare(void)
{
    mallopt(M_TRIM_THRESHOLD, SPARE_BYTES);
}
