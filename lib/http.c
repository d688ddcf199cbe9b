// SPDX-License-Identifier: Apache-2.0
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "curl_common.h"
#include "file.h"

// Of a file of certificate authorities; distributions' bundles have a quarter of it.
#define CA_MAX ((size_t)1 << 20)

// Where distributions keep their bundle of certificate authorities; the first that exists is used.
// Named here because a static program must not depend on the machine that built it, and because
// SSL_CERT_FILE must not choose whom to trust.
static const char *const system_ca_files[] = {
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, distroless
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",             // SUSE
    "/etc/ssl/cert.pem",                  // Alpine, BSDs
};

struct ct_http_trust {
    char file[256]; // "": none was found
    void *pem;      // pages of its own: there is nothing secret in it
    size_t len;
};

struct ct_http {
    CURL *curl;
    struct curl_slist *resolved;
    size_t max_answer;
    bool verify;
    bool (*stop)(void *cls);
    void *stop_cls;
    const struct ct_http_trust *trust; // NULL when nothing is verified
    struct ct_http_trust *own;         // the same, unless it is borrowed
    char errbuf[CURL_ERROR_SIZE];
};

// What the write callback needs to know about the request under way.
struct sink {
    CURL *curl;
    struct ct_buf *body;
    bool too_big;
};

int ct_http_init(const struct ct_http_memory *memory, struct ct_err *err)
{
    // First come, first served: with this, no later caller makes OpenSSL read OPENSSL_CONF.
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1) {
        return ct_err_set(err, CT_ENOMEM, "OpenSSL cannot be initialised");
    }
    CURLcode rc = CURLE_OK;
    if (memory != NULL && memory->alloc != NULL) {
        rc = curl_global_init_mem(CURL_GLOBAL_DEFAULT, memory->alloc, memory->free, memory->realloc,
                                  memory->strdup, memory->calloc);
    } else {
        rc = curl_global_init(CURL_GLOBAL_DEFAULT);
    }
    if (rc != CURLE_OK) {
        return ct_err_set(err, CT_ENOMEM, "libcurl cannot be initialised: %s",
                          curl_easy_strerror(rc));
    }
    return 0;
}

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
    struct sink *sink = user;
    size_t len = size * n;
    if (len > sink->body->max - sink->body->len) {
        sink->too_big = true;
        return 0;
    }
    if (sink->body->len == 0) {
        // Room for all of it at once: a buffer that grows holds the body nearly twice.
        curl_off_t whole = -1;
        (void)curl_easy_getinfo(sink->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &whole);
        if (whole > 0 && (uint64_t)whole <= sink->body->max &&
            ct_buf_reserve(sink->body, (size_t)whole) == NULL) {
            return 0;
        }
    }
    ct_buf_add(sink->body, data, len);
    return sink->body->failed ? 0 : len;
}

static int ask_stop(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    const struct ct_http *http = user;
    return http->stop != NULL && http->stop(http->stop_cls) ? 1 : 0;
}

// ---- certificate authorities

// Opens rather than stats: permission counts too.
static int check_readable(const char *path, struct ct_err *err)
{
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        return 0;
    }
    bool missing = errno == ENOENT || errno == ENOTDIR;
    (void)ct_err_errno(err, "cannot open the CA file %s", path);
    if (missing && err != NULL) {
        err->code = CT_ENOTFOUND;
    }
    return missing ? -CT_ENOTFOUND : -CT_ESYSTEM;
}

static int choose_ca(struct ct_http_trust *trust, const char *ca_file, struct ct_err *err)
{
    if (ca_file != NULL && ca_file[0] != '\0') {
        if (strlen(ca_file) >= sizeof(trust->file)) {
            return ct_err_set(err, CT_ETOOBIG, "the CA file's path is longer than %zu characters",
                              sizeof(trust->file) - 1);
        }
        strcpy(trust->file, ca_file);
        return check_readable(ca_file, err);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(system_ca_files); i++) {
        if (check_readable(system_ca_files[i], NULL) == 0) {
            strcpy(trust->file, system_ca_files[i]);
            break;
        }
    }
    return 0;
}

