// SPDX-License-Identifier: Apache-2.0
#include "renew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define MAX_PAUSE_MS 10000
#define MIN_PAUSE_MS 1000
#define CONFLICT_MS 200
#define UNREGISTERED_MS 2000
#define LOG_EVERY_S 60

struct ct_renew {
    struct ct_kube *kube;
    struct ct_renew_options options;
    pthread_t thread;
    atomic_bool stop;
    atomic_bool ready;
    pthread_mutex_t lock; // guards `trouble` and `authorities`
    char trouble[576];
    char *authorities;
    // The thread's own.
    struct ct_certs_set set;
    char *used; // the certificate that is shown
    unsigned failures;
    unsigned conflicts;
    time_t logged; // when trouble was last told
    bool unregistered;
};

static bool stopping(void *cls)
{
    return atomic_load(&((struct ct_renew *)cls)->stop);
}

bool ct_renew_ready(struct ct_renew *renew, char *trouble, size_t size)
{
    bool ready = atomic_load(&renew->ready);
    (void)pthread_mutex_lock(&renew->lock);
    (void)snprintf(trouble, size, "%s",
                   renew->trouble[0] != '\0' ? renew->trouble
                                             : "the certificate is being agreed on");
    (void)pthread_mutex_unlock(&renew->lock);
    return ready;
}

char *ct_renew_authorities(struct ct_renew *renew)
{
    (void)pthread_mutex_lock(&renew->lock);
    char *copy = renew->authorities != NULL ? strdup(renew->authorities) : NULL;
    (void)pthread_mutex_unlock(&renew->lock);
    return copy;
}

static void set_trouble(struct ct_renew *renew, const char *before, const char *text)
{
    (void)pthread_mutex_lock(&renew->lock);
    (void)snprintf(renew->trouble, sizeof(renew->trouble), "%s%s", before, text);
    (void)pthread_mutex_unlock(&renew->lock);
}

// For those who ask while this thread is at work on its own. Without memory the old ones stay, which
// the served certificate will still verify by.
static void remember_authorities(struct ct_renew *renew)
{
    char *copy = strdup(renew->set.ca);
    if (copy != NULL) {
        (void)pthread_mutex_lock(&renew->lock);
        char *old = renew->authorities;
        renew->authorities = copy;
        (void)pthread_mutex_unlock(&renew->lock);
        free(old);
    }
}

// A clock that jumps must not silence it.
static void tell_trouble(struct ct_renew *renew, const struct ct_err *err)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    set_trouble(renew, "the certificate: ", err->msg);
    if (renew->failures > 1 && now.tv_sec - renew->logged < LOG_EVERY_S) {
        return;
    }
    renew->logged = now.tv_sec;
    ct_log(CT_LOG_ERROR, "the certificate: %s; the one in use stays", err->msg);
}

static void tell_secret(const struct ct_renew *renew, int event, const struct ct_err *why)
{
    const struct ct_certs_place *place = &renew->options.place;
    static const struct {
        int event;
        const char *text;
    } texts[] = {
        {CT_CERTS_CREATED, "created or filled, with a new authority or the one in use"},
        {CT_CERTS_RENEWED, "a renewed certificate is in it"},
        {CT_CERTS_SUCCEEDED, "its authority has a successor, which signs once it is known"},
        {CT_CERTS_ADOPTED, "another replica's certificate is taken from it"},
    };
    if ((event & CT_CERTS_REPLACED) != 0) {
        ct_log(CT_LOG_WARN, "Secret %s/%s was of no use and has been replaced: %s",
               place->namespace, place->secret, why->msg);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(texts); i++) {
        if ((event & texts[i].event) != 0) {
            ct_log(CT_LOG_INFO, "Secret %s/%s: %s", place->namespace, place->secret, texts[i].text);
        }
    }
}

static void tell_registration(struct ct_renew *renew, int event)
{
    const struct ct_certs_place *place = &renew->options.place;
    if ((event & CT_CERTS_PATCHED) != 0) {
        ct_log(CT_LOG_INFO, "the caBundle of webhook configuration %s has been brought up to date",
               place->configuration);
    }
    bool unregistered = (event & CT_CERTS_UNREGISTERED) != 0;
    if (unregistered && !renew->unregistered) {
        ct_log(CT_LOG_WARN, "there is no webhook configuration %s yet: nothing calls this webhook",
               place->configuration);
    }
    renew->unregistered = unregistered;
}

