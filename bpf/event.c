// SPDX-License-Identifier: Apache-2.0
#include "event.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "vectors.h"

#define LINE_MAX_BYTES 4000 // a pipe takes this at once (PIPE_BUF)
#define PATIENCE_MS 1000
#define PATIENCE_PART 10 // of the time, from then on
#define VALUE_MAX 512

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t ct_line_now_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

// RFC 3339, with milliseconds.
void ct_line_begin_at(struct ct_buf *line, int64_t ns)
{
    char text[32];
    struct tm tm;
    time_t seconds = (time_t)(ns / 1000000000);
    (void)gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    ct_buf_addf(line, "{\"time\":\"%s.%03dZ\",", text, (int)(ns / 1000000 % 1000));
}

static void add_node(struct ct_buf *line, const char *node)
{
    if (node != NULL) {
        ct_line_add(line, "node", node);
    }
}

void ct_line_begin(struct ct_buf *line, const char *kind, const char *node)
{
    ct_line_begin_at(line, ct_line_now_ns());
    ct_line_add(line, "kind", kind);
    add_node(line, node);
}

void ct_line_add_upto(struct ct_buf *line, const char *key, const char *value, size_t size)
{
    char clean[1024];
    size_t len = strnlen(value, size < sizeof(clean) ? size : sizeof(clean));
    for (size_t i = 0; i < len; i++) {
        clean[i] = value[i] >= ' ' && value[i] < 0x7f ? value[i] : '?';
    }
    ct_buf_addf(line, "\"%s\":", key);
    ct_buf_add_json(line, clean, len);
    ct_buf_add_str(line, ",");
}

void ct_line_add(struct ct_buf *line, const char *key, const char *value)
{
    ct_line_add_upto(line, key, value, VALUE_MAX);
}

void ct_line_end(struct ct_buf *line)
{
    if (line->len > 0 && line->data[line->len - 1] == ',') {
        line->len--;
    }
    ct_buf_add_str(line, "}\n");
}

static int patience(struct ct_lines *out, uint64_t now)
{
    uint64_t earned = out->earned_ms == 0 ? PATIENCE_MS : (now - out->earned_ms) / PATIENCE_PART;
    if (earned > 0) {
        uint64_t all = earned + (uint64_t)out->patience_ms;
        out->patience_ms = all < PATIENCE_MS ? (int)all : PATIENCE_MS;
        out->earned_ms = now;
    }
    return out->stalled ? 0 : out->patience_ms;
}

bool ct_lines_put(struct ct_lines *out, const char *line, size_t len)
{
    struct pollfd ready = {.fd = out->fd, .events = POLLOUT};
    bool fits = len > 0 && len <= LINE_MAX_BYTES;
    uint64_t began = ct_clock_ms();
    int n = fits ? poll(&ready, 1, patience(out, began)) : -1;
    int waited = (int)(ct_clock_ms() - began);
    out->patience_ms -= waited < out->patience_ms ? waited : out->patience_ms;
    bool taken =
        n == 1 && (ready.revents & POLLOUT) != 0 && write(out->fd, line, len) == (ssize_t)len;
    out->stalled = n == 0 || (out->stalled && !taken);
    out->dropped += taken ? 0 : 1;
    return taken;
}

bool ct_line_write(struct ct_buf *line, struct ct_lines *out)
{
    ct_line_end(line);
    return ct_lines_put(out, line->data, line->failed ? 0 : line->len);
}

static void add_place(struct ct_buf *line, const struct ct_place *place)
{
    if (place->path[0] != '\0') {
        ct_line_add(line, "cgroup_path", place->path);
    }
    if (place->pod[0] != '\0') {
        ct_line_add(line, "pod_uid", place->pod);
        ct_line_add(line, "container", place->container);
    }
}

static void add_pod(struct ct_buf *line, const struct ct_pod_name *pod)
{
    if (pod->pod[0] != '\0') {
        ct_line_add_upto(line, "namespace", pod->space, sizeof(pod->space));
        ct_line_add_upto(line, "pod", pod->pod, sizeof(pod->pod));
    }
}

static void add_attacker(struct ct_buf *line, const struct ct_event *event,
                         const struct ct_event_about *about)
{
    ct_buf_add_str(line, "\"attacker\":{");
    ct_line_add_upto(line, "comm", event->comm, sizeof(event->comm));
    ct_line_add_upto(line, "exe", event->exe, sizeof(event->exe));
    if (about != NULL && about->program != NULL) {
        ct_line_add(line, "program", about->program);
    }
    if (about != NULL) {
        add_place(line, &about->attacker);
    }
    ct_buf_addf(line, "\"pid\":%u,\"tid\":%u,\"uid\":%u,\"parent\":%u,\"cgroup\":%llu},",
                event->tgid, event->pid, event->uid, event->parent, event->cgroup);
}

static void add_attack(struct ct_buf *line, const struct ct_event *event,
                       const struct ct_event_about *about)
{
    const struct ct_vector_info *info = ct_vector_info((enum ct_vector)event->vector);
    int64_t since_boot = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
    ct_line_begin_at(line, since_boot + (int64_t)event->time_ns);
    ct_line_add(line, "kind", "attack");
    add_node(line, about != NULL ? about->node : NULL);
    ct_buf_addf(line, "\"vector\":\"%s\",\"action\":\"%s\",\"tier\":\"%s\",",
                info != NULL ? info->name : "unknown",
                event->action == CT_ACTION_KILLED ? "killed" : "denied",
                ct_tier_name((enum ct_tier)event->tier));
    add_attacker(line, event, about);
    ct_buf_add_str(line, "\"victim\":{");
    if (about != NULL) {
        add_place(line, &about->victim);
        add_pod(line, &about->victim_pod);
    }
    ct_buf_addf(line, "\"pid\":%u,\"cgroup\":%llu},", event->victim, event->victim_cgroup);
}

// Paths of quotes take twice their room. What the kernel has told is told without them rather than not at all.
bool ct_event_write(const struct ct_event *event, const struct ct_event_about *about,
                    struct ct_lines *out)
{
    CT_AUTO_BUF line = {.max = LINE_MAX_BYTES};
    add_attack(&line, event, about);
    if ((line.failed || line.len > LINE_MAX_BYTES - 1) && about != NULL) {
        const struct ct_event_about less = {.node = about->node};
        ct_buf_reset(&line);
        add_attack(&line, event, &less);
    }
    return ct_line_write(&line, out);
}
