// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include <openssl/evp.h>
#include <string.h>

#include "json.h"

#define MAX_OBJECT ((size_t)4 << 20)
#define CONFIGURATIONS "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/"
#define N_KEYS 4

static const char *const keys[N_KEYS] = {"ca.crt", "ca.key", "tls.crt", "tls.key"};

// The set's members in the order of `keys`.
static char **member(struct ct_certs_set *set, size_t i)
{
    char **const members[N_KEYS] = {&set->ca, &set->ca_key, &set->cert, &set->key};
    return members[i];
}

// What a round works with.
struct round {
    struct ct_kube *kube;
    const struct ct_certs_place *place;
    const struct ct_certs_plan *plan;
    time_t now;
    struct ct_kube_answer answer;
    struct ct_err *err;
};

static int no_memory(struct ct_err *err)
{
    return ct_err_set(err, CT_ENOMEM, "out of memory for certificates");
}

static int send(struct round *r, const char *method, const char *path, const char *type,
                const struct ct_buf *body)
{
    const struct ct_kube_request request = {.method = method,
                                            .path = path,
                                            .type = type,
                                            .body = body != NULL ? body->data : NULL,
                                            .body_len = body != NULL ? body->len : 0};
    if (body != NULL && body->failed) {
        return no_memory(r->err);
    }
    return ct_kube_send(r->kube, &request, &r->answer, r->err);
}

static int get(struct round *r, const char *path, json_t **ret)
{
    int rc = send(r, "GET", path, NULL, NULL);
    return rc < 0 ? rc : ct_json_parse(r->answer.body.data, r->answer.body.len, path, ret, r->err);
}

// ---- the Secret ----

static char *decode(const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    char *out = len > 0 && len <= MAX_OBJECT ? calloc(1, len + 4) : NULL;
    if (out != NULL &&
        EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)len) < 0) {
        free(ct_steal(&out));
    }
    return out;
}

static void read_set(const json_t *secret, struct ct_certs_set *ret)
{
    const json_t *data = json_object_get(secret, "data");
    for (size_t i = 0; i < N_KEYS; i++) {
        *member(ret, i) = decode(ct_json_str(data, keys[i]));
    }
}

// Keeps what else the Secret holds: labels, owners, its type, keys that are not ours.
static int write_set(struct round *r, json_t *secret, struct ct_certs_set *set, struct ct_buf *out)
{
    json_t *data = json_object_get(secret, "data");
    if (!json_is_object(data)) {
        data = json_object();
        if (json_object_set_new(secret, "data", data) != 0) {
            return no_memory(r->err);
        }
    }
    for (size_t i = 0; i < N_KEYS; i++) {
        CT_AUTO_SECRET_BUF text = {.max = MAX_OBJECT, .secret = true};
        const char *value = *member(set, i);
        ct_buf_add_base64(&text, value, strlen(value));
        if (text.failed || json_object_set_new(data, keys[i], json_string(text.data)) != 0) {
            return no_memory(r->err);
        }
    }
    char *dump = json_dumps(secret, JSON_COMPACT);
    if (dump == NULL) {
        return no_memory(r->err);
    }
    ct_buf_add_str(out, dump);
    explicit_bzero(dump, strlen(dump));
    free(dump);
    return 0;
}

// Of the type that the chart's has: it cannot be changed, and the chart must be able to take it back.
static int create(struct round *r, struct ct_certs_set *set)
{
    CT_AUTO_SECRET_BUF body = {.max = MAX_OBJECT, .secret = true};
    CT_AUTO_STR path = NULL;
    CT_AUTO_JSON secret =
        json_pack("{s:s,s:s,s:s,s:{s:s,s:{s:s}}}", "apiVersion", "v1", "kind", "Secret", "type",
                  "Opaque", "metadata", "name", r->place->secret, "labels",
                  "app.kubernetes.io/managed-by", "cloudtaser-webhook");
    if (secret == NULL ||
        asprintf(&path, "/api/v1/namespaces/%s/secrets", r->place->namespace) < 0) {
        path = secret == NULL ? path : NULL;
        return no_memory(r->err);
    }
    int rc = write_set(r, secret, set, &body);
    rc = rc == 0 ? send(r, "POST", path, NULL, &body) : rc;
    return rc < 0 && r->answer.status == 409 ? CT_CERTS_CONFLICT : rc < 0 ? rc : CT_CERTS_CREATED;
}

