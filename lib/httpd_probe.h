// SPDX-License-Identifier: Apache-2.0
//
// A server's handshake with itself. Internal to ct_httpd.
#ifndef CT_HTTPD_PROBE_H
#define CT_HTTPD_PROBE_H

#include <sys/socket.h>

#include "httpd.h"
#include "httpd_tls.h"

// As ct_httpd_probe(), at the address that the server listens on.
CT_CHECKED int ct_httpd_probe_at(const struct sockaddr_storage *address, socklen_t len,
                                 struct ct_httpd_tls *tls, const char *authorities,
                                 const char *name, struct ct_err *err);

#endif
