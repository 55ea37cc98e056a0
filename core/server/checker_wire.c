/* SPDX-License-Identifier: MIT */
/* The answer: ANSWER_VERSION, code, report, plan, as base/wire.h writes them. */
#include "server/checker_wire.h"

#include <errno.h>

#include "base/wire.h"

/* Another program under the same name, as after an upgrade, is told by it. */
#define ANSWER_VERSION WEIR_STR("weir answer 1")

int
checker_answer_write(const struct checker_answer *answer, struct buf *out)
{
    int r = wire_put_str(out, ANSWER_VERSION);
    r = r < 0 ? r : wire_put_u64(out, (uint64_t)answer->code);
    r = r < 0 ? r : wire_put_str(out, answer->report);
    return r < 0 ? r : wire_put_str(out, answer->plan);
}

int
checker_answer_read(struct weir_str bytes, struct checker_answer *out)
{
    struct wire wire;
    wire_init(&wire, bytes);
    struct weir_str version = wire_get_str(&wire, ANSWER_VERSION.len);
    struct checker_answer answer = { .code = (int)wire_get_u64(&wire, 255) };
    answer.report = wire_get_str(&wire, CHECKER_REPORT_MAX_BYTES);
    answer.plan = wire_get_str(&wire, PLAN_WIRE_MAX_BYTES);
    if (!wire_is_complete(&wire) || !weir_str_eq(version, ANSWER_VERSION)) {
        return -EPROTO;
    }
    *out = answer;
    return 0;
}
