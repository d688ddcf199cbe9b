// SPDX-License-Identifier: Apache-2.0
#include "label.h"

#include <string.h>

#include "json.h"
#include "text.h"
#include "vectors.h"

#define MAX_POINTS 105
#define MAX_LABEL 63

static int *slow(struct ct_node_facts *facts, enum ct_label_slow which)
{
    int *const all[CT_LABEL_SLOW] = {[CT_LABEL_POINTS] = &facts->points,
                                     [CT_LABEL_ENFORCEMENT] = &facts->enforcement,
                                     [CT_LABEL_MEMFD] = &facts->memfd_secret};
    return all[which];
}

bool ct_label_take(struct ct_label *label, const struct ct_node_facts *facts, uint64_t now_ms)
{
    struct ct_node_facts fresh = *facts;
    for (int i = 0; i < CT_LABEL_SLOW && label->known; i++) {
        int told = *slow(&label->told, (enum ct_label_slow)i);
        int *now = slow(&fresh, (enum ct_label_slow)i);
        uint64_t *since = &label->lower_since[i];
        if (*now >= told || facts->first != 0) {
            *since = 0;
            continue;
        }
        *since = *since != 0 ? *since : now_ms;
        if (now_ms - *since < label->hold_ms) {
            *now = told;
        } else {
            *since = 0;
        }
    }
    bool changed = !label->known || label->told.points != fresh.points ||
                   label->told.enforcement != fresh.enforcement ||
                   label->told.memfd_secret != fresh.memfd_secret ||
                   label->told.vectors != fresh.vectors ||
                   strcmp(label->told.kernel, fresh.kernel) != 0;
    label->known = true;
    label->told = fresh;
    return changed;
}

// ---- there and back ----

static const char *label_of(const json_t *labels, const char *name)
{
    char key[128];
    (void)snprintf(key, sizeof(key), CT_LABEL_PREFIX "%s", name);
    const char *value = ct_json_str(labels, key);
    return value != NULL ? value : "";
}

void ct_label_read(struct ct_label *label, const json_t *node)
{
    const json_t *labels = ct_json_at(node, "metadata", "labels", NULL);
    const char *points = label_of(labels, "protection-points");
    const char *vectors = label_of(labels, "vectors");
    struct ct_node_facts told = {0};
    unsigned long n;
    label->known = false;
    memset(label->lower_since, 0, sizeof(label->lower_since));
    if (!ct_text_number(points, strlen(points), MAX_POINTS, &n)) {
        return;
    }
    told.points = (int)n;
    if (ct_text_number(vectors, strlen(vectors), CT_V_COUNT, &n)) {
        told.vectors = (int)n;
    }
    int tier = ct_tier_from_name(label_of(labels, "enforcement"));
    told.enforcement = tier > CT_TIER_NONE ? tier : CT_TIER_NONE;
    told.memfd_secret = strcmp(label_of(labels, "memfd-secret"), "true") == 0;
    (void)snprintf(told.kernel, sizeof(told.kernel), "%s", label_of(labels, "kernel"));
    label->told = told;
    label->known = true;
}

// What a label's value takes: letters, digits, and "-_." between them.
static void add_kernel(struct ct_buf *out, const char *release)
{
    char value[MAX_LABEL + 1] = "";
    size_t n = 0;
    for (; *release != '\0' && n < MAX_LABEL; release++) {
        bool plain = ct_text_is_alnum(*release);
        if (plain || n > 0) {
            value[n++] = plain || strchr("-_.", *release) != NULL ? *release : '_';
        }
    }
    while (n > 0 && !ct_text_is_alnum(value[n - 1])) {
        n--;
    }
    ct_buf_addf(out, "\"" CT_LABEL_PREFIX "kernel\":\"%.*s\",", (int)n, value);
}

void ct_label_write(const struct ct_node_facts *facts, const char *node, struct ct_buf *out)
{
    ct_buf_add_str(out, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":");
    ct_buf_add_json(out, node, strlen(node));
    if (facts != NULL) {
        ct_buf_addf(out, ",\"labels\":{\"" CT_LABEL_PREFIX "protection-points\":\"%d\",",
                    facts->points);
        ct_buf_addf(out, "\"" CT_LABEL_PREFIX "enforcement\":\"%s\",",
                    ct_tier_name((enum ct_tier)facts->enforcement));
        ct_buf_addf(out, "\"" CT_LABEL_PREFIX "memfd-secret\":\"%s\",",
                    facts->memfd_secret != 0 ? "true" : "false");
        add_kernel(out, facts->kernel);
        ct_buf_addf(out, "\"" CT_LABEL_PREFIX "vectors\":\"%d\"}", facts->vectors);
    }
    ct_buf_add_str(out, "}}");
}
