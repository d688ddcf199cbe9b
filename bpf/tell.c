// SPDX-License-Identifier: Apache-2.0
#include "tell.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "clock.h"
#include "command.h"
#include "json.h"
#include "kube.h"
#include "log.h"
#include "rights.h"
#include "vectors.h"

#define QUEUE 64            // Events that wait for the API server
#define TICK_MS 5000        // how often slow labels are looked at
#define REFRESH_MS 600000   // labels that somebody took away come back
#define TRY_MS 10000        // one request
#define MAX_NODE (1U << 20) // a Node's JSON; a list of images is long

struct settings {
    char *node;
    unsigned hold_ms;
    char *credentials; // folder of the service account
};

static const struct ct_option options[] = {
    {.name = "node",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, node),
     .argument = "NAME",
     .required = true,
     .help = "The node's name in the cluster."},
    {.name = "label-hold",
     .kind = CT_OPTION_DURATION,
     .offset = offsetof(struct settings, hold_ms),
     .fallback = "10m",
     .argument = "TIME",
     .min = 0,
     .max = 86400000,
     .help = "For how long a loss must last until the labels tell of it."},
    {.name = "credentials",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, credentials),
     .fallback = CT_KUBE_SERVICE_ACCOUNT,
     .argument = "FOLDER",
     .help = "Where the service account's token and ca.crt are."},
};

static const struct ct_option_table table = {
    .program = "cloudtaser-agent tell",
    .summary = "Tell the API server what comes on standard input; started by the agent itself.",
    .options = options,
    .n = CT_ARRAY_LEN(options),
};

struct teller {
    const struct settings *settings;
    struct ct_kube *kube; // NULL: not yet
    struct ct_label label;
    bool has_facts;
    struct ct_node_facts facts;
    bool read;        // what the labels were before is known
    bool must_write;  // they are not what they should be
    uint64_t written; // when they were last
    unsigned failures;
    uint64_t not_before;
    struct ct_pod_event queue[QUEUE];
    size_t first;
    size_t n;
    uint64_t number; // of the next Event; starts by chance
    uint64_t lost;
    uint64_t end;      // of all; 0: the agent lives
    char trouble[512]; // the last that was logged
};

void ct_tell_apply_path(const char *node, struct ct_buf *out)
{
    ct_buf_addf(out, "/api/v1/nodes/%s?fieldManager=" CT_LABEL_MANAGER "&force=true", node);
}

// ---- the API server ----

// The agent has ended: so does this, soon.
static bool is_over(void *cls)
{
    struct teller *t = cls;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (t->end == 0 && poll(&input, 1, 0) > 0 && (input.revents & (POLLHUP | POLLERR)) != 0) {
        t->end = ct_clock_ms() + CT_TELL_END_MS;
    }
    return t->end != 0 && ct_clock_ms() >= t->end;
}

static int connect_to(struct teller *t, struct ct_err *err)
{
    const struct ct_kube_options how = {
        .connect_timeout_ms = TRY_MS / 2, .timeout_ms = TRY_MS, .stop = is_over, .stop_cls = t};
    CT_AUTO_KUBE_CONFIG config = {0};
    int rc = ct_kube_config_in_cluster(t->settings->credentials, &config, err);
    return rc == 0 ? ct_kube_new(&config, &how, &t->kube, err) : rc;
}

static int request(struct teller *t, const char *method, const struct ct_buf *path,
                   const struct ct_buf *body, struct ct_kube_answer *answer, struct ct_err *err)
{
    const struct ct_kube_request it = {
        .method = method,
        .path = path->data,
        .type = strcmp(method, "PATCH") == 0 ? "application/apply-patch+yaml" : NULL,
        .body = body != NULL ? body->data : NULL,
        .body_len = body != NULL ? body->len : 0};
    if (path->failed || (body != NULL && body->failed)) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for a request to the API server");
    }
    int rc = t->kube != NULL ? 0 : connect_to(t, err);
    return rc == 0 ? ct_kube_send(t->kube, &it, answer, err) : rc;
}

static int read_labels(struct teller *t, struct ct_err *err)
{
    CT_AUTO_BUF path = {.max = 1024};
    CT_AUTO_JSON node = NULL;
    struct ct_kube_answer answer = {.body = {.max = MAX_NODE}};
    ct_buf_addf(&path, "/api/v1/nodes/%s", t->settings->node);
    int rc = request(t, "GET", &path, NULL, &answer, err);
    if (rc == 0) {
        rc = ct_json_parse(answer.body.data, answer.body.len, "the node", &node, err);
    }
    ct_buf_done(&answer.body);
    if (rc == 0) {
        ct_label_read(&t->label, node);
        t->read = true;
        t->must_write = true;
    }
    return rc;
}

static int write_labels(struct teller *t, struct ct_err *err)
{
    CT_AUTO_BUF path = {.max = 1024};
    CT_AUTO_BUF body = {.max = 4096};
    struct ct_kube_answer answer = {.body = {.max = MAX_NODE}};
    ct_tell_apply_path(t->settings->node, &path);
    ct_label_write(&t->label.told, t->settings->node, &body);
    int rc = request(t, "PATCH", &path, &body, &answer, err);
    ct_buf_done(&answer.body);
    return rc;
}

static int write_event(struct teller *t, const struct ct_pod_event *event, struct ct_err *err)
{
    CT_AUTO_BUF path = {.max = 1024};
    CT_AUTO_BUF body = {.max = 8192};
    struct ct_kube_answer answer = {0};
    ct_buf_addf(&path, "/api/v1/namespaces/%s/events", event->pod.namespace);
    ct_pod_event_write(event, t->settings->node, t->number++, &body);
    int rc = request(t, "POST", &path, &body, &answer, err);
    ct_buf_done(&answer.body);
    return rc;
}