static int update(struct round *r, const char *path, json_t *secret, struct ct_certs_set *set,
                  int event)
{
    CT_AUTO_SECRET_BUF body = {.max = MAX_OBJECT, .secret = true};
    int rc = write_set(r, secret, set, &body);
    rc = rc == 0 ? send(r, "PUT", path, NULL, &body) : rc;
    // 404: deleted in between; the next round creates it.
    bool lost = r->answer.status == 409 || r->answer.status == 404;
    return rc < 0 && lost ? CT_CERTS_CONFLICT : rc < 0 ? rc : event;
}

static int copy_set(struct ct_certs_set *from, struct ct_certs_set *to, struct ct_err *err)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        *member(to, i) = strdup(*member(from, i));
        if (*member(to, i) == NULL) {
            return no_memory(err);
        }
    }
    return 0;
}

static bool is_empty(struct ct_certs_set *set)
{
    size_t n = 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        n += *member(set, i) != NULL;
    }
    return n == 0;
}

// The registration: its path, and what it is now. 404 is told by r->answer.status.
static int get_configuration(struct round *r, char **ret_path, json_t **ret)
{
    if (asprintf(ret_path, CONFIGURATIONS "%s", r->place->configuration) < 0) {
        *ret_path = NULL;
        return no_memory(r->err);
    }
    return get(r, *ret_path, ret);
}

// Keeps the authorities that API servers have been told of.
static int keep_told(struct round *r, struct ct_certs_set *set)
{
    CT_AUTO_STR path = NULL;
    CT_AUTO_JSON object = NULL;
    size_t i;
    json_t *entry;
    int rc = get_configuration(r, &path, &object);
    if (rc < 0) {
        return r->answer.status == 404 ? 0 : rc;
    }
    json_array_foreach(json_object_get(object, "webhooks"), i, entry)
    {
        CT_AUTO_STR text = decode(ct_json_str(json_object_get(entry, "clientConfig"), "caBundle"));
        rc = rc == 0 ? ct_certs_keep(set, text, r->now, r->err) : rc;
    }
    return rc;
}

// What the Secret is to hold: what it does hold if that is of use, else what is in use, else all of it
// new. Then the authorities that were in it, or are told to API servers, stay behind its own: other
// replicas go on showing certificates by them until they have seen the new ones. Returns CT_CERTS_REPLACED when it must be written in any case, CT_CERTS_CREATED when nothing was
// in it: the chart ships it empty.
static int choose(struct round *r, const struct ct_certs_set *in_use, struct ct_certs_set *fresh,
                  struct ct_err *why)
{
    if (ct_certs_check(fresh, r->now, why) == 0) {
        return 0;
    }
    int event = is_empty(fresh) ? CT_CERTS_CREATED : CT_CERTS_REPLACED;
    CT_AUTO_STR before = ct_steal(&fresh->ca);
    ct_certs_set_done(fresh);
    int rc = ct_certs_check(in_use, r->now, NULL) == 0
                 ? copy_set((struct ct_certs_set *)(uintptr_t)in_use, fresh, r->err)
                 : ct_certs_make(r->plan, r->now, fresh, r->err);
    rc = rc == 0 ? ct_certs_keep(fresh, before, r->now, r->err) : rc;
    rc = rc == 0 ? keep_told(r, fresh) : rc;
    return rc < 0 ? rc : event;
}

static int agree(struct round *r, const struct ct_certs_set *in_use, struct ct_certs_set *fresh,
                 struct ct_err *why)
{
    CT_AUTO_STR path = NULL;
    CT_AUTO_JSON secret = NULL;
    if (asprintf(&path, "/api/v1/namespaces/%s/secrets/%s", r->place->namespace, r->place->secret) <
        0) {
        path = NULL;
        return no_memory(r->err);
    }
    int rc = get(r, path, &secret);
    bool missing = rc < 0 && r->answer.status == 404;
    if (rc < 0 && !missing) {
        return rc;
    }
    read_set(secret, fresh);
    int replaced = choose(r, in_use, fresh, why);
    int change = replaced < 0 ? replaced : ct_certs_renew(r->plan, r->now, fresh, r->err);
    if (change < 0) {
        return change;
    }
    if (missing) {
        return create(r, fresh);
    }
    int event = replaced | ((change & CT_CERTS_NEW_CERT) != 0 ? CT_CERTS_RENEWED : 0) |
                ((change & CT_CERTS_NEW_CA) != 0 ? CT_CERTS_SUCCEEDED : 0);
    return event != 0 ? update(r, path, secret, fresh, event) : 0;
}

