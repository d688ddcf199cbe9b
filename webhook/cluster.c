// SPDX-License-Identifier: Apache-2.0
#include "cluster.h"

#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

#include "clock.h"
#include "kube.h"
#include "log.h"
#include "scratch.h"

#define PAGE 500
#define MAX_PAGES 250                     // of 500: more nodes than are taken
#define MAX_PAGE_BYTES ((size_t)64 << 20) // nodes with long lists of images are some 20 KB each
#define MAX_EVENT_BYTES ((size_t)4 << 20) // etcd takes objects of 1.5 MiB
#define MAX_PENDING 2000
#define MAX_VERSION 64
#define WATCH_S                                                                                    \
    60 // how long the API server is asked to keep a watch open; it says something before
#define SILENCE_MS 75000
#define LOG_EVERY_MS 60000

struct ct_cluster {
    struct ct_kube *kube;
    const struct ct_kind *kind;
    struct ct_watch *watch;
    unsigned max_age_ms;
    pthread_t thread;
    atomic_bool stop;
    // For other threads.
    _Atomic uint64_t counts[CT_CLUSTER_EVENT_COUNT];
    atomic_bool known;
    atomic_bool in_contact;
    _Atomic uint64_t heard_ms;
    pthread_mutex_t lock; // guards `trouble`
    char trouble[512];
    // The thread's own.
    char version[MAX_VERSION]; // where to resume; "": list first
    struct ct_nodes *pending[MAX_PENDING];
    size_t n_pending;
    uint64_t pending_since;
    uint64_t publish_ms; // what the last one took
    uint64_t logged_ms;  // when trouble was last told; 0: there is none
    unsigned failures;   // in a row
    unsigned long retry_after;
};

const char *ct_cluster_event_name(enum ct_cluster_event event)
{
    static const char *const names[CT_CLUSTER_EVENT_COUNT] = {
        [CT_CLUSTER_LISTED] = "listed",   [CT_CLUSTER_RESUMED] = "resumed",
        [CT_CLUSTER_CHANGED] = "changed", [CT_CLUSTER_UNCHANGED] = "unchanged",
        [CT_CLUSTER_EXPIRED] = "expired", [CT_CLUSTER_FAILED] = "failed",
    };
    return names[event];
}

static void count(struct ct_cluster *c, enum ct_cluster_event event)
{
    atomic_fetch_add_explicit(&c->counts[event], 1, memory_order_relaxed);
}

// ---- contact ----

static void heard(struct ct_cluster *c)
{
    atomic_store(&c->heard_ms, ct_clock_ms());
    atomic_store(&c->in_contact, true);
    if (c->logged_ms != 0) {
        ct_log(CT_LOG_INFO, "the API server %s answers again", ct_kube_server(c->kube));
        c->logged_ms = 0;
    }
    c->failures = 0;
}

static void set_trouble(struct ct_cluster *c, const char *sentence)
{
    (void)pthread_mutex_lock(&c->lock);
    (void)snprintf(c->trouble, sizeof(c->trouble), "%s", sentence);
    (void)pthread_mutex_unlock(&c->lock);
}

// At once, and then once a minute.
static void tell_trouble(struct ct_cluster *c, const struct ct_err *err)
{
    uint64_t now = ct_clock_ms();
    int64_t age = ct_cluster_age(c);
    set_trouble(c, err->msg);
    if (c->logged_ms != 0 && now - c->logged_ms < LOG_EVERY_MS) {
        return;
    }
    c->logged_ms = now;
    if (age < 0) {
        ct_log(CT_LOG_ERROR, "%s; not ready, for no %s are known yet", err->msg, c->kind->plural);
    } else if (ct_cluster_usable(c)) {
        ct_log(CT_LOG_WARN,
               "%s; the %s as they were %" PRId64 " s ago stay in use until they are %u s old",
               err->msg, c->kind->plural, age / 1000, c->max_age_ms / 1000);
    } else {
        ct_log(CT_LOG_ERROR,
               "%s; not ready, for what is known of the %s is %" PRId64
               " s old (--nodes-max-age is %u s)",
               err->msg, c->kind->plural, age / 1000, c->max_age_ms / 1000);
    }
}

