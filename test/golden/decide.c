// SPDX-License-Identifier: Apache-2.0
//
// decide INPUT.json: runs the webhook's decision engine on one case and prints, as JSON, what it
// decided and what it answered. INPUT has "settings" (option names and values), "nodes" (a list, or
// null for none known), and "review", or "body" with the request's bytes as they are.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "json.h"
#include "mutate.h"

#define MAX_ARGS 64

static int die(const char *what, const struct ct_err *err)
{
    fprintf(stderr, "decide: %s: %s\n", what, err->msg);
    return 2;
}

// {"vault-allow": ["a", "b"]} as --vault-allow=a --vault-allow=b. The texts stay with the caller.
static int add_flag(char **argv, int argc, const char *name, const json_t *value)
{
    char text[256] = "";
    if (json_is_string(value)) {
        (void)snprintf(text, sizeof(text), "%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        (void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    } else {
        (void)snprintf(text, sizeof(text), "%s", json_is_true(value) ? "true" : "false");
    }
    if (argc >= MAX_ARGS - 1 || asprintf(&argv[argc], "--%s=%s", name, text) < 0) {
        return argc;
    }
    return argc + 1;
}

static int read_settings(const json_t *given, struct ct_webhook_settings *s, struct ct_err *err)
{
    static const char *const needed[] = {"decide", "--tls-cert=unused", "--tls-key=unused",
                                         "--nodes-file=unused"};
    char *argv[MAX_ARGS] = {NULL};
    int argc = 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(needed); i++) {
        argv[argc++] = strdup(needed[i]);
    }
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)given, name, value)
    {
        size_t i;
        json_t *each;
        json_array_foreach(value, i, each)
        {
            argc = add_flag(argv, argc, name, each);
        }
        if (!json_is_array(value)) {
            argc = add_flag(argv, argc, name, value);
        }
    }
    int r = ct_option_parse(&ct_webhook_options, argc, argv, s, err);
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    return r;
}

static int read_nodes(const json_t *list, struct ct_nodes **ret, struct ct_err *err)
{
    if (list == NULL || json_is_null(list)) {
        return 0;
    }
    char *text = json_dumps(list, 0);
    int r = text != NULL ? ct_nodes_parse(text, strlen(text), ret, err)
                         : ct_err_set(err, CT_ENOMEM, "out of memory");
    free(text);
    return r;
}

static void print(int r, const struct ct_decision *d, const struct ct_buf *out,
                  const struct ct_err *err)
{
    CT_AUTO_JSON answer = r == 0 ? json_loadb(out->data, out->len, 0, NULL) : NULL;
    CT_AUTO_JSON all =
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:i,s:b,s:O?}", "code", r, "error",
                  r == 0 ? "" : err->msg, "outcome", ct_outcome_name(d->outcome), "reason",
                  ct_reason_name(d->reason), "namespace", d->namespace, "name", d->name,
                  "min_score", d->min_score, "below_minimum", d->below_minimum, "answer", answer);
    char *text = all != NULL ? json_dumps(all, 0) : NULL;
    // An answer that cannot be read back is shown as it is, and fails the case.
    puts(text != NULL ? text : "unreadable");
    free(text);
}

int main(int argc, char **argv)
{
    struct ct_err err = {0};
    CT_AUTO_BUF input = {.max = 16 << 20};
    CT_AUTO_BUF out = {.max = 32 << 20};
    CT_AUTO_JSON doc = NULL;
    CT_AUTO(ct_nodes) *nodes = NULL;
    struct ct_webhook_settings settings = {0};
    struct ct_decision decision;
    ct_mutate_init();
    if (argc != 2 || ct_file_read(argv[1], &input, &err) != 0 ||
        ct_json_parse(input.data, input.len, argv[1], &doc, &err) != 0 ||
        read_nodes(json_object_get(doc, "nodes"), &nodes, &err) != 0 ||
        read_settings(json_object_get(doc, "settings"), &settings, &err) != 0) {
        return die(argc == 2 ? argv[1] : "usage: decide INPUT.json", &err);
    }
    const char *body = ct_json_str(doc, "body");
    char *text =
        body != NULL ? strdup(body) : json_dumps(json_object_get(doc, "review"), JSON_COMPACT);
    int r = ct_mutate(&settings, nodes, text, strlen(text), &out, &decision, &err);
    print(r, &decision, &out, &err);
    free(text);
    ct_option_free(&ct_webhook_options, &settings);
    return 0;
}
