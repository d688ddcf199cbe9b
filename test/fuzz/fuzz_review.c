// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as the body of a request: an error with a sentence, or a complete answer. Half of the
// inputs (by their last byte) are decided with nodes that reach every score.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "annotation.h"
#include "json.h"
#include "mutate.h"
#include "peek.h"
#include "review.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char node_list[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":["
    "{\"metadata\":{\"name\":\"n\",\"labels\":{\"zone\":\"a\"},\"taints\":[]},"
    "\"status\":{\"nodeInfo\":{\"kernelVersion\":\"5.10\"}}},"
    "{\"metadata\":{\"name\":\"agent-1\",\"labels\":{\"zone\":\"a\","
    "\"" CT_NODE_LABEL_PREFIX "protection-points\":\"35\","
    "\"" CT_NODE_LABEL_PREFIX "memfd-secret\":\"true\","
    "\"" CT_NODE_LABEL_PREFIX "enforcement\":\"lsm\"}}}]}";

static struct ct_webhook_settings settings;
static struct ct_nodes *nodes;

static void set_up(void)
{
    static char program[] = "fuzz", cert[] = "--tls-cert=c", key[] = "--tls-key=k";
    static char file[] = "--nodes-file=n", address[] = "--vault-address=https://vault:8200";
    static char ca[] = "--allow-ca-configmap", role[] = "--vault-role=web";
    char *argv[] = {program, cert, key, file, address, ca, role, NULL};
    ct_mutate_init();
    if (ct_option_parse(&ct_webhook_options, 7, argv, &settings, NULL) != 0 ||
        ct_nodes_parse(node_list, strlen(node_list), &nodes, NULL) != 0) {
        abort();
    }
}

// What the quick look passes over must be what a reading in earnest passes over. Only a key that stands twice where
// nothing of ours can be is refused in earnest and let be by the quick look: jansson alone takes it.
static void check_peek(const char *body, size_t len)
{
    struct ct_peek peek;
    if (!ct_peek_skippable(body, len, &peek)) {
        return;
    }
    CT_AUTO_JSON document = json_loadb(body, len, JSON_ALLOW_NUL, NULL);
    struct ct_review review;
    if (document == NULL || ct_review_read(document, &review, NULL) != 0 || review.object == NULL ||
        *review.subresource != '\0' || strlen(review.uid) != peek.uid.len ||
        memcmp(review.uid, peek.uid.text, peek.uid.len) != 0 || review.dry_run != peek.dry_run ||
        ct_annotations_opted_in(ct_json_at(review.object, "metadata", "annotations", NULL), NULL)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (nodes == NULL) {
        set_up();
    }
    check_peek((const char *)data, size);
    CT_AUTO_BUF out = {.max = 64 << 20};
    struct ct_decision decision;
    struct ct_err err = {0};
    bool with_nodes = size > 0 && data[size - 1] % 2 == 0;
    int r = ct_mutate(&settings, with_nodes ? nodes : NULL, (const char *)data, size, &out,
                      &decision, &err);
    if (r != 0) {
        if (r > 0 || err.msg[0] == '\0') {
            abort();
        }
        return 0;
    }
    CT_AUTO_JSON answer = json_loadb(out.data, out.len, JSON_ALLOW_NUL, NULL);
    const json_t *response = json_object_get(answer, "response");
    if (json_string_length(json_object_get(response, "uid")) == 0 ||
        !json_is_boolean(json_object_get(response, "allowed"))) {
        abort();
    }
    return 0;
}
