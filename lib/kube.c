// SPDX-License-Identifier: Apache-2.0
#include "kube.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "clock.h"
#include "curl_common.h"
#include "file.h"
#include "http.h"
#include "json.h"
#include "stamp.h"

#define STEP_MS 100
#define MAX_TOKEN (64 * 1024)
#define MAX_SENTENCE (64 * 1024)
#define MAX_RETRY_AFTER 60

struct ct_kube {
    struct ct_kube_config config;
    struct ct_kube_options options;
    CURLM *multi;
    CURL *easy; // NULL: to be made anew
    struct ct_stamp token_stamp;
    char *authorization; // the header's line; NULL: none
    char errbuf[CURL_ERROR_SIZE];
};

// One try under way.
struct transfer {
    struct ct_kube *kube;
    struct ct_kube_answer *answer;
    const struct ct_kube_stream *stream; // NULL: a plain request
    struct ct_buf line;                  // what has come of the next one
    uint64_t last_byte;
    bool opened;
    int verdict; // of a callback, or of a bound that was met
    struct ct_err *err;
};

int ct_kube_init(struct ct_err *err)
{
    return ct_http_init(NULL, err);
}

const char *ct_kube_server(const struct ct_kube *kube)
{
    return kube->config.server;
}

const char *ct_kube_namespace(const struct ct_kube *kube)
{
    return kube->config.namespace;
}

// ---- waiting ----

static bool stopped(const struct ct_kube *kube)
{
    return kube->options.stop != NULL && kube->options.stop(kube->options.stop_cls);
}

bool ct_kube_sleep(struct ct_kube *kube, unsigned ms)
{
    while (!stopped(kube)) {
        unsigned step = ms < STEP_MS ? ms : STEP_MS;
        const struct timespec pause = {.tv_nsec = (long)step * 1000000};
        if (step == 0) {
            return false;
        }
        (void)nanosleep(&pause, NULL);
        ms -= step;
    }
    return true;
}

unsigned ct_kube_backoff(unsigned attempt, unsigned long retry_after)
{
    unsigned chance = 0;
    unsigned whole = attempt < 8 ? 200U << (attempt > 0 ? attempt - 1 : 0) : 15000;
    if (getrandom(&chance, sizeof(chance), 0) != (ssize_t)sizeof(chance)) {
        chance = 0; // no jitter, no harm
    }
    whole = whole < 15000 ? whole : 15000;
    unsigned wait = whole / 2 + chance % (whole / 2 + 1);
    unsigned long asked = retry_after < MAX_RETRY_AFTER ? retry_after : MAX_RETRY_AFTER;
    // Jitter on top of what the server asks for, or all clients come back at once.
    return asked > 0 ? (unsigned)asked * 1000 + wait / 4 : wait;
}

// ---- the token ----

static void forget_authorization(struct ct_kube *kube)
{
    if (kube->authorization != NULL) {
        explicit_bzero(kube->authorization, strlen(kube->authorization));
        free(kube->authorization);
        kube->authorization = NULL;
    }
}

// Reads the token file when it has changed, or when told to. kubelet renews a pod's token long before
// it ends.
static int refresh_token(struct ct_kube *kube, bool force, struct ct_err *err)
{
    CT_AUTO_SECRET_BUF text = {.max = MAX_TOKEN, .secret = true};
    const char *token = kube->config.token;
    if (kube->config.token_file != NULL) {
        struct ct_stamp stamp = ct_stamp_of(kube->config.token_file);
        if (!force && kube->authorization != NULL && ct_stamp_equal(&stamp, &kube->token_stamp)) {
            return 0;
        }
        int rc = ct_file_read(kube->config.token_file, &text, err);
        if (rc < 0) {
            return ct_err_wrap(err, "the API server's token");
        }
        kube->token_stamp = stamp;
        token = text.data != NULL ? text.data : "";
    } else if (kube->authorization != NULL) {
        return 0;
    }
    if (token == NULL) {
        return 0;
    }
    size_t len = strcspn(token, "\r\n");
    forget_authorization(kube);
    if (asprintf(&kube->authorization, "Authorization: Bearer %.*s", (int)len, token) < 0) {
        kube->authorization = NULL;
        return ct_err_set(err, CT_ENOMEM, "out of memory for the API server's token");
    }
    return 0;
}