int64_t ct_cluster_age(const struct ct_cluster *c)
{
    if (!atomic_load(&c->known)) {
        return -1;
    }
    uint64_t then = atomic_load(&c->heard_ms);
    uint64_t now = ct_clock_ms();
    return atomic_load(&c->in_contact) || now < then ? 0 : (int64_t)(now - then);
}

bool ct_cluster_usable(const struct ct_cluster *c)
{
    int64_t age = ct_cluster_age(c);
    return age >= 0 && age <= (int64_t)c->max_age_ms;
}

const char *ct_cluster_resource(const struct ct_cluster *c)
{
    return c->kind->plural;
}

uint64_t ct_cluster_count(struct ct_cluster *c, enum ct_cluster_event event)
{
    return atomic_load_explicit(&c->counts[event], memory_order_relaxed);
}

void ct_cluster_trouble(struct ct_cluster *c, char *out, size_t size)
{
    int64_t age = ct_cluster_age(c);
    out[0] = '\0';
    if (ct_cluster_usable(c)) {
        return;
    }
    (void)pthread_mutex_lock(&c->lock);
    if (age < 0) {
        (void)snprintf(out, size, "no %s are known yet: %s", c->kind->plural,
                       c->trouble[0] != '\0' ? c->trouble : "they are being listed");
    } else {
        (void)snprintf(out, size,
                       "what is known of the %s is %" PRId64 " s old, %u s are allowed: %s",
                       c->kind->plural, age / 1000, c->max_age_ms / 1000, c->trouble);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

// ---- what came is put to use ----

static void drop(struct ct_nodes **parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ct_nodes_free(parts[i]);
        parts[i] = NULL;
    }
}

static int publish(struct ct_cluster *c, const struct ct_nodes *const *parts, size_t n,
                   struct ct_err *err)
{
    struct ct_nodes *fresh = NULL;
    int r = ct_nodes_merge(parts, n, &fresh, err);
    if (r == 0) {
        ct_watch_publish(c->watch, fresh);
        atomic_store(&c->known, true);
    }
    return r;
}

static int flush(struct ct_cluster *c, struct ct_err *err)
{
    const struct ct_nodes *parts[MAX_PENDING + 1];
    uint64_t start = ct_clock_ms();
    parts[0] = atomic_load(&c->watch->nodes); // this thread alone replaces them
    for (size_t i = 0; i < c->n_pending; i++) {
        parts[i + 1] = c->pending[i];
    }
    int r = publish(c, parts, c->n_pending + 1, err);
    drop(c->pending, c->n_pending);
    c->n_pending = 0;
    c->publish_ms = ct_clock_ms() - start;
    return r;
}

// Bursts are taken together; and in a large cluster that changes all the time this thread spends a
// tenth of its time on it at most.
static int on_idle(void *cls, struct ct_err *err)
{
    struct ct_cluster *c = cls;
    uint64_t wait = c->publish_ms * 10;
    wait = wait > c->kind->gather_ms ? wait : c->kind->gather_ms;
    if (c->n_pending == 0 || ct_clock_ms() - c->pending_since < wait) {
        return 0;
    }
    return flush(c, err);
}

// ---- the list ----

// What a reading of the list has gathered so far.
struct listing {
    struct ct_nodes *pages[MAX_PAGES];
    size_t n;
    char version[MAX_VERSION];
    char *next; // the continue token; NULL: there is no more
};

static void listing_done(struct listing *l)
{
    drop(l->pages, l->n);
    free(l->next);
}

static int copy_version(const struct ct_cluster *c, const json_t *object, char *out,
                        struct ct_err *err)
{
    const char *version = ct_json_str(json_object_get(object, "metadata"), "resourceVersion");
    if (version == NULL || *version == '\0' || strlen(version) >= MAX_VERSION ||
        strspn(version, "0123456789") != strlen(version)) {
        return ct_err_set(err, CT_EPROTO, "the API server's %s carry no resourceVersion",
                          c->kind->plural);
    }
    (void)snprintf(out, MAX_VERSION, "%s", version);
    return 0;
}

static int parse(const char *data, size_t len, const char *what, json_t **ret, struct ct_err *err)
{
    ct_scratch_forget_failure();
    int r = ct_json_parse(data, len, what, ret, err);
    if (ct_scratch_failure() != 0) {
        return ct_err_set(err, CT_ENOMEM, "out of memory while reading %s", what);
    }
    return r == -CT_EINVAL ? ct_err_set(err, CT_EPROTO, "the API server: %s", err->msg) : r;
}

static int take_page(const struct ct_cluster *c, struct listing *l, const struct ct_buf *body,
                     struct ct_err *err)
{
    CT_AUTO_JSON list = NULL;
    int r = parse(body->len > 0 ? body->data : "", body->len, "a page of a list", &list, err);
    const json_t *items = json_object_get(list, "items");
    const char *kind = ct_json_str(list, "kind");
    if (r == 0 && (kind == NULL || strcmp(kind, c->kind->list) != 0 ||
                   !(json_is_array(items) || items == NULL || json_is_null(items)))) {
        r = ct_err_set(err, CT_EPROTO, "the API server answered no %s", c->kind->list);
    }
    r = r == 0 ? copy_version(c, list, l->version, err) : r;
    if (r == 0 && json_is_array(items)) {
        r = ct_nodes_of_items(c->kind, items, &l->pages[l->n], err);
        l->n += r == 0;
    }
    const char *next = ct_json_str(json_object_get(list, "metadata"), "continue");
    free(ct_steal(&l->next));
    if (r == 0 && next != NULL && *next != '\0') {
        l->next = strdup(next);
        r = l->next != NULL ? r : ct_err_set(err, CT_ENOMEM, "out of memory for a page");
    }
    return r;
}

// The path of the next page; a continue token is opaque.
static int page_path(const struct ct_cluster *c, const struct listing *l, struct ct_buf *path,
                     struct ct_err *err)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    ct_buf_reset(path);
    ct_buf_addf(path, "%s?limit=%d%s", c->kind->path, PAGE, l->next != NULL ? "&continue=" : "");
    for (const char *p = l->next; p != NULL && *p != '\0'; p++) {
        if (strchr(plain, *p) != NULL) {
            ct_buf_add(path, p, 1);
        } else {
            ct_buf_addf(path, "%%%02X", (unsigned char)*p);
        }
    }
    return path->failed ? ct_err_set(err, CT_EPROTO, "the API server's continue token is too long")
                        : 0;
}

