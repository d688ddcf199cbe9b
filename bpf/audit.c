// SPDX-License-Identifier: Apache-2.0
#include "audit.h"

#include "event.h"

#define TEXT_MAX 512 // of paths and reasons: a line is to fit a pipe

static const char *const decisions[] = {
    [CT_AUDIT_ACCEPTED] = "accepted",       [CT_AUDIT_REFUSED] = "refused",
    [CT_AUDIT_MARKED] = "marked",           [CT_AUDIT_PROTECTED] = "protected",
    [CT_AUDIT_UNPROTECTED] = "unprotected",
};

// Nothing where it is empty.
static void add_text(struct ct_buf *out, const char *key, const char *text)
{
    if (text[0] != '\0') {
        ct_line_add_upto(out, key, text, TEXT_MAX);
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
    ct_line_begin_at(out, ct_line_now_ns());
    ct_buf_addf(out, "\"event\":\"registration\",\"decision\":\"%s\",\"pid\":%u,\"uid\":%u,",
                decisions[audit->decision], ask->tgid, ask->uid);
    ct_buf_addf(out, "\"vetting\":%d,\"nonce\":\"%016llx\",\"cgroup\":%llu,",
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
        ct_buf_addf(out, "\"refusals\":%u,", audit->refusals);
    }
    add_text(out, "reason", audit->reason != NULL ? audit->reason : "");
    ct_line_end(out);
}
