// SPDX-License-Identifier: Apache-2.0
//
// Opens the socket that a server listens on.
#ifndef CT_HTTPD_LISTEN_H
#define CT_HTTPD_LISTEN_H

#include "err.h"

// Opens a listening socket for "127.0.0.1:8443", "[::1]:8443" or ":8443" (every address, both
// families where the machine has IPv6); port 0 is any free one. Names are not looked up. The
// descriptor in *ret is the caller's. CT_EINVAL, CT_ESYSTEM.
CT_CHECKED int ct_httpd_listen(const char *listen_on, int *ret, struct ct_err *err);

// The port of a listening socket; 0 when it has none.
unsigned ct_httpd_listen_port(int fd);

// Begins no connection any more, while those that have begun still get to the queue, to be accepted
// before the descriptor is closed. A peer that tries meanwhile asks again, and is refused then.
void ct_httpd_listen_shut(int fd);

#endif
