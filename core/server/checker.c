/* SPDX-License-Identifier: MIT */
/* One child, three descriptors: its answer, what it prints, and the process itself. The loop
 * reads until the process has ended or has to be ended; then its whole process group goes, so
 * that nothing it started survives it. */
#include "server/checker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/descriptor.h"
#include "event/loop.h"
#include "event/timer.h"
#include "server/environment.h"
#include "server/exit.h"
#include "server/privileges.h"

/* Who has no rights anywhere. */
#define NOBODY WEIR_STR("65534")

struct checker {
    struct checker_job job; /* its texts are used until it has been started */
    struct checker_result result;
    checker_done_fn *done;
    void *context;             /* borrowed */
    struct loop *loop;         /* borrowed */
    struct checker_page *page; /* shared */
    pid_t pid, parent;
    int pid_fd;
    int page_fd;
    int answer[2], output[2];                                /* pipes; [1] is the child's */
    struct descriptor_watch *on_answer, *on_output, *on_end; /* owned */
    struct timer deadline;
    size_t printed_bytes;
};

/* In the child */

/* Ends the child before it has become the checker; says why in the page. */
_Noreturn static void
give_up(const struct checker *checker, int error)
{
    checker->page->error = error;
    _exit(EXIT_SYSTEM);
}

/* Gives descriptors the numbers 0, 1, 2 ... in order. */
static void
take_places(const struct checker *checker, int fds[], int count)
{
    for (int i = 0; i < count; i++) {
        /* Out of the way of the others first. */
        if (fds[i] < count && fds[i] != i) {
            fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, count);
        }
        if (fds[i] == -1) {
            give_up(checker, errno);
        }
    }
    for (int i = 0; i < count; i++) {
        /* One that is in its place already has to lose its flag. */
        if (fds[i] == i ? fcntl(i, F_SETFD, 0) == -1 : dup2(fds[i], i) == -1) {
            give_up(checker, errno);
        }
    }
}