static int read_ca(struct ct_http_trust *trust, struct ct_err *err)
{
    CT_AUTO_BUF file = {.max = CA_MAX};
    int rc = ct_file_read(trust->file, &file, err);
    if (rc < 0) {
        return ct_err_wrap(err, "the CA file cannot be used");
    }
    // A line break more, so that an empty file is one without certificates rather than no memory.
    void *pem =
        mmap(NULL, file.len + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pem != MAP_FAILED) {
        memcpy(pem, file.len > 0 ? file.data : "", file.len);
        ((char *)pem)[file.len] = '\n';
        (void)mprotect(pem, file.len + 1, PROT_READ);
        trust->pem = pem;
        trust->len = file.len + 1;
    } else {
        rc = ct_err_errno(err, "no memory for the CA file %s", trust->file);
    }
    return rc;
}

int ct_http_trust_new(const char *ca_file, struct ct_http_trust **ret, struct ct_err *err)
{
    CT_AUTO(ct_http_trust) *trust = calloc(1, sizeof(*trust));
    if (trust == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the HTTP client");
    }
    int rc = choose_ca(trust, ca_file, err);
    if (rc == 0 && trust->file[0] != '\0') {
        rc = read_ca(trust, err);
    }
    if (rc == 0) {
        *ret = ct_steal(&trust);
    }
    return rc;
}

void ct_http_trust_free(struct ct_http_trust *trust)
{
    if (trust == NULL) {
        return;
    }
    if (trust->pem != NULL) {
        (void)munmap(trust->pem, trust->len);
    }
    free(trust);
}

// ---- the client

static CURLcode set_tls(struct ct_http *http)
{
    CURL *c = http->curl;
    CURLcode rc = CURLE_OK;
    // The first is the one that a key share is made for: the cheapest. The others are for servers
    // that have no X25519 (FIPS) and for certificates on the larger curves.
    rc |= curl_easy_setopt(c, CURLOPT_SSL_EC_CURVES, "X25519:P-256:P-384:P-521");
    rc |= curl_easy_setopt(c, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    // Only the chosen file: a library's built-in directory would add the whole world to one CA.
    rc |= curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    rc |= curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
    if (http->trust != NULL && http->trust->pem != NULL) {
        struct curl_blob pem = {http->trust->pem, http->trust->len, CURL_BLOB_NOCOPY};
        rc |= curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &pem);
    }
    return rc;
}

static CURLcode set_options(struct ct_http *http, const struct ct_http_options *options)
{
    CURL *c = http->curl;
    CURLcode rc = ct_curl_set_common(c, !http->verify, http->errbuf);
    rc |= set_tls(http);
    rc |= curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    rc |= curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 16384L);
    // The least that is allowed: pages of secret memory are dear.
    rc |= curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
    rc |= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms);
    rc |= curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
    rc |= curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)options->max_answer);
    rc |= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    rc |= curl_easy_setopt(c, CURLOPT_RESOLVE, http->resolved);
    rc |= curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    rc |= curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, ask_stop);
    rc |= curl_easy_setopt(c, CURLOPT_XFERINFODATA, http);
    return rc;
}