// ---- what comes back ----

static size_t take_lines(struct transfer *t, const char *data, size_t len)
{
    size_t rest = len;
    while (rest > 0 && t->verdict == 0) {
        const char *end = memchr(data, '\n', rest);
        size_t part = end != NULL ? (size_t)(end - data) : rest;
        ct_buf_add(&t->line, data, part);
        if (t->line.failed) {
            t->verdict = ct_err_set(t->err, CT_ETOOBIG, "%s%s: a line is larger than %zu bytes",
                                    t->kube->config.server, t->stream->path, t->line.max);
            break;
        }
        part += end != NULL;
        data += part;
        rest -= part;
        if (end != NULL && t->line.len > 0) {
            t->verdict = t->stream->line(t->stream->cls, t->line.data, t->line.len, t->err);
            ct_buf_reset(&t->line);
        }
    }
    return t->verdict == 0 ? len : 0;
}

// The head of the answer is there long before its first line, if there is any.
static void tell_opened(struct transfer *t)
{
    long status = 0;
    if (t->stream == NULL || t->stream->opened == NULL || t->opened) {
        return;
    }
    (void)curl_easy_getinfo(t->kube->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 2) {
        t->opened = true;
        t->last_byte = ct_clock_ms();
        t->stream->opened(t->stream->cls);
    }
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct transfer *t = user;
    size_t len = size * n;
    long status = 0;
    t->last_byte = ct_clock_ms();
    (void)curl_easy_getinfo(t->kube->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->stream != NULL && status / 100 == 2) {
        tell_opened(t);
        return take_lines(t, data, len);
    }
    struct ct_buf *body = &t->answer->body;
    ct_buf_add(body, data, len);
    if (body->failed && t->verdict == 0) {
        t->verdict = ct_err_set(t->err, CT_ETOOBIG, "%s: the answer is larger than %zu bytes",
                                t->kube->config.server, body->max);
    }
    return body->failed ? 0 : len;
}

// ---- one try ----

static CURLcode set_blob(CURL *c, CURLoption file_option, CURLoption blob_option, const char *file,
                         char *pem)
{
    if (pem != NULL) {
        struct curl_blob blob = {.data = pem, .len = strlen(pem), .flags = CURL_BLOB_NOCOPY};
        return curl_easy_setopt(c, blob_option, &blob);
    }
    return file != NULL ? curl_easy_setopt(c, file_option, file) : CURLE_OK;
}

static CURLcode set_tls(CURL *c, struct ct_kube_config *config)
{
    CURLcode rc = CURLE_OK;
    if (config->ca_file != NULL || config->ca_pem != NULL) {
        rc |= curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
        rc |= set_blob(c, CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB, config->ca_file, config->ca_pem);
    }
    rc |= set_blob(c, CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB, config->cert_file, config->cert_pem);
    rc |= set_blob(c, CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB, config->key_file, config->key_pem);
    return rc;
}

static int make_easy(struct ct_kube *kube, struct ct_err *err)
{
    CURL *c = curl_easy_init();
    unsigned connect = kube->options.connect_timeout_ms;
    if (c == NULL) {
        return ct_err_set(err, CT_ENOMEM, "libcurl is out of memory");
    }
    CURLcode rc = ct_curl_set_common(c, kube->config.skip_verify, kube->errbuf);
    rc |= set_tls(c, &kube->config);
    rc |= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, connect > 0 ? (long)connect : 5000L);
    // A peer that vanishes without a word, while nothing is on its way, shows after some 30 s.
    rc |= curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    rc |= curl_easy_setopt(c, CURLOPT_TCP_KEEPIDLE, 15L);
    rc |= curl_easy_setopt(c, CURLOPT_TCP_KEEPINTVL, 5L);
    rc |= curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 131072L);
    rc |= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    if (rc != CURLE_OK) {
        curl_easy_cleanup(c);
        return ct_err_set(err, CT_EINVAL, "libcurl refuses the API server's settings");
    }
    kube->easy = c;
    return 0;
}