static int read_pages(struct ct_cluster *c, struct listing *l, struct ct_kube_answer *answer,
                      struct ct_err *err)
{
    CT_AUTO_BUF path = {.max = 16384};
    do {
        if (l->n == MAX_PAGES) {
            return ct_err_set(err, CT_ETOOBIG, "the API server's list of %s has no end",
                              c->kind->plural);
        }
        int r = page_path(c, l, &path, err);
        const struct ct_kube_request request = {.method = "GET", .path = path.data};
        r = r == 0 ? ct_kube_send(c->kube, &request, answer, err) : r;
        r = r == 0 ? take_page(c, l, &answer->body, err) : r;
        if (r < 0) {
            return r;
        }
    } while (l->next != NULL);
    return 0;
}

static int list_all(struct ct_cluster *c, long *status, struct ct_err *err)
{
    struct ct_kube_answer answer = {.body = {.max = MAX_PAGE_BYTES}};
    __attribute__((cleanup(listing_done))) struct listing l = {.n = 0};
    uint64_t start = ct_clock_ms();
    int r = read_pages(c, &l, &answer, err);
    *status = answer.status;
    c->retry_after = answer.retry_after;
    ct_buf_done(&answer.body);
    if (r == 0) {
        r = publish(c, (const struct ct_nodes *const *)l.pages, l.n, err);
    }
    if (r == 0) {
        (void)snprintf(c->version, sizeof(c->version), "%s", l.version);
        count(c, CT_CLUSTER_LISTED);
        heard(c);
        ct_log(CT_LOG_INFO, "%zu %s listed from %s in %" PRIu64 " ms",
               ct_nodes_count(atomic_load(&c->watch->nodes)), c->kind->plural,
               ct_kube_server(c->kube), ct_clock_ms() - start);
    }
    // The documents are many times larger than what is kept of them.
    (void)malloc_trim(0);
    return r;
}

