/* SPDX-License-Identifier: MIT */
/* llhttp's inner loop, compiled twice (core.am), with SSE 4.2 and without: its outer functions
 * call this one, which asks the processor. Part of libllhttp.la. */
struct llhttp__internal_s;

int llhttp__internal_execute(struct llhttp__internal_s *state, const char *p, const char *end);
int llhttp__internal_execute_plain(struct llhttp__internal_s *state, const char *p,
        const char *end);
int llhttp__internal_execute_sse42(struct llhttp__internal_s *state, const char *p,
        const char *end);

int
llhttp__internal_execute(struct llhttp__internal_s *state, const char *p, const char *end)
{
    return __builtin_cpu_supports("sse4.2") ? llhttp__internal_execute_sse42(state, p, end)
                                            : llhttp__internal_execute_plain(state, p, end);
}