static CURLcode set_request(struct transfer *t, const struct ct_kube_request *request,
                            const char *url, struct curl_slist *headers)
{
    CURL *c = t->kube->easy;
    unsigned whole = t->stream != NULL ? t->stream->timeout_ms : t->kube->options.timeout_ms;
    CURLcode rc = curl_easy_setopt(c, CURLOPT_URL, url);
    rc |= curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    rc |= curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    rc |= curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, whole > 0 ? (long)whole : 30000L);
    if (request->body != NULL) {
        rc |= curl_easy_setopt(c, CURLOPT_POST, 1L);
        rc |= curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        rc |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, request->body); // borrowed, not copied
    } else {
        rc |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, NULL);
        rc |= curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
    }
    return rc | curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, request->method);
}

// Between two looks at the sockets. Not 0 ends the transfer.
static int look_around(struct transfer *t, const struct ct_kube_request *request)
{
    if (t->verdict == 0 && stopped(t->kube)) {
        t->verdict = ct_err_set(t->err, CT_EUNAVAIL, "%s: given up, for the program ends",
                                t->kube->config.server);
    }
    tell_opened(t);
    if (t->verdict == 0 && t->stream != NULL && t->stream->idle != NULL) {
        t->verdict = t->stream->idle(t->stream->cls, t->err);
    }
    if (t->verdict == 0 && t->stream != NULL && t->stream->silence_ms > 0 &&
        ct_clock_ms() - t->last_byte > t->stream->silence_ms) {
        t->verdict = ct_err_set(t->err, CT_EUNAVAIL, "%s%.*s: nothing was heard for %u s",
                                t->kube->config.server, (int)strcspn(request->path, "?"),
                                request->path, t->stream->silence_ms / 1000);
    }
    return t->verdict;
}

static CURLcode drive(struct transfer *t, const struct ct_kube_request *request)
{
    struct ct_kube *kube = t->kube;
    int running = 1;
    int left = 0;
    CURLcode rc = CURLE_ABORTED_BY_CALLBACK;
    if (curl_multi_add_handle(kube->multi, kube->easy) != CURLM_OK) {
        return CURLE_OUT_OF_MEMORY;
    }
    while (curl_multi_perform(kube->multi, &running) == CURLM_OK && running > 0 &&
           look_around(t, request) == 0) {
        (void)curl_multi_poll(kube->multi, NULL, 0, STEP_MS, NULL);
    }
    for (CURLMsg *m = NULL; (m = curl_multi_info_read(kube->multi, &left)) != NULL;) {
        rc = m->msg == CURLMSG_DONE ? m->data.result : rc;
    }
    (void)curl_multi_remove_handle(kube->multi, kube->easy);
    return rc;
}

// libcurl's word on a transfer that did not come to its end.
static int explain(const struct ct_kube *kube, CURLcode rc, const struct ct_kube_request *request,
                   struct ct_err *err)
{
    static const CURLcode refusals[] = {CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
                                        CURLE_SSL_ISSUER_ERROR, CURLE_SSL_CERTPROBLEM};
    const char *text = kube->errbuf[0] != '\0' ? kube->errbuf : curl_easy_strerror(rc);
    enum ct_code code = CT_EUNAVAIL;
    for (size_t i = 0; i < CT_ARRAY_LEN(refusals); i++) {
        code = refusals[i] == rc ? CT_EDENIED : code;
    }
    if (rc == CURLE_UNSUPPORTED_PROTOCOL || rc == CURLE_URL_MALFORMAT ||
        rc == CURLE_WEIRD_SERVER_REPLY) {
        code = CT_EPROTO;
    }
    code = rc == CURLE_OUT_OF_MEMORY ? CT_ENOMEM : code;
    return ct_err_set(err, code, "%s %s%.*s: %.200s", request->method, kube->config.server,
                      (int)strcspn(request->path, "?"), request->path, text);
}