// ---- the watch ----

static int take_item(struct ct_cluster *c, json_t *object, bool gone, struct ct_err *err)
{
    CT_AUTO(ct_nodes) *part = NULL;
    CT_AUTO_JSON items = json_array();
    if (!json_is_object(object)) {
        return ct_err_set(err, CT_EPROTO, "the API server's watch sends an event without a %s",
                          c->kind->singular);
    }
    if (items == NULL || json_array_append(items, object) != 0) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for a %s", c->kind->singular);
    }
    int r = ct_nodes_of_items(c->kind, items, &part, err);
    if (r < 0) {
        return r;
    }
    const struct ct_node *fresh = ct_nodes_at(part, 0);
    const struct ct_node *old = ct_nodes_find(atomic_load(&c->watch->nodes), fresh->name);
    // kubelets report every few minutes, mostly nothing that matters here.
    bool same =
        c->n_pending == 0 && (gone ? old == NULL : old != NULL && ct_node_equal(old, fresh));
    count(c, same ? CT_CLUSTER_UNCHANGED : CT_CLUSTER_CHANGED);
    if (same) {
        return 0;
    }
    if (gone) {
        ct_nodes_mark_gone(part);
    }
    c->pending_since = c->n_pending == 0 ? ct_clock_ms() : c->pending_since;
    c->pending[c->n_pending++] = ct_steal(&part);
    return c->n_pending == MAX_PENDING ? flush(c, err) : 0;
}

static int take_error(struct ct_cluster *c, const json_t *object, struct ct_err *err)
{
    long code = (long)json_integer_value(json_object_get(object, "code"));
    const char *message = ct_json_str(object, "message");
    c->version[0] = '\0'; // whatever it is: what is known may have a gap now
    if (code == 410) {
        count(c, CT_CLUSTER_EXPIRED);
        return 1;
    }
    return ct_err_set(err, CT_EUNAVAIL, "the API server ends the watch of %s: %ld %.200s",
                      c->kind->plural, code, message != NULL ? message : "");
}

static int on_line(void *cls, const char *line, size_t len, struct ct_err *err)
{
    struct ct_cluster *c = cls;
    CT_AUTO_JSON event = NULL;
    int r = parse(line, len, "a watch's event", &event, err);
    const char *type = ct_json_str(event, "type");
    json_t *object = json_object_get(event, "object");
    type = type != NULL ? type : "";
    if (r == 0 && strcmp(type, "ERROR") == 0) {
        return take_error(c, object, err);
    }
    bool gone = strcmp(type, "DELETED") == 0;
    if (r == 0 && (gone || strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)) {
        r = take_item(c, object, gone, err);
    } else if (r == 0 && strcmp(type, "BOOKMARK") != 0) {
        r = ct_err_set(err, CT_EPROTO, "the API server's watch speaks of an unknown event");
    }
    r = r == 0 ? copy_version(c, object, c->version, err) : r;
    if (r < 0) {
        c->version[0] = '\0';
        return r;
    }
    heard(c);
    return on_idle(c, err);
}

static void on_opened(void *cls)
{
    struct ct_cluster *c = cls;
    count(c, CT_CLUSTER_RESUMED);
    heard(c);
}