int ct_http_new(const struct ct_http_options *options, struct ct_http **ret, struct ct_err *err)
{
    CT_AUTO(ct_http) *http = calloc(1, sizeof(*http));
    if (http == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the HTTP client");
    }
    http->max_answer = options->max_answer;
    http->verify = !options->skip_verify;
    http->stop = options->stop;
    http->stop_cls = options->stop_cls;
    if (options->resolved != NULL && options->resolved[0] != '\0' &&
        !ct_curl_append(&http->resolved, options->resolved)) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the HTTP client");
    }
    if (http->verify && options->trust == NULL) {
        int rc = ct_http_trust_new(options->ca_file, &http->own, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (http->verify) {
        http->trust = options->trust != NULL ? options->trust : http->own;
    }
    http->curl = curl_easy_init();
    if (http->curl == NULL || set_options(http, options) != CURLE_OK) {
        return ct_err_set(err, CT_ENOMEM, "libcurl refuses its settings or is out of memory");
    }
    *ret = ct_steal(&http);
    return 0;
}

void ct_http_free(struct ct_http *http)
{
    if (http == NULL) {
        return;
    }
    if (http->curl != NULL) {
        curl_easy_cleanup(http->curl);
    }
    curl_slist_free_all(http->resolved);
    ct_http_trust_free(http->own);
    explicit_bzero(http, sizeof(*http));
    free(http);
}

void ct_http_set_timeout(struct ct_http *http, unsigned timeout_ms)
{
    (void)curl_easy_setopt(http->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
}

void ct_http_answer_done(struct ct_http_answer *a)
{
    if (a != NULL) {
        ct_buf_wipe(&a->body);
    }
}

// NULL on success with *ret set; else nothing is left behind.
static bool make_headers(const char *const *headers, bool post, struct curl_slist **ret)
{
    struct curl_slist *list = NULL;
    // "Expect:" without a value: never wait for a 100-continue before the body is sent.
    bool ok = ct_curl_append(&list, "Accept: application/json") &&
              ct_curl_append(&list, "Expect:") &&
              (!post || ct_curl_append(&list, "Content-Type: application/json"));
    for (size_t i = 0; ok && headers != NULL && headers[i] != NULL; i++) {
        ok = ct_curl_append(&list, headers[i]);
    }
    if (!ok) {
        ct_curl_wipe(list);
        return false;
    }
    *ret = list;
    return true;
}

// libcurl's codes in the project's terms; what is not listed is CT_EPROTO. `detail` says that
// libcurl's own text about this failure is worth showing and stems from before anything was sent:
// later texts could quote the server, and a server could quote the token.
static const struct {
    CURLcode curl;
    enum ct_code code;
    bool detail;
} codes[] = {
    {CURLE_COULDNT_RESOLVE_HOST, CT_EUNAVAIL, true},
    {CURLE_COULDNT_CONNECT, CT_EUNAVAIL, true},
    {CURLE_OPERATION_TIMEDOUT, CT_EUNAVAIL, true},
    {CURLE_PARTIAL_FILE, CT_EUNAVAIL, false},
    {CURLE_GOT_NOTHING, CT_EUNAVAIL, false},
    {CURLE_SEND_ERROR, CT_EUNAVAIL, false},
    {CURLE_RECV_ERROR, CT_EUNAVAIL, false},
    {CURLE_ABORTED_BY_CALLBACK, CT_EUNAVAIL, false},
    {CURLE_SSL_CONNECT_ERROR, CT_EPROTO, true},
    {CURLE_PEER_FAILED_VERIFICATION, CT_EDENIED, true},
    {CURLE_SSL_CACERT_BADFILE, CT_EDENIED, true},
    {CURLE_SSL_ISSUER_ERROR, CT_EDENIED, true},
    {CURLE_SSL_CERTPROBLEM, CT_EDENIED, true},
    {CURLE_FILESIZE_EXCEEDED, CT_ETOOBIG, false},
    {CURLE_OUT_OF_MEMORY, CT_ENOMEM, false},
    {CURLE_UNSUPPORTED_PROTOCOL, CT_EINVAL, false},
    {CURLE_URL_MALFORMAT, CT_EINVAL, false},
};

// A peer that goes away in the middle of the handshake (a restart, a load balancer without a
// backend) is reported as a TLS failure; only the text tells it from a real one.
static bool cut_in_handshake(const struct ct_http *http)
{
    long os = 0;
    (void)curl_easy_getinfo(http->curl, CURLINFO_OS_ERRNO, &os);
    return os == ECONNRESET || os == EPIPE || strstr(http->errbuf, "SSL_ERROR_SYSCALL") != NULL ||
           strstr(http->errbuf, "unexpected eof") != NULL;
}

// What OpenSSL says of a first record that is none: of plain HTTP, as a rule.
static bool no_tls(const struct ct_http *http)
{
    return strstr(http->errbuf, "wrong version number") != NULL ||
           strstr(http->errbuf, "packet length too long") != NULL;
}

static int explain(const struct ct_http *http, CURLcode rc, const struct sink *sink,
                   const char *url, struct ct_err *err)
{
    const char *ca_file = http->trust != NULL ? http->trust->file : "";
    int url_len = (int)strcspn(url, "?#");
    if (sink->too_big || rc == CURLE_FILESIZE_EXCEEDED) {
        return ct_err_set(err, CT_ETOOBIG, "%.*s: the answer is larger than %zu bytes", url_len,
                          url, http->max_answer);
    }
    if (sink->body->failed || rc == CURLE_OUT_OF_MEMORY) {
        return ct_err_set(err, CT_ENOMEM, "%.*s: out of memory for the answer", url_len, url);
    }
    enum ct_code code = CT_EPROTO;
    const char *text = curl_easy_strerror(rc);
    for (size_t i = 0; i < CT_ARRAY_LEN(codes); i++) {
        if (codes[i].curl == rc) {
            code = codes[i].code;
            if (codes[i].detail && http->errbuf[0] != '\0') {
                text = http->errbuf;
            }
        }
    }
    if (rc == CURLE_SSL_CONNECT_ERROR && cut_in_handshake(http)) {
        code = CT_EUNAVAIL;
    }
    if (rc == CURLE_UNSUPPORTED_PROTOCOL && strncasecmp(url, "http", 4) == 0) {
        code = CT_EPROTO; // libcurl's word for what looks like HTTP/0.9
        text =
            strncasecmp(url, "http:", 5) == 0
                ? "the answer is not HTTP; does it speak TLS? Then the address begins with https://"
                : "the answer is not HTTP";
    }
    long status = 0; // set once a status line was read
    (void)curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    if (rc == CURLE_PARTIAL_FILE || (rc == CURLE_RECV_ERROR && status != 0)) {
        text = "the answer was cut short";
    }
    if (rc == CURLE_SSL_CACERT_BADFILE) {
        return ct_err_set(err, code, "%.*s: the CA file %s cannot be read as PEM certificates: %s",
                          url_len, url, ca_file, text);
    }
    if (rc == CURLE_SSL_CONNECT_ERROR && no_tls(http)) {
        return ct_err_set(err, code, "%.*s: %s; does it speak TLS?", url_len, url, text);
    }
    if (code == CT_EDENIED) {
        return ct_err_set(err, code,
                          "%.*s: the server's certificate is not accepted with CA file %s: %s",
                          url_len, url, ca_file, text);
    }
    return ct_err_set(err, code, "%.*s: %s", url_len, url, text);
}

// Scheme, host and port of a URL; the rest of a redirect's target may carry anything.
static void take_origin(const char *url, char *out, size_t size)
{
    CURLU *u = curl_url();
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;
    if (u != NULL && curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        bool has_port = curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK;
        (void)snprintf(out, size, "%s://%s%s%s", scheme, host, has_port ? ":" : "",
                       has_port ? port : "");
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
}

static void take_facts(CURL *curl, struct ct_http_answer *ret)
{
    const char *type = NULL;
    char *redirect = NULL;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
    if (curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL) {
        (void)snprintf(ret->content_type, sizeof(ret->content_type), "%s", type);
    }
    if (curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect) == CURLE_OK && redirect != NULL) {
        take_origin(redirect, ret->location, sizeof(ret->location));
    }
}

static CURLcode set_request(CURL *c, const char *url, struct curl_slist *list, const char *body,
                            size_t body_len, struct sink *sink)
{
    CURLcode rc = CURLE_OK;
    rc |= curl_easy_setopt(c, CURLOPT_URL, url);
    rc |= curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    rc |= curl_easy_setopt(c, CURLOPT_WRITEDATA, sink);
    if (body != NULL) {
        rc |= curl_easy_setopt(c, CURLOPT_POST, 1L);
        rc |= curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_len);
        rc |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, body); // borrowed, not copied
    } else {
        rc |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, NULL);
        rc |= curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
    }
    return rc;
}

