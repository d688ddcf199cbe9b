// SPDX-License-Identifier: Apache-2.0
#include "pod_event.h"

#include <stdlib.h>
#include <string.h>

#include "vectors.h"

struct entry {
    bool used;
    struct ct_pod_event waiting; // count 0: nothing but the memory of what was told
    int64_t told_s;
};

struct ct_pod_gatherer {
    struct entry entries[CT_POD_EVENTS];
    int64_t minute_s; // when the minute began that `told` counts in
    unsigned told;
    uint64_t lost;
};

struct ct_pod_gatherer *ct_pod_gatherer_new(void)
{
    return calloc(1, sizeof(struct ct_pod_gatherer));
}

void ct_pod_gatherer_free(struct ct_pod_gatherer *gatherer)
{
    free(gatherer);
}

uint64_t ct_pod_gatherer_lost(const struct ct_pod_gatherer *gatherer)
{
    return gatherer->lost;
}

static bool same(const struct entry *entry, const struct ct_pod_ref *pod,
                 const struct ct_event *event)
{
    return entry->used && entry->waiting.last.vector == event->vector &&
           entry->waiting.last.action == event->action &&
           strcmp(entry->waiting.pod.uid, pod->uid) == 0;
}

// The entry of this pod and vector, or a free one; NULL: all are in use.
static struct entry *find(struct ct_pod_gatherer *gatherer, const struct ct_pod_ref *pod,
                          const struct ct_event *event)
{
    struct entry *empty = NULL;
    for (size_t i = 0; i < CT_POD_EVENTS; i++) {
        struct entry *entry = &gatherer->entries[i];
        if (same(entry, pod, event)) {
            return entry;
        }
        empty = empty == NULL && !entry->used ? entry : empty;
    }
    return empty;
}

static bool may_tell(struct ct_pod_gatherer *gatherer, int64_t now_s)
{
    if (now_s - gatherer->minute_s >= 60 || now_s < gatherer->minute_s) {
        gatherer->minute_s = now_s;
        gatherer->told = 0;
    }
    return gatherer->told < CT_POD_EVENTS_A_MINUTE;
}

static void hand_out(struct ct_pod_gatherer *gatherer, struct entry *entry, int64_t now_s,
                     struct ct_pod_event *ret)
{
    *ret = entry->waiting;
    entry->waiting.count = 0;
    entry->told_s = now_s;
    gatherer->told++;
}

bool ct_pod_gatherer_add(struct ct_pod_gatherer *gatherer, const struct ct_pod_ref *pod,
                         const struct ct_event *event, int64_t now_s, struct ct_pod_event *ret)
{
    struct entry *entry = find(gatherer, pod, event);
    if (entry == NULL) {
        gatherer->lost++;
        return false;
    }
    bool fresh = !entry->used;
    entry->used = true;
    entry->waiting.pod = *pod;
    entry->waiting.last = *event;
    entry->waiting.first_s = entry->waiting.count == 0 ? now_s : entry->waiting.first_s;
    entry->waiting.last_s = now_s;
    entry->waiting.count++;
    entry->told_s = fresh ? now_s : entry->told_s;
    if (!fresh || !may_tell(gatherer, now_s)) {
        return false;
    }
    hand_out(gatherer, entry, now_s, ret);
    return true;
}

bool ct_pod_gatherer_due(struct ct_pod_gatherer *gatherer, int64_t now_s, bool all,
                         struct ct_pod_event *ret)
{
    for (size_t i = 0; i < CT_POD_EVENTS; i++) {
        struct entry *entry = &gatherer->entries[i];
        bool old = now_s - entry->told_s >= CT_POD_EVENT_WINDOW_S || now_s < entry->told_s;
        if (!entry->used || !(old || all)) {
            continue;
        }
        if (entry->waiting.count == 0) {
            entry->used = false; // nothing for a whole window: the next one is told at once again
        } else if (may_tell(gatherer, now_s)) {
            hand_out(gatherer, entry, now_s, ret);
            return true;
        }
    }
    return false;
}

// ---- as the API server takes it ----

// A name that the attacker chose.
static void add_shown(struct ct_buf *out, const char *name, size_t size)
{
    size_t len = strnlen(name, size);
    for (size_t i = 0; i < len; i++) {
        bool plain = name[i] >= ' ' && name[i] <= '~';
        ct_buf_addf(out, "%c", plain ? name[i] : '?');
    }
}

static void add_message(struct ct_buf *out, const struct ct_pod_event *event)
{
    CT_AUTO_BUF text = {.max = 1000};
    const struct ct_event *last = &event->last;
    const struct ct_vector_info *info = ct_vector_info((enum ct_vector)last->vector);
    ct_buf_addf(&text, "%s %s",
                last->action == CT_ACTION_KILLED ? "Killed the attacker at" : "Denied",
                info != NULL ? info->name : "an attack");
    if (info != NULL) {
        ct_buf_addf(&text, " (%s)", info->title);
    }
    if (event->pod.container[0] != '\0') {
        ct_buf_addf(&text, " on container %s", event->pod.container);
    }
    ct_buf_addf(&text, ", by pid %u of uid %u: command ", last->tgid, last->uid);
    add_shown(&text, last->comm, sizeof(last->comm));
    ct_buf_add_str(&text, ", executable ");
    add_shown(&text, last->exe, sizeof(last->exe));
    ct_buf_add_json(out, text.data != NULL ? text.data : "", text.len);
}

static void add_time(struct ct_buf *out, const char *key, int64_t seconds)
{
    char text[40] = "";
    time_t t = (time_t)seconds;
    struct tm parts;
    if (gmtime_r(&t, &parts) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    ct_buf_addf(out, ",\"%s\":\"%s\"", key, text);
}

static void add_text(struct ct_buf *out, const char *key, const char *value)
{
    ct_buf_addf(out, ",\"%s\":", key);
    ct_buf_add_json(out, value, strlen(value));
}

void ct_pod_event_write(const struct ct_pod_event *event, const char *node, uint64_t number,
                        struct ct_buf *out)
{
    char name[254];
    const struct ct_pod_ref *pod = &event->pod;
    (void)snprintf(name, sizeof(name), "%.200s.%016llx", pod->name, (unsigned long long)number);
    ct_buf_add_str(out, "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"type\":\"Warning\","
                        "\"reason\":\"AttackBlocked\",\"metadata\":{\"name\":");
    ct_buf_add_json(out, name, strlen(name));
    add_text(out, "namespace", pod->namespace);
    ct_buf_add_str(out, "},\"involvedObject\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\"");
    add_text(out, "namespace", pod->namespace);
    add_text(out, "name", pod->name);
    add_text(out, "uid", pod->uid);
    ct_buf_add_str(out, "},\"source\":{\"component\":\"cloudtaser-agent\"");
    add_text(out, "host", node);
    ct_buf_add_str(out, "},\"reportingComponent\":\"cloudtaser-agent\"");
    add_text(out, "reportingInstance", node);
    ct_buf_addf(out, ",\"count\":%llu",
                (unsigned long long)(event->count < INT32_MAX ? event->count : INT32_MAX));
    add_time(out, "firstTimestamp", event->first_s);
    add_time(out, "lastTimestamp", event->last_s);
    ct_buf_add_str(out, ",\"message\":");
    add_message(out, event);
    ct_buf_add_str(out, "}");
}