// Anything but 2xx, in the server's own words where it has some (meta/v1 Status).
static int explain_status(const struct ct_kube *kube, const struct ct_kube_request *request,
                          const struct ct_kube_answer *answer, struct ct_err *err)
{
    static const struct {
        long status;
        enum ct_code code;
    } codes[] = {{401, CT_EDENIED},  {403, CT_EDENIED},  {404, CT_ENOTFOUND}, {408, CT_EUNAVAIL},
                 {409, CT_EUNAVAIL}, {410, CT_EUNAVAIL}, {429, CT_EUNAVAIL}};
    CT_AUTO_JSON status = NULL;
    enum ct_code code = answer->status / 100 == 4   ? CT_EINVAL
                        : answer->status / 100 == 5 ? CT_EUNAVAIL
                                                    : CT_EPROTO;
    char text[301] = "";
    for (size_t i = 0; i < CT_ARRAY_LEN(codes); i++) {
        code = codes[i].status == answer->status ? codes[i].code : code;
    }
    if (answer->body.len > 0 &&
        ct_json_parse(answer->body.data, answer->body.len, "the answer", &status, NULL) == 0) {
        const char *message = ct_json_str(status, "message");
        (void)snprintf(text, sizeof(text), ": %s", message != NULL ? message : "");
    }
    for (char *c = text; *c != '\0'; c++) {
        *c = *c >= ' ' && *c <= '~' ? *c : '?';
    }
    return ct_err_set(err, code, "%s %s%.*s: HTTP %ld%s", request->method, kube->config.server,
                      (int)strcspn(request->path, "?"), request->path, answer->status, text);
}

static void take_facts(CURL *c, struct ct_kube_answer *answer)
{
    curl_off_t after = 0;
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &answer->status);
    (void)curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &after);
    answer->retry_after = after > 0 ? (unsigned long)after : 0;
}

static int run(struct transfer *t, const struct ct_kube_request *request, const char *url,
               struct curl_slist *headers)
{
    struct ct_kube *kube = t->kube;
    CURLcode rc = set_request(t, request, url, headers);
    kube->errbuf[0] = '\0';
    t->last_byte = ct_clock_ms();
    if (rc == CURLE_OK) {
        rc = drive(t, request);
    }
    take_facts(kube->easy, t->answer);
    if (rc == CURLE_OK && t->answer->status / 100 != 2) {
        return explain_status(kube, request, t->answer, t->err);
    }
    if (rc != CURLE_OK) {
        // Afresh: what was kept of a connection, its session or its CA may be the trouble.
        curl_easy_cleanup(ct_steal(&kube->easy));
    }
    if (rc == CURLE_OK || t->verdict > 0) {
        return 0;
    }
    return t->verdict < 0 ? t->verdict : explain(kube, rc, request, t->err);
}

