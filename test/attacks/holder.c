// SPDX-License-Identifier: Apache-2.0
// The victim of the attack programs' controls. It takes a secret from the variable SECRET of its
// environment, gets ready, prints "ready" and waits until its standard input ends.
//   holder plain      the secret is left where it came from, and stands on the heap, in a shared
//                     memfd, and in memfd_secret pages whose descriptor is open
//   holder protected  it is in memfd_secret pages alone, whose descriptor is closed, with DUMPABLE 0;
//                     exit 77 where there is no memfd_secret
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#define SIZE 4096
#define EXIT_SKIP 77

// A page of the given descriptor that holds the secret; the descriptor stays open. NULL on failure.
static char *hold(int fd, const char *secret)
{
    if (fd < 0 || ftruncate(fd, SIZE) != 0) {
        return NULL;
    }
    char *page = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    snprintf(page, SIZE, "%s", secret);
    return page;
}

static int wait_for_end(void)
{
    char c;
    if (write(STDOUT_FILENO, "ready\n", 6) != 6) {
        return 1;
    }
    while (read(STDIN_FILENO, &c, 1) > 0) {
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *secret = getenv("SECRET");
    if (argc != 2 || secret == NULL) {
        fprintf(stderr, "usage: SECRET=… %s plain|protected\n", argv[0]);
        return 2;
    }
    int secret_fd = (int)syscall(SYS_memfd_secret, 0);
    char *page = hold(secret_fd, secret);
    if (strcmp(argv[1], "protected") != 0) {
        char *volatile heap = strdup(secret);
        char *shared = hold(memfd_create("shared", MFD_CLOEXEC), secret);
        return heap != NULL && shared != NULL ? wait_for_end() : 1;
    }
    if (page == NULL) {
        return EXIT_SKIP;
    }
    close(secret_fd);
    explicit_bzero(secret, strlen(secret));
    if (prctl(PR_SET_DUMPABLE, 0) != 0) {
        return 1;
    }
    return wait_for_end();
}
