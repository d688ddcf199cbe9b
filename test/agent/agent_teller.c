// SPDX-License-Identifier: Apache-2.0
//
// agent-teller PROGRAM NODE HOLD_MS: advertises for NODE by PROGRAM's `tell`, what its standard input says
// line by line, until that ends:
//
//   facts POINTS ENFORCEMENT MEMFD VECTORS       ENFORCEMENT is a tier's number
//   attack NAMESPACE NAME UID TIMES              that often, on the pod
//   pause MILLISECONDS
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "advertise.h"

static void wait_ms(struct ct_advertise *advertise, int ms)
{
    const struct timespec step = {.tv_nsec = 100 * 1000000};
    for (; ms > 0; ms -= 100) {
        (void)nanosleep(&step, NULL);
        ct_advertise_tick(advertise);
    }
}

static void attack(struct ct_advertise *advertise, const struct ct_pod_ref *pod, int times)
{
    const struct ct_event event = {.vector = CT_V_VM_READV,
                                   .action = CT_ACTION_DENIED,
                                   .tgid = 4711,
                                   .comm = "gdb",
                                   .exe = "gdb"};
    for (int i = 0; i < times; i++) {
        ct_pod_event(advertise, pod, &event);
    }
}

static void obey(struct ct_advertise *advertise, const char *line)
{
    struct ct_node_facts facts = {.kernel = "6.12.41-cloud-amd64"};
    struct ct_pod_ref pod = {.container = "app"};
    int n;
    if (sscanf(line, "facts %d %d %d %d", &facts.points, &facts.enforcement, &facts.memfd_secret,
               &facts.vectors) == 4) {
        ct_advertise_facts(advertise, &facts);
    } else if (sscanf(line, "attack %63s %253s %63s %d", pod.namespace, pod.name, pod.uid, &n) ==
               4) {
        attack(advertise, &pod, n);
    } else if (sscanf(line, "pause %d", &n) == 1) {
        wait_ms(advertise, n);
    } else {
        (void)fprintf(stderr, "agent-teller: what is %s", line);
    }
    wait_ms(advertise, 100);
}

int main(int argc, char **argv)
{
    struct ct_err err = {0};
    struct ct_advertise *advertise = NULL;
    char line[1024];
    if (argc != 4) {
        return 2;
    }
    const struct ct_advertise_options options = {
        .node = argv[2], .hold_ms = (unsigned)strtoul(argv[3], NULL, 10), .program = argv[1]};
    if (ct_advertise_start(&options, &advertise, &err) < 0) {
        (void)fprintf(stderr, "agent-teller: %s\n", err.msg);
        return 1;
    }
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    setbuf(stdin, NULL);
    for (;;) {
        if (poll(&input, 1, 100) > 0 && fgets(line, sizeof(line), stdin) == NULL) {
            break;
        }
        if (input.revents != 0) {
            obey(advertise, line);
        }
        ct_advertise_tick(advertise);
    }
    ct_advertise_free(advertise);
    return 0;
}