// ---- what is to be done ----

// Once for each trouble, and once when it is over: an API server that is gone for hours fills no log.
static void note(struct teller *t, int rc, const struct ct_err *err)
{
    if (rc == 0) {
        if (t->failures > 0) {
            ct_log(CT_LOG_INFO, "the API server answers again");
        }
        t->failures = 0;
        t->trouble[0] = '\0';
        return;
    }
    t->failures++;
    t->not_before = ct_clock_ms() + ct_kube_backoff(t->failures, 0);
    if (strcmp(t->trouble, err->msg) != 0) {
        (void)snprintf(t->trouble, sizeof(t->trouble), "%s", err->msg);
        ct_log(CT_LOG_WARN, "cannot tell the cluster: %s", err->msg);
    }
}

static void tell_labels(struct teller *t)
{
    struct ct_err err = {0};
    uint64_t now = ct_clock_ms();
    if (!t->has_facts || now < t->not_before) {
        return;
    }
    int rc = t->read ? 0 : read_labels(t, &err);
    if (rc < 0) {
        note(t, rc, &err);
        return;
    }
    t->must_write = ct_label_take(&t->label, &t->facts, now) || t->must_write;
    t->facts.first = 0;
    if (!t->must_write && now - t->written < REFRESH_MS) {
        return;
    }
    rc = write_labels(t, &err);
    note(t, rc, &err);
    if (rc == 0) {
        if (t->must_write) {
            ct_log(CT_LOG_INFO,
                   "node %s is labelled: protection-points %d, enforcement %s, "
                   "vectors %d",
                   t->settings->node, t->label.told.points,
                   ct_tier_name((enum ct_tier)t->label.told.enforcement), t->label.told.vectors);
        }
        t->must_write = false;
        t->written = now;
    }
}

static void tell_event(struct teller *t)
{
    struct ct_err err = {0};
    if (t->n == 0 || ct_clock_ms() < t->not_before) {
        return;
    }
    int rc = write_event(t, &t->queue[t->first], &err);
    // What cannot be had at all (a namespace that is gone, a right that is missing) is not tried again.
    bool again = rc == -CT_EUNAVAIL;
    note(t, rc, &err);
    if (rc < 0 && !again) {
        t->not_before = 0;
        t->lost++;
    }
    if (!again) {
        t->first = (t->first + 1) % QUEUE;
        t->n--;
    }
    if (t->n == 0 && t->lost > 0) {
        ct_log(CT_LOG_WARN, "%llu Events on pods were not written", (unsigned long long)t->lost);
        t->lost = 0;
    }
}

static void take(struct teller *t, const struct ct_tell_packet *packet)
{
    if (packet->kind == CT_TELL_FACTS) {
        // Nothing is kept until that was taken in, whatever has been said since.
        int first = t->facts.first;
        t->facts = packet->facts;
        t->facts.first |= first;
        t->has_facts = true;
    } else if (packet->kind == CT_TELL_EVENT && t->n < QUEUE) {
        t->queue[(t->first + t->n) % QUEUE] = packet->event;
        t->n++;
    } else {
        t->lost++;
    }
}

// True when there is nobody any more who could send something.
static bool receive(struct teller *t, int timeout_ms)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct ct_tell_packet packet;
    if (poll(&input, 1, timeout_ms) <= 0) {
        return false;
    }
    for (;;) {
        ssize_t n = recv(STDIN_FILENO, &packet, sizeof(packet), MSG_DONTWAIT);
        if (n <= 0) {
            return n == 0 || (errno != EAGAIN && errno != EINTR);
        }
        if (n == (ssize_t)sizeof(packet)) {
            take(t, &packet);
        }
    }
}

static int until_due(const struct teller *t)
{
    uint64_t now = ct_clock_ms();
    if (t->not_before > now) {
        return t->not_before - now < TICK_MS ? (int)(t->not_before - now) : TICK_MS;
    }
    return t->n > 0 ? 0 : TICK_MS;
}

// The Events that the agent had gathered until its end; labels stay as they are.
static void finish(struct teller *t)
{
    const struct timespec step = {.tv_nsec = 20000000L};
    t->end = t->end != 0 ? t->end : ct_clock_ms() + CT_TELL_END_MS;
    while (t->n > 0 && !is_over(t)) {
        if (ct_clock_ms() < t->not_before) {
            (void)nanosleep(&step, NULL);
        }
        tell_event(t);
    }
}

static int tell(const struct settings *settings, struct ct_err *err)
{
    struct teller t = {.settings = settings, .label = {.hold_ms = settings->hold_ms}};
    int rc = ct_rights_drop_all(err); // speaking with a server is all that is done here
    rc = rc == 0 ? ct_kube_init(err) : rc;
    if (rc < 0) {
        return rc;
    }
    if (getrandom(&t.number, sizeof(t.number), 0) != (ssize_t)sizeof(t.number)) {
        t.number = ct_clock_ms();
    }
    while (!receive(&t, until_due(&t))) {
        tell_labels(&t);
        tell_event(&t);
    }
    finish(&t);
    ct_kube_free(t.kube);
    return 0;
}

int ct_tell_main(int argc, char **argv)
{
    struct settings settings = {0};
    struct ct_err err = {0};
    int status;
    if (!ct_agent_begin(&table, argc, argv, CT_VERSION, &settings, &status)) {
        return status;
    }
    ct_log_init("cloudtaser-agent", CT_LOG_JSON);
    int rc = tell(&settings, &err);
    if (rc < 0) {
        ct_log(CT_LOG_ERROR, "%s", err.msg);
    }
    ct_option_free(&table, &settings);
    return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}