int ct_http_request(struct ct_http *http, const char *url, const char *const *headers,
                    const char *body, size_t body_len, struct ct_http_answer *ret,
                    struct ct_err *err)
{
    *ret = (struct ct_http_answer){.body = {.max = http->max_answer, .secret = true}};
    if (http->trust != NULL && http->trust->pem == NULL && strncasecmp(url, "https:", 6) == 0) {
        return ct_err_set(
            err, CT_EDENIED,
            "%s: this image has no CA certificates (looked for %s and others): name a "
            "CA file",
            url, system_ca_files[0]);
    }
    struct curl_slist *list = NULL;
    if (!make_headers(headers, body != NULL, &list)) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for a request's headers");
    }
    struct sink sink = {.curl = http->curl, .body = &ret->body};
    http->errbuf[0] = '\0';
    CURLcode rc = set_request(http->curl, url, list, body, body_len, &sink);
    if (rc == CURLE_OK) {
        rc = curl_easy_perform(http->curl);
    }
    int result = 0;
    if (rc == CURLE_OK) {
        take_facts(http->curl, ret);
    } else {
        result = explain(http, rc, &sink, url, err);
        ct_http_answer_done(ret);
    }
    // Nothing of this request stays reachable from the handle.
    (void)curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, NULL);
    (void)curl_easy_setopt(http->curl, CURLOPT_WRITEDATA, NULL);
    ct_curl_wipe(list);
    return result;
}
