// SPDX-License-Identifier: Apache-2.0
#include "audit.h"

#include <string.h>
#include <time.h>

static const char *const decisions[] = {
    [CT_AUDIT_ACCEPTED] = "accepted",       [CT_AUDIT_REFUSED] = "refused",
    [CT_AUDIT_MARKED] = "marked",           [CT_AUDIT_PROTECTED] = "protected",
    [CT_AUDIT_UNPROTECTED] = "unprotected",
};

// A text that a stranger may have chosen, of bytes that need be no UTF-8. Nothing where it is empty.
static void add_text(struct ct_buf *out, const char *key, const char *text)
{
    char clean[1024];
    size_t len = strnlen(text, sizeof(clean));
    if (len == 0) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        clean[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    }
    ct_buf_addf(out, ",\"%s\":", key);
    ct_buf_add_json(out, clean, len);
}

static void add_time(struct ct_buf *out)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc) > 0) {
        ct_buf_addf(out, "\"time\":\"%s.%03ldZ\",", text, now.tv_nsec / 1000000);
    }
}

static void add_vetted(struct ct_buf *out, const struct ct_vetted *vetted)
{
    struct ct_version_text version;
    add_text(out, "cgroup_path", vetted->place.path);
    add_text(out, "pod_uid", vetted->container.pod_uid);
    add_text(out, "container", vetted->container.id);
    if (vetted->signature.key != NULL) {
        add_text(out, "version", ct_version_show(&version, vetted->signature.version));
        add_text(out, "sha256", vetted->signature.sha256);
        add_text(out, "key", vetted->signature.key);
    }
}

void ct_audit_json(const struct ct_audit *audit, struct ct_buf *out)
{
    const struct ct_ask *ask = audit->ask;
    uint64_t cgroup = audit->vetted != NULL ? audit->vetted->place.id : ask->cgroup;
    ct_buf_add_str(out, "{");
    add_time(out);
    ct_buf_addf(out, "\"event\":\"registration\",\"decision\":\"%s\",\"pid\":%u,\"uid\":%u,",
                decisions[audit->decision], ask->tgid, ask->uid);
    ct_buf_addf(out, "\"vetting\":%d,\"nonce\":\"%016llx\",\"cgroup\":%llu",
                ask->stage == CT_STAGE_NONE ? 1 : 2, (unsigned long long)ask->nonce,
                (unsigned long long)cgroup);
    if (audit->vetted != NULL) {
        add_vetted(out, audit->vetted);
    }
    if (audit->pod != NULL) {
        add_text(out, "namespace", audit->pod->space);
        add_text(out, "pod", audit->pod->pod);
    }
    if (audit->refusals > 0) {
        ct_buf_addf(out, ",\"refusals\":%u", audit->refusals);
    }
    add_text(out, "reason", audit->reason != NULL ? audit->reason : "");
    ct_buf_add_str(out, "}\n");
}
