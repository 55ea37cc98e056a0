/* SPDX-License-Identifier: MIT */
/* One child, three pipes' ends: its answer, what it prints, and a descriptor of the process
 * itself. The master reads until the process has ended or has to be ended; then its whole
 * process group goes, so that nothing it started survives it. */
#include "server/checker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/environment.h"
#include "server/exit.h"
#include "server/privileges.h"

/* Who has no rights anywhere. */
#define NOBODY WEIR_STR("65534")

struct child {
    struct checker_job job;
    struct checker_page *page; /* shared */
    pid_t pid, parent;
    int pid_fd;
    int page_fd;
    int signal_fd;            /* readable when we are to stop ourselves */
    int answer[2], output[2]; /* pipes; [1] is the child's */
    size_t printed_bytes;
};

/* In the child */

/* Ends the child before it has become the checker; says why in the page. */
_Noreturn static void
give_up(const struct child *child, int error)
{
    child->page->error = error;
    _exit(EXIT_SYSTEM);
}

/* Gives descriptors the numbers 0, 1, 2 ... in order. */
static void
take_places(const struct child *child, int fds[], int count)
{
    for (int i = 0; i < count; i++) {
        /* Out of the way of the others first. */
        if (fds[i] < count && fds[i] != i) {
            fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, count);
        }
        if (fds[i] == -1) {
            give_up(child, errno);
        }
    }
    for (int i = 0; i < count; i++) {
        /* One that is in its place already has to lose its flag. */
        if (fds[i] == i ? fcntl(i, F_SETFD, 0) == -1 : dup2(fds[i], i) == -1) {
            give_up(child, errno);
        }
    }
}

_Noreturn static void
become_checker(const struct child *child)
{
    const struct checker_job *job = &child->job;
    bool was_root = geteuid() == 0;
    int code = !was_root        ? EXIT_OK
            : job->user.len > 0 ? privileges_drop(job->user, job->group)
                                : privileges_drop(NOBODY, NOBODY);
    if (code != EXIT_OK) {
        _exit(code);
    }
    /* After the change of user, which would undo it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (getppid() != child->parent) {
        _exit(EXIT_SYSTEM);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fds[CHECKER_FD_END] = { null, child->output[1], child->output[1], job->sources_fd,
        child->answer[1], child->page_fd };
    take_places(child, fds, CHECKER_FD_END);
    close_range(CHECKER_FD_END, ~0U, 0);

    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    char weir[] = "weir", command[] = "checker", color[] = "--color", root[] = "--root";
    char *argv[] = { weir, command, NULL, NULL, NULL };
    size_t argc = 2;
    if (job->color) {
        argv[argc++] = color;
    }
    if (was_root) {
        argv[argc++] = root;
    }
    environment_clean();
    execv(job->program, argv);
    give_up(child, errno);
}

/* In the master */

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static int
open_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) == -1) {
        ends[0] = ends[1] = -1;
        return -errno;
    }
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) == -1 ? -errno : 0;
}