static int show(struct ct_renew *renew, struct ct_err *err)
{
    if (strcmp(renew->used, renew->set.cert) == 0) {
        return 0;
    }
    char *copy = strdup(renew->set.cert);
    if (copy == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for a certificate");
    }
    int rc = renew->options.use(renew->options.cls, renew->set.cert, renew->set.key, err);
    free(rc < 0 ? copy : renew->used);
    renew->used = rc < 0 ? renew->used : copy;
    return rc;
}

// Returns how long to wait before the next round.
static unsigned round_once(struct ct_renew *renew)
{
    struct ct_err err = {0};
    struct ct_err why = {0};
    unsigned life_ms =
        renew->options.plan.life_s < 3600 ? renew->options.plan.life_s * 1000 : 3600000;
    unsigned pause = life_ms / 20 < MAX_PAUSE_MS ? life_ms / 20 : MAX_PAUSE_MS;
    int event = ct_certs_round(renew->kube, &renew->options.place, &renew->options.plan, time(NULL),
                               &renew->set, &why, &err);
    remember_authorities(renew);
    int shown = show(renew, event < 0 ? NULL : &err);
    if (event >= 0) {
        // In the Secret it is, even where another replica was quicker to tell the API server of it.
        tell_secret(renew, event, &why);
    }
    if (event >= 0 && (event & CT_CERTS_CONFLICT) != 0) {
        // Somebody else is at work: what they did is seen at once, their next step not hit.
        renew->conflicts++;
        return CONFLICT_MS + ct_kube_backoff(renew->conflicts, 0) / 2;
    }
    renew->conflicts = 0;
    if (event < 0 || shown < 0) {
        renew->failures++;
        if (!stopping(renew)) {
            tell_trouble(renew, &err);
        }
        return ct_kube_backoff(renew->failures, 0);
    }
    tell_registration(renew, event);
    renew->failures = 0;
    set_trouble(
        renew,
        renew->unregistered ? "nothing calls this webhook: there is no webhook configuration " : "",
        renew->unregistered ? renew->options.place.configuration : "");
    atomic_store(&renew->ready, !renew->unregistered);
    // A registration that is still to come is told soon, or the first pods are refused.
    pause = renew->unregistered && pause > UNREGISTERED_MS ? UNREGISTERED_MS : pause;
    return pause > MIN_PAUSE_MS ? pause : MIN_PAUSE_MS;
}

static void *run(void *arg)
{
    struct ct_renew *renew = arg;
    while (!stopping(renew)) {
        (void)ct_kube_sleep(renew->kube, round_once(renew));
    }
    return NULL;
}

static void release(struct ct_renew *renew)
{
    ct_kube_free(renew->kube);
    ct_certs_set_done(&renew->set);
    free(renew->used);
    free(renew->authorities);
    (void)pthread_mutex_destroy(&renew->lock);
    free(renew);
}

void ct_renew_stop(struct ct_renew *renew)
{
    if (renew != NULL) {
        atomic_store(&renew->stop, true);
        (void)pthread_join(renew->thread, NULL);
        release(renew);
    }
}

int ct_renew_start(struct ct_kube_config *config, struct ct_certs_set *set,
                   const struct ct_renew_options *options, struct ct_renew **ret,
                   struct ct_err *err)
{
    struct ct_renew *renew = calloc(1, sizeof(*renew));
    if (renew == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for certificates");
    }
    const struct ct_kube_options kube = {
        .timeout_ms = 10000, .retry_budget_ms = 3000, .stop = stopping, .stop_cls = renew};
    (void)pthread_mutex_init(&renew->lock, NULL);
    renew->options = *options;
    renew->used = strdup(set->cert);
    int r = renew->used != NULL ? ct_kube_new(config, &kube, &renew->kube, err)
                                : ct_err_set(err, CT_ENOMEM, "out of memory for certificates");
    if (r == 0) {
        renew->set = *set;
        *set = (struct ct_certs_set){0};
        remember_authorities(renew);
        int failure = pthread_create(&renew->thread, NULL, run, renew);
        r = failure == 0
                ? 0
                : ct_err_set(err, CT_ESYSTEM, "cannot start a thread: %s", strerror(failure));
    }
    if (r < 0) {
        release(renew);
        return r;
    }
    *ret = renew;
    return 0;
}
