// SPDX-License-Identifier: Apache-2.0
#include "pass.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ERRNO_MAX 4095
#define BELOW 1024u // of the stack, more than any processor's ABI keeps below the stack pointer
#define TRIES 64
#define PAUSE_NS 1000000

// What the program's system calls need in its memory. Whole words.
struct scratch {
    struct sockaddr_un address;
    struct msghdr message;
    struct iovec part;
    char byte[sizeof(long)];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

#define WORDS ((sizeof(struct scratch) + sizeof(long) - 1) / sizeof(long))

union words {
    struct scratch scratch;
    long word[WORDS];
};

struct passing {
    struct ct_inject *in;
    uintptr_t at; // of the scratch, in the program
    int listener;
    struct sockaddr_un address;
    socklen_t address_len;
    int socket; // the program's
};

static int peek_words(const struct passing *p, union words *w, struct ct_err *err)
{
    for (size_t i = 0; i < WORDS; i++) {
        errno = 0;
        w->word[i] = ptrace(PTRACE_PEEKDATA, p->in->pid, p->at + i * sizeof(long), NULL);
        if (errno != 0) {
            return ct_err_errno(err, "the program's stack cannot be read");
        }
    }
    return 0;
}

static int poke_words(const struct passing *p, const union words *w, struct ct_err *err)
{
    for (size_t i = 0; i < WORDS; i++) {
        if (ptrace(PTRACE_POKEDATA, p->in->pid, p->at + i * sizeof(long), w->word[i]) != 0) {
            return ct_err_errno(err, "the program's stack cannot be written");
        }
    }
    return 0;
}

// A system call of the program's whose refusal ends this.
static int must_call(const struct passing *p, const char *what, long number, const long argument[6],
                     long *ret_value, struct ct_err *err)
{
    int status = ct_inject_call(p->in, number, argument, ret_value, err);
    if (status == 0 && *ret_value < 0 && *ret_value >= -ERRNO_MAX) {
        errno = (int)-*ret_value;
        status = ct_err_errno(err, "the program cannot be handed its secret memory: %s", what);
    }
    return status;
}

// The kernel chooses a name (unix(7), autobind): nobody else can have it.
static int listen_somewhere(struct passing *p, struct ct_err *err)
{
    p->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    p->address.sun_family = AF_UNIX;
    p->address_len = sizeof(p->address);
    if (p->listener < 0 ||
        bind(p->listener, (const struct sockaddr *)&p->address, sizeof(sa_family_t)) != 0 ||
        listen(p->listener, 1) != 0 ||
        getsockname(p->listener, (struct sockaddr *)&p->address, &p->address_len) != 0) {
        return ct_err_errno(err, "cannot make a socket to hand secret memory over");
    }
    return 0;
}

// Takes the program's connection. Whoever else found the name is turned away. -1 when it is not there.
static int accept_program(const struct passing *p)
{
    for (int i = 0; i < TRIES; i++) {
        int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct ucred peer = {0};
        socklen_t len = sizeof(peer);
        if (fd < 0) {
            return -1;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == p->in->pid) {
            return fd;
        }
        (void)close(fd);
    }
    return -1;
}

// The program's connect does not wait: a queue that others have filled is emptied here meanwhile.
static int meet(const struct passing *p, int *ret_fd, struct ct_err *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const long argument[6] = {p->socket, (long)(p->at + offsetof(struct scratch, address)),
                              (long)p->address_len};
    long value = 0;
    for (int i = 0; i < TRIES; i++) {
        int status = ct_inject_call(p->in, SYS_connect, argument, &value, err);
        if (status != 0) {
            return status;
        }
        if (value == 0) {
            *ret_fd = accept_program(p);
            break;
        }
        if (value != -EAGAIN) {
            errno = (int)-value;
            return ct_err_errno(err, "the program cannot be handed its secret memory: connect");
        }
        (void)accept_program(p);
        (void)nanosleep(&pause, NULL);
    }
    if (*ret_fd < 0) {
        return ct_err_set(err, CT_EUNAVAIL,
                          "the program cannot be handed its secret memory: others hold the socket");
    }
    return 0;
}

static int send_fd(int to, int fd, struct ct_err *err)
{
    char byte = 0;
    struct iovec part = {&byte, 1};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    if (sendmsg(to, &message, MSG_NOSIGNAL) != 1) {
        return ct_err_errno(err, "cannot hand secret memory over");
    }
    return 0;
}

// The program receives it; its number is read from the control message in the program's memory.
static int receive(const struct passing *p, int *ret_fd, struct ct_err *err)
{
    const long argument[6] = {p->socket, (long)(p->at + offsetof(struct scratch, message)),
                              MSG_CMSG_CLOEXEC};
    long value = 0;
    union words w;
    int status = must_call(p, "recvmsg", SYS_recvmsg, argument, &value, err);
    status = status == 0 ? peek_words(p, &w, err) : status;
    if (status != 0) {
        return status;
    }
    struct cmsghdr header;
    memcpy(&header, w.scratch.control, sizeof(header));
    if (value != 1 || header.cmsg_level != SOL_SOCKET || header.cmsg_type != SCM_RIGHTS ||
        header.cmsg_len != CMSG_LEN(sizeof(int))) {
        return ct_err_set(err, CT_ESYSTEM,
                          "the program cannot be handed its secret memory: it did not receive it");
    }
    memcpy(ret_fd, w.scratch.control + CMSG_LEN(0), sizeof(*ret_fd));
    return 0;
}

// Between the program's socket and its close.
static int exchange(struct passing *p, int fd, int *ret_fd, struct ct_err *err)
{
    int connection = -1;
    int status = meet(p, &connection, err);
    status = status == 0 ? send_fd(connection, fd, err) : status;
    status = status == 0 ? receive(p, ret_fd, err) : status;
    ct_close_fd(&connection);
    return status;
}

static void lay_out(const struct passing *p, union words *w)
{
    *w = (union words){0};
    struct scratch *s = &w->scratch;
    s->address = p->address;
    s->part = (struct iovec){(void *)(p->at + offsetof(struct scratch, byte)), 1};
    s->message.msg_iov = (void *)(p->at + offsetof(struct scratch, part));
    s->message.msg_iovlen = 1;
    s->message.msg_control = (void *)(p->at + offsetof(struct scratch, control));
    s->message.msg_controllen = sizeof(s->control);
}

int ct_pass_fd(struct ct_inject *in, int fd, int *ret_fd, struct ct_err *err)
{
    struct passing p = {.in = in, .listener = -1, .socket = -1};
    union words before;
    union words w;
    p.at = (in->stack - BELOW - sizeof(w)) / sizeof(long) * sizeof(long);
    int status = peek_words(&p, &before, err);
    status = status == 0 ? listen_somewhere(&p, err) : status;
    if (status == 0) {
        lay_out(&p, &w);
        status = poke_words(&p, &w, err);
    }
    long value = 0;
    const long make[6] = {AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0};
    status = status == 0 ? must_call(&p, "socket", SYS_socket, make, &value, err) : status;
    if (status == 0) {
        p.socket = (int)value;
        status = exchange(&p, fd, ret_fd, err);
        const long closing[6] = {p.socket};
        int closed = ct_inject_call(in, SYS_close, closing, &value, status == 0 ? err : NULL);
        status = status != 0 ? status : closed;
    }
    status = status == 0 ? poke_words(&p, &before, err) : status;
    ct_close_fd(&p.listener);
    return status;
}