_Noreturn static void
become_checker(const struct checker *checker)
{
    const struct checker_job *job = &checker->job;
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
    if (getppid() != checker->parent) {
        _exit(EXIT_SYSTEM);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fds[CHECKER_FD_END] = { null, checker->output[1], checker->output[1], job->sources_fd,
        checker->answer[1], checker->page_fd };
    take_places(checker, fds, CHECKER_FD_END);
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
    give_up(checker, errno);
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
open_page(struct checker *checker)
{
    checker->page_fd = memfd_create("weir-checker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Sealed, so that the child cannot cut it off under our eyes. */
    if (checker->page_fd == -1 || ftruncate(checker->page_fd, sizeof(*checker->page)) == -1 ||
            fcntl(checker->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ==
                    -1) {
        return -errno;
    }
    void *memory = mmap(NULL, sizeof(*checker->page), PROT_READ | PROT_WRITE, MAP_SHARED,
            checker->page_fd, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    checker->page = memory;
    return 0;
}

/* Reads what is there, until there is nothing or the pipe has ended (*fd becomes -1). */
static int
read_answer(struct checker *checker)
{
    for (;;) {
        char *dst;
        size_t bytes = 65536, used = buf_str(&checker->result.answer).len;
        bytes = bytes > CHECKER_ANSWER_MAX_BYTES - used ? CHECKER_ANSWER_MAX_BYTES - used
                                                        : bytes;
        if (bytes == 0) {
            return -ENOBUFS;
        }
        int r = buf_reserve(&checker->result.answer, bytes, &dst);
        if (r < 0) {
            return r;
        }
        ssize_t n = read(checker->answer[0], dst, bytes);
        if (n > 0) {
            buf_commit(&checker->result.answer, (size_t)n);
        } else if (n == 0) {
            close_fd(&checker->answer[0]);
            return 0;
        } else if (errno != EINTR) {
            return errno == EAGAIN ? 0 : -errno;
        }
    }
}

static int
read_output(struct checker *checker)
{
    for (;;) {
        char bytes[4096];
        ssize_t n = read(checker->output[0], bytes, sizeof(bytes));
        if (n == 0) {
            close_fd(&checker->output[0]);
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? 0 : -errno;
        }
        size_t len = n < 0 ? 0 : (size_t)n;
        checker->printed_bytes += len;
        if (checker->printed_bytes > CHECKER_OUTPUT_MAX_BYTES) {
            return -ENOBUFS;
        }
        size_t room = CHECKER_OUTPUT_KEPT_BYTES - buf_str(&checker->result.output).len;
        int r = buf_append(&checker->result.output,
                weir_str_make(bytes, len < room ? len : room));
        if (r < 0) {
            return r;
        }
    }
}

static void
copy_page(const struct checker *checker, struct checker_page *out)
{
    /* Once, for it may change while it is looked at. */
    memcpy(out, checker->page, sizeof(*out));
    out->module[sizeof(out->module) - 1] = '\0';
    out->step[sizeof(out->step) - 1] = '\0';
}

static void
stop_listening(struct checker *checker)
{
    descriptor_watch_free(checker->on_answer);
    descriptor_watch_free(checker->on_output);
    descriptor_watch_free(checker->on_end);
    checker->on_answer = checker->on_output = checker->on_end = NULL;
    timer_cancel(&checker->deadline);
}

/* Ends what is left of the child: until it was waited for nobody else has its number. */
static void
end_child(struct checker *checker)
{
    if (checker->pid <= 0) {
        return;
    }
    kill(-checker->pid, SIGKILL);
    kill(checker->pid, SIGKILL); /* before its group was made */
    while (waitpid(checker->pid, &checker->result.status, 0) == -1 && errno == EINTR) {
    }
    checker->pid = -1;
}

/* Ends the child, and says how it went: `listened` is 0 when it ended by itself, or why it has
 * to be ended. */
static void
conclude(struct checker *checker, int listened)
{
    struct checker_result *out = &checker->result;
    stop_listening(checker);
    end_child(checker);
    copy_page(checker, &out->page);
    bool has_exited = WIFEXITED(out->status);
    if (listened == -ETIME) {
        out->end = CHECKER_HUNG;
    } else if (listened == -ENOBUFS) {
        out->end = CHECKER_FLOODED;
    } else if (listened < 0) {
        out->end = CHECKER_BROKEN;
        out->error = listened;
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
    checker->done(checker->context, out); /* may free it */
}

static void
on_answer(void *context)
{
    struct checker *checker = context;
    int r = read_answer(checker);
    if (r < 0) {
        conclude(checker, r);
    } else if (checker->answer[0] < 0) {
        descriptor_watch_free(checker->on_answer);
        checker->on_answer = NULL;
    }
}

static void
on_output(void *context)
{
    struct checker *checker = context;
    int r = read_output(checker);
    if (r < 0) {
        conclude(checker, r);
    } else if (checker->output[0] < 0) {
        descriptor_watch_free(checker->on_output);
        checker->on_output = NULL;
    }
}

/* What it wrote last is taken with it; something that it left behind may still hold the pipes.
 */
static void
on_end(void *context)
{
    struct checker *checker = context;
    int r = checker->answer[0] < 0 ? 0 : read_answer(checker);
    if (r == 0 && checker->output[0] >= 0) {
        r = read_output(checker);
    }
    conclude(checker, r);
}

static void
on_deadline(struct timer *timer)
{
    conclude((struct checker *)((char *)timer - offsetof(struct checker, deadline)), -ETIME);
}

static int
begin(struct checker *checker)
{
    int r = open_pipe(checker->answer);
    r = r < 0 ? r : open_pipe(checker->output);
    r = r < 0 ? r : open_page(checker);
    if (r < 0) {
        return r;
    }
    checker->parent = getpid();
    checker->pid = fork();
    if (checker->pid == -1) {
        return -errno;
    }
    if (checker->pid == 0) {
        setpgid(0, 0);
        become_checker(checker);
    }
    setpgid(checker->pid, checker->pid); /* whoever of the two comes first */
    close_fd(&checker->answer[1]);
    close_fd(&checker->output[1]);
    checker->pid_fd = pidfd_open(checker->pid, 0);
    if (checker->pid_fd == -1) {
        return -errno;
    }
    struct loop *loop = checker->loop;
    r = descriptor_watch_new(loop, checker->answer[0], on_answer, checker, &checker->on_answer);
    r = r < 0 ? r
              : descriptor_watch_new(loop, checker->output[0], on_output, checker,
                        &checker->on_output);
    r = r < 0 ? r
              : descriptor_watch_new(loop, checker->pid_fd, on_end, checker, &checker->on_end);
    return r < 0 ? r
                 : timer_set(&checker->deadline,
                           clock_add_ns(loop_now_ns(loop), checker->job.deadline_ns));
}

int
checker_start(struct loop *loop, const struct checker_job *job, checker_done_fn *done,
        void *context, struct checker **out)
{
    struct checker *checker = calloc(1, sizeof(*checker));
    if (checker == NULL) {
        return -ENOMEM;
    }
    checker->job = *job;
    checker->done = done;
    checker->context = context;
    checker->loop = loop;
    checker->pid = checker->pid_fd = checker->page_fd = -1;
    checker->answer[0] = checker->answer[1] = checker->output[0] = checker->output[1] = -1;
    buf_init(&checker->result.answer, CHECKER_ANSWER_MAX_BYTES);
    buf_init(&checker->result.output, CHECKER_OUTPUT_KEPT_BYTES);
    timer_init(&checker->deadline, loop, on_deadline);
    int r = begin(checker);
    if (r < 0) {
        checker_free(checker);
        return r;
    }
    *out = checker;
    return 0;
}

bool
checker_reap(struct checker *checker, pid_t pid)
{
    if (checker == NULL || checker->pid != pid) {
        return false;
    }
    on_end(checker);
    return true;
}

void
checker_free(struct checker *checker)
{
    if (checker == NULL) {
        return;
    }
    stop_listening(checker);
    end_child(checker);
    close_fd(&checker->pid_fd);
    close_fd(&checker->page_fd);
    for (size_t i = 0; i < 2; i++) {
        close_fd(&checker->answer[i]);
        close_fd(&checker->output[i]);
    }
    if (checker->page != NULL) {
        munmap(checker->page, sizeof(*checker->page));
    }
    buf_fini(&checker->result.answer);
    buf_fini(&checker->result.output);
    free(checker);
}