static int
open_page(struct child *child)
{
    child->page_fd = memfd_create("weir-checker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Sealed, so that the child cannot cut it off under our eyes. */
    if (child->page_fd == -1 || ftruncate(child->page_fd, sizeof(*child->page)) == -1 ||
            fcntl(child->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ==
                    -1) {
        return -errno;
    }
    void *memory = mmap(NULL, sizeof(*child->page), PROT_READ | PROT_WRITE, MAP_SHARED,
            child->page_fd, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    child->page = memory;
    return 0;
}

/* Only looked at: whoever has blocked the signals takes them. */
static int
open_signals(struct child *child)
{
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGQUIT);
    sigaddset(&stops, SIGINT);
    child->signal_fd = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
    return child->signal_fd == -1 ? -errno : 0;
}

static int
start(struct child *child)
{
    int r = open_pipe(child->answer);
    r = r < 0 ? r : open_signals(child);
    r = r < 0 ? r : open_pipe(child->output);
    r = r < 0 ? r : open_page(child);
    if (r < 0) {
        return r;
    }
    child->parent = getpid();
    child->pid = fork();
    if (child->pid == -1) {
        return -errno;
    }
    if (child->pid == 0) {
        setpgid(0, 0);
        become_checker(child);
    }
    setpgid(child->pid, child->pid); /* whoever of the two comes first */
    close_fd(&child->answer[1]);
    close_fd(&child->output[1]);
    child->pid_fd = pidfd_open(child->pid, 0);
    return child->pid_fd == -1 ? -errno : 0;
}

/* Reads what is there, until there is nothing or the pipe has ended (*fd becomes -1). */
static int
read_answer(struct child *child, struct checker_result *result)
{
    for (;;) {
        char *dst;
        size_t bytes = 65536, used = buf_str(&result->answer).len;
        bytes = bytes > CHECKER_ANSWER_MAX_BYTES - used ? CHECKER_ANSWER_MAX_BYTES - used
                                                        : bytes;
        if (bytes == 0) {
            return -ENOBUFS;
        }
        int r = buf_reserve(&result->answer, bytes, &dst);
        if (r < 0) {
            return r;
        }
        ssize_t n = read(child->answer[0], dst, bytes);
        if (n > 0) {
            buf_commit(&result->answer, (size_t)n);
        } else if (n == 0) {
            close_fd(&child->answer[0]);
            return 0;
        } else if (errno != EINTR) {
            return errno == EAGAIN ? 0 : -errno;
        }
    }
}

static int
read_output(struct child *child, struct checker_result *result)
{
    for (;;) {
        char bytes[4096];
        ssize_t n = read(child->output[0], bytes, sizeof(bytes));
        if (n == 0) {
            close_fd(&child->output[0]);
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? 0 : -errno;
        }
        size_t len = n < 0 ? 0 : (size_t)n;
        child->printed_bytes += len;
        if (child->printed_bytes > CHECKER_OUTPUT_MAX_BYTES) {
            return -ENOBUFS;
        }
        size_t room = CHECKER_OUTPUT_KEPT_BYTES - buf_str(&result->output).len;
        int r = buf_append(&result->output, weir_str_make(bytes, len < room ? len : room));
        if (r < 0) {
            return r;
        }
    }
}

/* Listens until the process has ended. Returns 0; -ETIME, -ENOBUFS, -ECANCELED when it
 * must be ended; another negative errno. */
static int
listen_to(struct child *child, struct checker_result *result)
{
    uint64_t until_ns = clock_add_ns(clock_monotonic_ns(clock_system()),
            child->job.deadline_ns);
    for (;;) {
        uint64_t now_ns = clock_monotonic_ns(clock_system());
        if (now_ns >= until_ns) {
            return -ETIME;
        }
        uint64_t left_ms = (until_ns - now_ns) / 1000000 + 1;
        struct pollfd polled[] = {
            { .fd = child->answer[0], .events = POLLIN },
            { .fd = child->output[0], .events = POLLIN },
            { .fd = child->pid_fd, .events = POLLIN },
            { .fd = child->signal_fd, .events = POLLIN },
        };
        int n = poll(polled, 4, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
        if (n == -1 && errno != EINTR) {
            return -errno;
        }
        if (n <= 0) {
            continue;
        }
        int r = child->answer[0] < 0 ? 0 : read_answer(child, result);
        if (r == 0 && child->output[0] >= 0) {
            r = read_output(child, result);
        }
        if (r < 0 || polled[2].revents != 0) {
            return r;
        }
        if (polled[3].revents != 0) {
            return -ECANCELED;
        }
    }
}

static void
copy_page(const struct child *child, struct checker_page *out)
{
    /* Once, for it may change while it is looked at. */
    memcpy(out, child->page, sizeof(*out));
    out->module[sizeof(out->module) - 1] = '\0';
    out->step[sizeof(out->step) - 1] = '\0';
}

/* Ends what is left of the child, and says how it went. */
static void
conclude(struct child *child, int listened, struct checker_result *out)
{
    kill(-child->pid, SIGKILL);
    kill(child->pid, SIGKILL); /* before its group was made */
    while (waitpid(child->pid, &out->status, 0) == -1 && errno == EINTR) {
    }
    copy_page(child, &out->page);
    bool has_exited = WIFEXITED(out->status);
    if (listened == -ETIME) {
        out->end = CHECKER_HUNG;
    } else if (listened == -ENOBUFS) {
        out->end = CHECKER_FLOODED;
    } else if (listened == -ECANCELED) {
        out->end = CHECKER_INTERRUPTED;
    } else if (!out->page.is_running && has_exited) {
        out->end = CHECKER_REFUSED;
        out->code = WEXITSTATUS(out->status);
    } else if (!has_exited || buf_str(&out->answer).len == 0) {
        out->end = CHECKER_DIED;
    } else if (checker_answer_read(buf_str(&out->answer), &out->said) < 0) {
        out->end = CHECKER_GARBLED;
    } else {
        out->end = CHECKER_ANSWERED;
    }
}

int
checker_run(const struct checker_job *job, struct checker_result *out)
{
    struct child child = { .job = *job,
        .pid = -1,
        .pid_fd = -1,
        .page_fd = -1,
        .signal_fd = -1,
        .answer = { -1, -1 },
        .output = { -1, -1 } };
    *out = (struct checker_result){ .end = CHECKER_DIED };
    buf_init(&out->answer, CHECKER_ANSWER_MAX_BYTES);
    buf_init(&out->output, CHECKER_OUTPUT_KEPT_BYTES);
    int r = start(&child);
    if (r == 0) {
        r = listen_to(&child, out);
    }
    if (child.pid > 0) {
        conclude(&child, r, out);
        r = r == -ETIME || r == -ENOBUFS || r == -ECANCELED ? 0 : r;
    }
    close_fd(&child.pid_fd);
    close_fd(&child.page_fd);
    close_fd(&child.signal_fd);
    for (size_t i = 0; i < 2; i++) {
        close_fd(&child.answer[i]);
        close_fd(&child.output[i]);
    }
    if (child.page != NULL) {
        munmap(child.page, sizeof(*child.page));
    }
    return r;
}

void
checker_result_fini(struct checker_result *result)
{
    buf_fini(&result->answer);
    buf_fini(&result->output);
}
