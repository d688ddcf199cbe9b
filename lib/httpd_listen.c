// SPDX-License-Identifier: Apache-2.0
#include "httpd_listen.h"

#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "text.h"

#define BACKLOG 1024

// Splits "host:port" and "[host]:port"; an empty host is every address.
CT_CHECKED static int split_listen(const char *listen_on, char *host, size_t size,
                                   const char **port, struct ct_err *err)
{
    const char *colon = strrchr(listen_on, ':');
    size_t len = colon != NULL ? (size_t)(colon - listen_on) : 0;
    const char *start = listen_on;
    bool bracketed = len >= 2 && start[0] == '[' && start[len - 1] == ']';
    if (bracketed) {
        start++;
        len -= 2;
    }
    unsigned long number;
    if (colon == NULL || !ct_text_number(colon + 1, strlen(colon + 1), 65535, &number) ||
        len >= size || (!bracketed && memchr(start, ':', len) != NULL)) {
        return ct_err_set(
            err, CT_EINVAL,
            "'%s' is no address to listen on: use 127.0.0.1:8443, [::1]:8443 or :8443", listen_on);
    }
    memcpy(host, start, len);
    host[len] = '\0';
    *port = colon + 1;
    return 0;
}

CT_CHECKED static int bind_to(const struct addrinfo *address, int *ret)
{
    const int on = 1;
    const int off = 0;
    CT_AUTO_FD fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        return -1;
    }
    *ret = ct_steal_fd(&fd);
    return 0;
}

int ct_httpd_listen(const char *listen_on, int *ret, struct ct_err *err)
{
    char host[256];
    const char *port = NULL;
    int r = split_listen(listen_on, host, sizeof(host), &port, err);
    if (r < 0) {
        return r;
    }
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST};
    // Without a host: both families by one socket where there is IPv6, else IPv4.
    const char *const any[] = {"::", "0.0.0.0"};
    bool everywhere = host[0] == '\0';
    int status = -1;
    errno = EINVAL;
    for (size_t i = 0; i < (everywhere ? CT_ARRAY_LEN(any) : 1) && status < 0; i++) {
        struct addrinfo *address = NULL;
        int found = getaddrinfo(everywhere ? any[i] : host, port, &hints, &address);
        if (found != 0) {
            return ct_err_set(err, CT_EINVAL, "cannot listen on '%s': %s", listen_on,
                              gai_strerror(found));
        }
        status = bind_to(address, ret);
        freeaddrinfo(address);
    }
    return status < 0 ? ct_err_errno(err, "cannot listen on %s", listen_on) : 0;
}

// Drops what has the SYN flag. The packets that such a filter sees begin with the TCP header, whose
// byte 13 holds the flags (RFC 9293, 3.1; socket(7), SO_ATTACH_FILTER).
void ct_httpd_listen_shut(int fd)
{
    enum { FLAGS = 13, SYN = 2, PASS = 0xffff };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, PASS),
    };
    const struct sock_fprog program = {.len = CT_ARRAY_LEN(code), .filter = code};
    // Without it, only the last moment before the close is less polite.
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

unsigned ct_httpd_listen_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        return 0;
    }
    if (address.ss_family == AF_INET6) {
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    }
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}
