// SPDX-License-Identifier: Apache-2.0
#include "renewal.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "vault_internal.h"

#define FIRST_DELAY_S 1U
#define LAST_DELAY_S 300U
// Between two turns, however short the lease: or it would keep Vault busy.
#define LEAST_MS 500U
// A second fresh token that Vault refuses to renew and to look up was not revoked: it may do neither.
#define REFUSALS_THAT_TELL 2U

// At two thirds of what is left, less up to a tenth of it, so that pods which started together
// do not come together for ever.
static void schedule(struct ct_renewal *r)
{
    const struct ct_vault_lease *lease = ct_vault_lease(r->vault);
    uint64_t now = ct_clock_ms();
    uint64_t life = (uint64_t)lease->seconds * 1000U;
    uint64_t wait = life * 2 / 3 - ct_vault_chance_below(life / 10 + 1);
    r->failures = 0;
    r->idle = lease->seconds == 0 && r->whole == 0;
    r->end_ms = r->idle ? UINT64_MAX : now + life;
    r->due_ms = now + (wait > LEAST_MS ? wait : LEAST_MS);
    // What Vault granted shrinks when the longest life that the token may have comes near.
    bool shrunk = lease->seconds * 2 < r->whole;
    r->action =
        lease->renewable && !shrunk && !r->not_renewable ? CT_RENEWAL_RENEW : CT_RENEWAL_LOG_IN;
}

static void begin_life(struct ct_renewal *r)
{
    const struct ct_vault_lease *lease = ct_vault_lease(r->vault);
    if (lease->known) {
        r->whole = lease->seconds;
        schedule(r);
    } else {
        r->idle = false;
        r->action = CT_RENEWAL_LOOK_UP;
        r->end_ms = UINT64_MAX;
        r->due_ms = ct_clock_ms();
    }
}

void ct_renewal_begin(struct ct_renewal *r, struct ct_vault *vault, bool by_login,
                      const struct ct_renewal_hooks *hooks)
{
    *r = (struct ct_renewal){.vault = vault, .hooks = hooks, .by_login = by_login};
    begin_life(r);
}

int ct_renewal_due_ms(const struct ct_renewal *r)
{
    uint64_t now = ct_clock_ms();
    if (r->idle) {
        return -1;
    }
    uint64_t left = r->due_ms > now ? r->due_ms - now : 0;
    return left < INT_MAX ? (int)left : INT_MAX;
}

int64_t ct_renewal_left_ms(const struct ct_renewal *r)
{
    uint64_t now = ct_clock_ms();
    if (r->end_ms == UINT64_MAX) {
        return -1;
    }
    return r->end_ms > now ? (int64_t)(r->end_ms - now) : 0;
}

static void tell(const struct ct_renewal *r, enum ct_log_level level, const char *what,
                 const char *why)
{
    char sentence[640];
    (void)snprintf(sentence, sizeof(sentence), "%s%s%s", what, why[0] != '\0' ? ": " : "", why);
    r->hooks->tell(r->hooks->cls, level, sentence);
}

static void succeed(struct ct_renewal *r)
{
    if (r->told_trouble || r->told_end) {
        tell(r, CT_LOG_INFO, "the Vault token is good again", "");
    }
    r->told_trouble = false;
    r->told_end = false;
}

// Exponential, half of it chance; never past the token's end while it lives.
static void come_back(struct ct_renewal *r, const struct ct_err *why)
{
    uint64_t now = ct_clock_ms();
    bool ended = now >= r->end_ms;
    unsigned step = r->failures < 9 ? FIRST_DELAY_S << r->failures : LAST_DELAY_S;
    uint64_t wait = (step < LAST_DELAY_S ? step : LAST_DELAY_S) * UINT64_C(1000);
    wait = wait / 2 + ct_vault_chance_below(wait / 2 + 1);
    r->failures++;
    r->counts.failed++;
    r->due_ms = now + wait;
    if (!ended && r->due_ms > r->end_ms) {
        r->due_ms = r->end_ms;
    }
    if (ended && !r->told_end) {
        r->told_end = true;
        tell(
            r, CT_LOG_ERROR,
            "the Vault token has ended and there is no other yet; the app runs on, and it is tried "
            "again every few minutes",
            why->msg);
    } else if (!ended && !r->told_trouble) {
        r->told_trouble = true;
        tell(r, CT_LOG_WARN, "the Vault token cannot be kept alive; trying again until it ends",
             why->msg);
    }
}

// Did Vault itself answer, and refuse? What fails on the way, or is answered by what stands before Vault (a
// 404 of an ingress without a backend), says nothing about the token.
static bool refused(const struct ct_renewal *r, int rc)
{
    long status = r->vault->status;
    return rc == -CT_EDENIED && (status == 400 || status == 403);
}

