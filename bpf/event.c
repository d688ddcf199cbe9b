// SPDX-License-Identifier: Apache-2.0
#include "event.h"

#include <string.h>

#include "buf.h"
#include "vectors.h"

// A name that the attacker chose, of bytes that need be no text.
static void add_name(struct ct_buf *line, const char *key, const char *name, size_t size)
{
    char clean[64];
    size_t len = strnlen(name, size < sizeof(clean) ? size : sizeof(clean));
    for (size_t i = 0; i < len; i++) {
        clean[i] = (unsigned char)name[i] < 0x80 ? name[i] : '?';
    }
    ct_buf_addf(line, "\"%s\":", key);
    ct_buf_add_json(line, clean, len);
    ct_buf_add_str(line, ",");
}

void ct_event_json(const struct ct_event *event, FILE *out)
{
    CT_AUTO_BUF line = {.max = 4096};
    const struct ct_vector_info *info = ct_vector_info((enum ct_vector)event->vector);
    ct_buf_addf(
        &line,
        "{\"time_ns\":%llu,\"vector\":\"%s\",\"action\":\"%s\",\"tier\":\"%s\",\"attacker\":{",
        event->time_ns, info != NULL ? info->name : "unknown",
        event->action == CT_ACTION_KILLED ? "killed" : "denied",
        ct_tier_name((enum ct_tier)event->tier));
    add_name(&line, "comm", event->comm, sizeof(event->comm));
    add_name(&line, "exe", event->exe, sizeof(event->exe));
    ct_buf_addf(&line,
                "\"pid\":%u,\"tid\":%u,\"uid\":%u,\"parent\":%u,\"cgroup\":%llu},"
                "\"victim\":{\"pid\":%u,\"cgroup\":%llu}}\n",
                event->tgid, event->pid, event->uid, event->parent, event->cgroup, event->victim,
                event->victim_cgroup);
    if (!line.failed) {
        (void)fwrite(line.data, 1, line.len, out);
        (void)fflush(out);
    }
}
