/* SPDX-License-Identifier: MIT */
/* Writes figures as text that Prometheus reads. Thread: any. */
#ifndef WEIR_METRICS_EXPOSITION_H
#define WEIR_METRICS_EXPOSITION_H

#include <weir/metric.h>

enum exposition_format {
    EXPOSITION_PROMETHEUS,  /* its text format 0.0.4 */
    EXPOSITION_OPENMETRICS, /* OpenMetrics 1.0.0 */
};

struct exposition {
    enum exposition_format format;
    char *bytes; /* owned */
    size_t len, capacity;
    char family[128]; /* whose lines of description were written last */
};

void exposition_init(struct exposition *text, enum exposition_format format);
void exposition_fini(struct exposition *text);

/* A weir_metric_fn: `context` is the struct exposition. 0; -ENOMEM; -ENOBUFS when it is more
 * than 8 MiB. */
int exposition_add(void *context, const struct weir_metric *metric);

/* What follows the last. As exposition_add(). */
WEIR_MUST_USE int exposition_end(struct exposition *text);

/* Its Content-Type. */
struct weir_str exposition_type(enum exposition_format format);

#endif