static void log_in(struct ct_renewal *r);

static void renewed(struct ct_renewal *r)
{
    r->counts.renewed++;
    r->refusals = 0;
    if (r->whole == 0) {
        r->whole = ct_vault_lease(r->vault)->seconds;
    }
    schedule(r);
    succeed(r);
}

static void replace_void(struct ct_renewal *r, const struct ct_err *why)
{
    r->end_ms = ct_clock_ms();
    if (why != NULL && (r->by_login || !r->told_trouble)) {
        r->told_trouble = true;
        tell(r, CT_LOG_WARN,
             r->by_login ? "the Vault token is void; logging in again"
                         : "the Vault token is void; reading its file again",
             why->msg);
    }
    log_in(r);
}

// Vault neither renewed the token nor knew it. A token that may do neither looks like this as well,
// and so does one that was revoked.
static void replace_refused(struct ct_renewal *r, const struct ct_err *why)
{
    r->refusals++;
    r->not_renewable = r->not_renewable || r->refusals >= REFUSALS_THAT_TELL;
    replace_void(r, r->refusals < REFUSALS_THAT_TELL ? why : NULL);
}

// A refusal alone does not say that the token is void: its policies may keep it from renewing itself.
static void refused_renewal(struct ct_renewal *r, const struct ct_err *why)
{
    struct ct_err other = {0};
    int rc = ct_vault_look_up(r->vault, &other);
    if (refused(r, rc)) {
        replace_refused(r, why);
        return;
    }
    if (rc < 0) {
        come_back(r, &other);
        return;
    }
    if (!r->not_renewable) {
        tell(r, r->by_login ? CT_LOG_INFO : CT_LOG_WARN,
             r->by_login
                 ? "Vault refuses to renew the token; logging in again before it ends"
                 : "Vault refuses to renew the token; its file is read again before it ends",
             why->msg);
    }
    r->not_renewable = true;
    if (r->whole == 0) {
        r->whole = ct_vault_lease(r->vault)->seconds;
    }
    schedule(r);
}

static void renew(struct ct_renewal *r)
{
    struct ct_err why = {0};
    int rc = ct_vault_renew(r->vault, &why);
    if (rc == 0) {
        renewed(r);
    } else if (refused(r, rc)) {
        refused_renewal(r, &why);
    } else if (ct_clock_ms() >= r->end_ms) {
        log_in(r);
    } else {
        come_back(r, &why);
    }
}

static void look_up(struct ct_renewal *r)
{
    struct ct_err why = {0};
    int rc = ct_vault_look_up(r->vault, &why);
    if (rc == 0) {
        r->whole = ct_vault_lease(r->vault)->seconds;
        schedule(r);
        succeed(r);
        return;
    }
    if (refused(r, rc) && !r->told_end) {
        // Some tokens may not look at themselves; a renewal tells their life as well.
        rc = ct_vault_renew(r->vault, &why);
        if (rc == 0) {
            renewed(r);
            return;
        }
    }
    r->action = r->told_end || refused(r, rc) ? CT_RENEWAL_LOG_IN : CT_RENEWAL_LOOK_UP;
    come_back(r, &why);
}

static void log_in(struct ct_renewal *r)
{
    struct ct_err why = {0};
    if (ct_vault_login(r->vault, &why) < 0) {
        r->action = CT_RENEWAL_LOG_IN;
        come_back(r, &why);
        return;
    }
    r->counts.logged_in += r->by_login ? 1 : 0;
    r->hooks->fresh_token(r->hooks->cls);
    uint64_t end = r->end_ms;
    begin_life(r);
    if (r->by_login && ct_vault_lease(r->vault)->known) {
        succeed(r);
    } else {
        r->end_ms = end;
        look_up(r); // the file may hold the token that has just ended
    }
}

void ct_renewal_run(struct ct_renewal *r)
{
    static void (*const actions[])(struct ct_renewal *) = {
        [CT_RENEWAL_LOOK_UP] = look_up, [CT_RENEWAL_RENEW] = renew, [CT_RENEWAL_LOG_IN] = log_in};
    actions[r->action](r);
    // Nothing of TLS stays behind.
    ct_vault_disconnect(r->vault);
}

bool ct_renewal_after_read(struct ct_renewal *r, int rc)
{
    struct ct_err why = {0};
    r->doubted = r->doubted && rc < 0;
    if (!refused(r, rc) || r->doubted || r->told_end) {
        return false; // no matter of the token's, or ct_renewal_run() sees to it
    }
    int looked_up = ct_vault_look_up(r->vault, &why);
    bool is_void = refused(r, looked_up);
    r->doubted = looked_up == 0 || is_void;
    if (is_void) {
        replace_void(r, &why);
    }
    return is_void && ct_renewal_left_ms(r) != 0;
}