static int watch_all(struct ct_cluster *c, long *status, struct ct_err *err)
{
    char path[256];
    struct ct_kube_answer answer = {0};
    const struct ct_kube_stream stream = {
        .path = path,
        .max_line = MAX_EVENT_BYTES,
        .timeout_ms = WATCH_S * 1000 + 30000,
        .silence_ms = SILENCE_MS,
        .opened = on_opened,
        .line = on_line,
        .idle = on_idle,
        .cls = c,
    };
    (void)snprintf(path, sizeof(path),
                   "%s?watch=1&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s",
                   c->kind->path, WATCH_S, c->version);
    int r = ct_kube_watch(c->kube, &stream, &answer, err);
    *status = answer.status;
    c->retry_after = answer.retry_after;
    ct_buf_done(&answer.body);
    if (c->n_pending > 0) {
        struct ct_err second = {0};
        int flushed = flush(c, &second);
        if (r >= 0 && flushed < 0) {
            *err = second;
            r = flushed;
        }
    }
    return r;
}

// ---- the thread ----

static bool stopping(void *cls)
{
    return atomic_load(&((struct ct_cluster *)cls)->stop);
}

static void fail(struct ct_cluster *c, long status, const struct ct_err *err)
{
    if (stopping(c)) {
        return;
    }
    count(c, status == 410 ? CT_CLUSTER_EXPIRED : CT_CLUSTER_FAILED);
    c->failures++;
    // 410: gone; else what is asked for is at fault, a version of before the API server's data was put
    // back among others, which is 504 each time.
    if ((status / 100 == 4 && status != 429) || (status / 100 == 5 && c->failures >= 3)) {
        c->version[0] = '\0';
    }
    if (status == 410 && c->failures == 1) {
        return; // an everyday matter: list again at once
    }
    atomic_store(&c->in_contact, false);
    tell_trouble(c, err);
}

static void *run(void *arg)
{
    struct ct_cluster *c = arg;
    while (!stopping(c)) {
        struct ct_err err = {0};
        long status = 0;
        bool listing = c->version[0] == '\0';
        uint64_t start = ct_clock_ms();
        int r = listing ? list_all(c, &status, &err) : watch_all(c, &status, &err);
        unsigned wait = 0;
        if (r < 0) {
            fail(c, status, &err);
            wait = status == 410 && c->failures == 1 ? 0
                                                     : ct_kube_backoff(c->failures, c->retry_after);
        } else if (!listing && ct_clock_ms() - start < 1000) {
            wait =
                1000; // a server that ends every watch at once is not to be asked without a pause
        }
        (void)ct_kube_sleep(c->kube, wait);
    }
    return NULL;
}

// ---- start and stop ----

void ct_cluster_stop(struct ct_cluster *c)
{
    if (c == NULL) {
        return;
    }
    atomic_store(&c->stop, true);
    (void)pthread_join(c->thread, NULL);
    drop(c->pending, c->n_pending);
    ct_kube_free(c->kube);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

int ct_cluster_start(struct ct_kube_config *config, unsigned max_age_ms, struct ct_watch *watch,
                     struct ct_cluster **ret, struct ct_err *err)
{
    struct ct_cluster *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for watching %s", watch->kind->plural);
    }
    // A page has a few tries of its own, so that one that fails does not cost those before it.
    const struct ct_kube_options options = {
        .retry_budget_ms = 5000, .stop = stopping, .stop_cls = c};
    c->kind = watch->kind;
    c->watch = watch;
    c->max_age_ms = max_age_ms;
    (void)pthread_mutex_init(&c->lock, NULL);
    int r = ct_kube_new(config, &options, &c->kube, err);
    int failure = r == 0 ? pthread_create(&c->thread, NULL, run, c) : 0;
    if (failure != 0) {
        r = ct_err_set(err, CT_ESYSTEM, "cannot start a thread: %s", strerror(failure));
    }
    if (r < 0) {
        ct_kube_free(c->kube);
        (void)pthread_mutex_destroy(&c->lock);
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}
