// SPDX-License-Identifier: Apache-2.0
#include "httpd_conn.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#define SLOTS_KEPT 32
#define SLOT_BYTES_KEPT (64 * 1024)
#define ARRIVAL_MS 50
#define GUARD_STACK (256 * 1024)

long long ct_httpd_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// The slots of one thread. pthread_getspecific() is as fast as a thread-local variable here, and has
// a destructor.
struct store {
    struct ct_httpd_slot *first;
    unsigned n;
};

static pthread_key_t store_key;
static pthread_once_t store_once = PTHREAD_ONCE_INIT;

static void slot_free(struct ct_httpd_slot *slot)
{
    ct_buf_done(&slot->in);
    ct_buf_done(&slot->out);
    free(slot);
}

static void store_free(void *arg)
{
    struct store *store = arg;
    while (store->first != NULL) {
        struct ct_httpd_slot *slot = store->first;
        store->first = slot->next;
        slot_free(slot);
    }
    free(store);
}

static void store_create_key(void)
{
    // Fails only when the process has run out of keys; then set/getspecific fail too, and every
    // slot is simply allocated and freed.
    (void)pthread_key_create(&store_key, store_free);
}

static struct store *store_get(void)
{
    (void)pthread_once(&store_once, store_create_key);
    struct store *store = pthread_getspecific(store_key);
    if (store == NULL) {
        store = calloc(1, sizeof(*store));
        if (store != NULL && pthread_setspecific(store_key, store) != 0) {
            free(store);
            store = NULL;
        }
    }
    return store;
}

struct ct_httpd_slot *ct_httpd_slot_take(void)
{
    struct store *store = store_get();
    if (store != NULL && store->first != NULL) {
        struct ct_httpd_slot *slot = store->first;
        store->first = slot->next;
        store->n--;
        slot->next = NULL;
        return slot;
    }
    return calloc(1, sizeof(struct ct_httpd_slot));
}

void ct_httpd_slot_give(struct ct_httpd_slot *slot)
{
    if (slot == NULL) {
        return;
    }
    struct store *store = store_get();
    if (store == NULL || store->n >= SLOTS_KEPT || slot->in.cap > SLOT_BYTES_KEPT ||
        slot->out.cap > SLOT_BYTES_KEPT) {
        slot_free(slot);
        return;
    }
    ct_buf_reset(&slot->in);
    ct_buf_reset(&slot->out);
    slot->next = store->first;
    store->first = slot;
    store->n++;
}

// The flags are set last and read first: who sees one sees the times that belong to it.
static bool is_late(const struct ct_httpd_conns *conns, const struct ct_httpd_conn *conn,
                    long long now, bool crowded)
{
    if (atomic_load_explicit(&conn->inside, memory_order_acquire)) {
        return false;
    }
    bool busy = atomic_load_explicit(&conn->busy, memory_order_acquire);
    long long since = atomic_load_explicit(&conn->since, memory_order_relaxed);
    return now > atomic_load_explicit(&conn->deadline, memory_order_relaxed) ||
           (crowded && !busy && now - since > conns->limits.head_ms);
}

// libmicrohttpd's own clock is set back by every byte; these run on, however slowly bytes drip. Kept
// connections that nobody uses are the first to go when room gets scarce.
static void cut_slow(struct ct_httpd_conns *conns)
{
    long long now = ct_httpd_now_ms();
    bool crowded = conns->n >= conns->limits.connections - conns->limits.connections / 4;
    for (struct ct_httpd_conn *conn = conns->first; conn != NULL; conn = conn->next) {
        if (is_late(conns, conn, now, crowded)) {
            (void)shutdown(conn->fd, SHUT_RDWR);
        }
    }
}

static void set_deadline(struct ct_httpd_conn *conn, unsigned ms)
{
    atomic_store_explicit(&conn->deadline, ct_httpd_now_ms() + ms, memory_order_relaxed);
}

void ct_httpd_conn_line(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn)
{
    atomic_store_explicit(&conn->since, ct_httpd_now_ms(), memory_order_relaxed);
    if (conn->served) {
        set_deadline(conn, conns->limits.request_ms);
    }
    atomic_store_explicit(&conn->busy, true, memory_order_release);
}

void ct_httpd_conn_head(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn)
{
    if (!conn->served) {
        conn->served = true;
        set_deadline(conn, conns->limits.request_ms);
    }
}

void ct_httpd_conn_enter(struct ct_httpd_conn *conn)
{
    atomic_store_explicit(&conn->inside, true, memory_order_relaxed);
}

void ct_httpd_conn_leave(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn)
{
    set_deadline(conn, conns->limits.request_ms);
    atomic_store_explicit(&conn->inside, false, memory_order_release);
}

