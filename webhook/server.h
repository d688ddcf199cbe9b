// SPDX-License-Identifier: Apache-2.0
//
// The webhook as a server: its routes, its health, its log. Everything but main's signals.
#ifndef CT_WEBHOOK_SERVER_H
#define CT_WEBHOOK_SERVER_H

#include <stdbool.h>

#include "err.h"
#include "settings.h"

// kube-apiserver sends objects of up to 3 MiB (etcd's bound, with room), the old one beside the new.
#define CT_WEBHOOK_MAX_BODY ((size_t)7 * 1024 * 1024)

struct ct_webhook;

// Reads certificate and nodes and serves. A certificate that cannot be read is an error, as is a
// cluster of which nothing says how to reach it; without a nodes file that can be read, or an API server
// that answers, it serves, and /readyz says what is missing. ct_kube_init() must have been called. The settings must outlive it. The calling
// thread's signal mask is that of all threads. Logs.
CT_CHECKED int ct_webhook_start(const struct ct_webhook_settings *settings, struct ct_webhook **ret,
                                struct ct_err *err);

// Looks at the files, takes up what has changed, and has the server shake hands with itself; logs it. Call
// it each second from one thread.
void ct_webhook_tick(struct ct_webhook *webhook);

unsigned ct_webhook_port(const struct ct_webhook *webhook);

// The end is near: /readyz says so from now on and every answer asks to close the connection, but
// everything is served.
void ct_webhook_drain(struct ct_webhook *webhook);

// Stops accepting, finishes running requests within settings->drain_timeout, or until `hurry`, asked
// every few milliseconds, says true; frees. NULL is fine for both.
void ct_webhook_stop(struct ct_webhook *webhook, bool (*hurry)(void *cls), void *cls);

#endif