// One try. The answer's body and status are reset first.
static int try_once(struct transfer *t, const struct ct_kube_request *request)
{
    struct ct_kube *kube = t->kube;
    CT_AUTO_STR url = NULL;
    CT_AUTO_STR type = NULL;
    struct curl_slist *headers = NULL;
    int rc = kube->easy != NULL ? 0 : make_easy(kube, t->err);
    if (rc < 0) {
        return rc;
    }
    ct_buf_reset(&t->answer->body);
    t->answer->status = 0;
    t->answer->retry_after = 0;
    t->verdict = 0;
    if (asprintf(&url, "%s%s", kube->config.server, request->path) < 0) {
        url = NULL;
    }
    if (asprintf(&type, "Content-Type: %s",
                 request->type != NULL ? request->type : "application/json") < 0) {
        type = NULL;
    }
    if (url == NULL || type == NULL || !ct_curl_append(&headers, "Accept: application/json") ||
        !ct_curl_append(&headers, "Expect:") ||
        (kube->authorization != NULL && !ct_curl_append(&headers, kube->authorization)) ||
        (request->body != NULL && !ct_curl_append(&headers, type))) {
        rc = ct_err_set(t->err, CT_ENOMEM, "out of memory for a request to the API server");
    } else {
        rc = run(t, request, url, headers);
    }
    if (kube->easy != NULL) { // nothing of this request stays reachable from the handle
        (void)curl_easy_setopt(kube->easy, CURLOPT_HTTPHEADER, NULL);
        (void)curl_easy_setopt(kube->easy, CURLOPT_POSTFIELDS, NULL);
    }
    ct_curl_wipe(headers);
    return rc;
}

// A try, and one more with the token read again when the server does not know it.
static int try_with_token(struct transfer *t, const struct ct_kube_request *request)
{
    int rc = refresh_token(t->kube, false, t->err);
    rc = rc < 0 ? rc : try_once(t, request);
    if (t->answer->status == 401 && t->kube->config.token_file != NULL) {
        rc = refresh_token(t->kube, true, t->err);
        rc = rc < 0 ? rc : try_once(t, request);
    }
    return rc;
}

int ct_kube_send(struct ct_kube *kube, const struct ct_kube_request *request,
                 struct ct_kube_answer *answer, struct ct_err *err)
{
    struct transfer t = {.kube = kube, .answer = answer, .err = err};
    uint64_t start = ct_clock_ms();
    answer->status = 0;
    answer->body.max = answer->body.max > 0 ? answer->body.max : MAX_SENTENCE;
    for (unsigned attempt = 1;; attempt++) {
        int rc = try_with_token(&t, request);
        // A conflict is for the caller to solve, as is a version that is gone.
        if (rc != -CT_EUNAVAIL || answer->status == 409 || answer->status == 410) {
            return rc;
        }
        unsigned wait = ct_kube_backoff(attempt, answer->retry_after);
        if (ct_clock_ms() - start + wait > kube->options.retry_budget_ms ||
            ct_kube_sleep(kube, wait)) {
            return rc;
        }
    }
}

int ct_kube_watch(struct ct_kube *kube, const struct ct_kube_stream *stream,
                  struct ct_kube_answer *answer, struct ct_err *err)
{
    const struct ct_kube_request request = {.method = "GET", .path = stream->path};
    struct transfer t = {.kube = kube,
                         .answer = answer,
                         .stream = stream,
                         .line = {.max = stream->max_line},
                         .err = err};
    answer->status = 0;
    answer->body.max = answer->body.max > 0 ? answer->body.max : MAX_SENTENCE;
    int rc = try_with_token(&t, &request);
    ct_buf_done(&t.line);
    return rc;
}

// ---- made and freed ----

int ct_kube_new(struct ct_kube_config *config, const struct ct_kube_options *options,
                struct ct_kube **ret, struct ct_err *err)
{
    CT_AUTO(ct_kube) *kube = calloc(1, sizeof(*kube));
    if (kube == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the API server's client");
    }
    kube->options = *options;
    kube->multi = curl_multi_init();
    if (kube->multi == NULL) {
        return ct_err_set(err, CT_ENOMEM, "libcurl is out of memory");
    }
    kube->config = *config;
    *config = (struct ct_kube_config){0};
    *ret = ct_steal(&kube);
    return 0;
}

void ct_kube_free(struct ct_kube *kube)
{
    if (kube == NULL) {
        return;
    }
    if (kube->easy != NULL) {
        curl_easy_cleanup(kube->easy);
    }
    (void)curl_multi_cleanup(kube->multi);
    forget_authorization(kube);
    ct_kube_config_done(&kube->config);
    free(kube);
}