void ct_httpd_conn_completed(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn)
{
    atomic_store_explicit(&conn->since, ct_httpd_now_ms(), memory_order_relaxed);
    set_deadline(conn, conns->limits.idle_ms);
    atomic_store_explicit(&conn->busy, false, memory_order_release);
}

static void *guard_main(void *arg)
{
    struct ct_httpd_conns *conns = arg;
    (void)pthread_mutex_lock(&conns->lock);
    while (!conns->ending) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        (void)pthread_cond_timedwait(&conns->wake, &conns->lock, &until);
        cut_slow(conns);
    }
    (void)pthread_mutex_unlock(&conns->lock);
    return NULL;
}

// Signals are the program's: none of ours may be the thread that takes one.
static int start_guard(struct ct_httpd_conns *conns)
{
    sigset_t all;
    sigset_t old;
    pthread_attr_t attr;
    (void)sigfillset(&all);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, GUARD_STACK);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&conns->guard, &attr, guard_main, conns);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return r;
}

int ct_httpd_conns_init(struct ct_httpd_conns *conns, const struct ct_httpd_limits *limits,
                        struct ct_err *err)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&conns->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&conns->lock, NULL);
    conns->limits = *limits;
    int r = start_guard(conns);
    if (r != 0) {
        return ct_err_set(err, CT_ESYSTEM, "cannot start the thread that watches connections");
    }
    conns->has_guard = true;
    return 0;
}

void ct_httpd_conns_done(struct ct_httpd_conns *conns)
{
    if (!conns->has_guard) {
        return;
    }
    (void)pthread_mutex_lock(&conns->lock);
    conns->ending = true;
    (void)pthread_cond_signal(&conns->wake);
    (void)pthread_mutex_unlock(&conns->lock);
    (void)pthread_join(conns->guard, NULL);
    (void)pthread_cond_destroy(&conns->wake);
    (void)pthread_mutex_destroy(&conns->lock);
    conns->has_guard = false;
}

void ct_httpd_conns_expect(struct ct_httpd_conns *conns, int fd)
{
    (void)pthread_mutex_lock(&conns->lock);
    if (conns->n_handed < CT_ARRAY_LEN(conns->handed)) {
        conns->handed[conns->n_handed++] = fd;
    }
    (void)pthread_mutex_unlock(&conns->lock);
}

// Under the lock. The list is empty but for the moment of a stop.
static void arrived(struct ct_httpd_conns *conns, int fd)
{
    for (unsigned i = 0; i < conns->n_handed; i++) {
        if (conns->handed[i] == fd) {
            conns->handed[i] = conns->handed[--conns->n_handed];
            return;
        }
    }
}

void ct_httpd_conns_add(struct ct_httpd_conns *conns, struct ct_httpd_conn *conn)
{
    atomic_init(&conn->since, ct_httpd_now_ms());
    set_deadline(conn, conns->limits.head_ms);
    (void)pthread_mutex_lock(&conns->lock);
    arrived(conns, conn->fd);
    conn->next = conns->first;
    if (conn->next != NULL) {
        conn->next->prev = conn;
    }
    conns->first = conn;
    conns->n++;
    (void)pthread_mutex_unlock(&conns->lock);
}

void ct_httpd_conns_remove(struct ct_httpd_conns *conns, struct ct_httpd_conn *conn)
{
    (void)pthread_mutex_lock(&conns->lock);
    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        conns->first = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    conns->n--;
    (void)pthread_mutex_unlock(&conns->lock);
}

static bool all_idle(struct ct_httpd_conns *conns, long long since, unsigned idle_ms)
{
    long long now = ct_httpd_now_ms();
    (void)pthread_mutex_lock(&conns->lock);
    // Somebody may be on the way here: out of accept(2) for a moment, or handed over. One that never
    // arrives, since there was no memory for it, is not waited for longer than for an idle one.
    bool idle = now - since >= (conns->n_handed > 0 ? idle_ms : ARRIVAL_MS);
    for (struct ct_httpd_conn *conn = conns->first; conn != NULL && idle; conn = conn->next) {
        long long last = atomic_load_explicit(&conn->since, memory_order_relaxed);
        idle = !atomic_load_explicit(&conn->busy, memory_order_relaxed) &&
               now - (last > since ? last : since) >= idle_ms;
    }
    (void)pthread_mutex_unlock(&conns->lock);
    return idle;
}

void ct_httpd_conns_drain(struct ct_httpd_conns *conns, unsigned idle_ms, unsigned max_ms,
                          bool (*hurry)(void *cls), void *cls)
{
    const struct timespec tick = {.tv_nsec = 5 * 1000 * 1000};
    long long start = ct_httpd_now_ms();
    while (!all_idle(conns, start, idle_ms) && ct_httpd_now_ms() - start < max_ms &&
           (hurry == NULL || !hurry(cls))) {
        (void)nanosleep(&tick, NULL);
    }
}