// ---- the caBundles ----

// A JSON Patch (RFC 6902) of those that differ, on this very version of the object.
static size_t write_patch(const json_t *object, const char *bundle, struct ct_buf *out)
{
    const char *version = ct_json_str(json_object_get(object, "metadata"), "resourceVersion");
    size_t n = 0;
    size_t i;
    json_t *entry;
    version = version != NULL ? version : "";
    ct_buf_add_str(out, "[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":");
    ct_buf_add_json(out, version, strlen(version));
    ct_buf_add_str(out, "}");
    json_array_foreach(json_object_get(object, "webhooks"), i, entry)
    {
        const char *has = ct_json_str(json_object_get(entry, "clientConfig"), "caBundle");
        if (has == NULL || strcmp(has, bundle) != 0) {
            n++;
            ct_buf_addf(out,
                        ",{\"op\":\"add\",\"path\":\"/webhooks/%zu/clientConfig/caBundle\","
                        "\"value\":\"%s\"}",
                        i, bundle);
        }
    }
    ct_buf_add_str(out, "]");
    return n;
}

static int tell(struct round *r, const struct ct_certs_set *set)
{
    CT_AUTO_STR path = NULL;
    CT_AUTO_JSON object = NULL;
    CT_AUTO_BUF bundle = {.max = MAX_OBJECT};
    CT_AUTO_BUF patch = {.max = MAX_OBJECT};
    ct_buf_add_base64(&bundle, set->ca, strlen(set->ca));
    if (bundle.failed) {
        return no_memory(r->err);
    }
    int rc = get_configuration(r, &path, &object);
    if (rc < 0) {
        return r->answer.status == 404 ? CT_CERTS_UNREGISTERED : rc;
    }
    if (write_patch(object, bundle.data, &patch) == 0) {
        return 0;
    }
    rc = send(r, "PATCH", path, "application/json-patch+json", &patch);
    bool lost = r->answer.status == 409 || r->answer.status == 422 || r->answer.status == 404;
    return rc < 0 && lost ? CT_CERTS_CONFLICT : rc < 0 ? rc : CT_CERTS_PATCHED;
}

int ct_certs_round(struct ct_kube *kube, const struct ct_certs_place *place,
                   const struct ct_certs_plan *plan, time_t now, struct ct_certs_set *set,
                   struct ct_err *why, struct ct_err *err)
{
    CT_AUTO_CERTS_SET fresh = {0};
    struct round r = {.kube = kube,
                      .place = place,
                      .plan = plan,
                      .now = now,
                      .answer = {.body = {.max = MAX_OBJECT, .secret = true}},
                      .err = err};
    int event = agree(&r, set, &fresh, why);
    bool agreed = event >= 0 && (event & CT_CERTS_CONFLICT) == 0;
    if (agreed) {
        int told = tell(&r, &fresh);
        event = told < 0 ? told : event | told;
    }
    ct_buf_wipe(&r.answer.body);
    // One that the API server may not know yet is better than one that has ended.
    bool ending = ct_certs_end(set->cert) <= now + (time_t)ct_certs_settle_s(plan);
    if (!agreed || (event < 0 && !ending) || (event > 0 && (event & CT_CERTS_CONFLICT) != 0)) {
        return event;
    }
    bool mine = event >= 0 && (event & (CT_CERTS_CREATED | CT_CERTS_RENEWED | CT_CERTS_REPLACED |
                                        CT_CERTS_SUCCEEDED)) != 0;
    if (event >= 0 && strcmp(fresh.cert, set->cert) != 0 && !mine) {
        event |= CT_CERTS_ADOPTED;
    }
    struct ct_certs_set old = *set;
    *set = fresh;
    fresh = old; // freed at the end
    return event;
}
