// SPDX-License-Identifier: Apache-2.0
#include "renewal.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "vault_internal.h"

#define FIRST_DELAY_S 1U
#define LAST_DELAY_S 300U
// A lease that short would otherwise keep Vault busy.
#define LEAST_MS 1000U

static uint64_t chance_below(uint64_t n)
{
    uint64_t chance = 0;
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != (ssize_t)sizeof(chance)) {
        chance = ct_vault_now_ms();
    }
    return n > 0 ? chance % n : 0;
}

// At two thirds of what is left, less up to a tenth of it, so that pods which started together
// do not come together for ever.
static void schedule(struct ct_renewal *r)
{
    const struct ct_vault_lease *lease = ct_vault_lease(r->vault);
    uint64_t now = ct_vault_now_ms();
    uint64_t life = (uint64_t)lease->seconds * 1000U;
    uint64_t wait = life * 2 / 3 - chance_below(life / 10 + 1);
    r->failures = 0;
    r->idle = lease->seconds == 0 && r->whole == 0;
    r->end_ms = now + life;
    r->due_ms = now + (wait > LEAST_MS ? wait : LEAST_MS);
    // What Vault granted shrinks when the longest life that the token may have comes near.
    bool shrunk = lease->seconds * 2 < r->whole;
    r->action = lease->renewable && !shrunk ? CT_RENEWAL_RENEW : CT_RENEWAL_LOG_IN;
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
        r->due_ms = ct_vault_now_ms();
    }
}

void ct_renewal_begin(struct ct_renewal *r, struct ct_vault *vault, bool by_login,
                      void (*tell)(enum ct_log_level level, const char *sentence))
{
    *r = (struct ct_renewal){.vault = vault, .tell = tell, .by_login = by_login};
    begin_life(r);
    r->idle = r->idle || (by_login && !ct_vault_lease(vault)->known);
}

int ct_renewal_due_ms(void *cls)
{
    const struct ct_renewal *r = cls;
    uint64_t now = ct_vault_now_ms();
    if (r->idle) {
        return -1;
    }
    uint64_t left = r->due_ms > now ? r->due_ms - now : 0;
    return left < INT_MAX ? (int)left : INT_MAX;
}

static void tell(const struct ct_renewal *r, enum ct_log_level level, const char *what,
                 const char *why)
{
    char sentence[640];
    (void)snprintf(sentence, sizeof(sentence), "%s%s%s", what, why[0] != '\0' ? ": " : "", why);
    r->tell(level, sentence);
}

static void succeed(struct ct_renewal *r)
{
    if (r->told_trouble || r->told_end) {
        tell(r, CT_LOG_INFO, "the Vault token is good again", "");
    }
    r->told_trouble = false;
    r->told_end = false;
}

// The app's end gives everything up; that is nothing to tell.
static bool given_up(const struct ct_renewal *r)
{
    const struct ct_vault_hooks *hooks = &r->vault->hooks;
    return hooks->stop != NULL && hooks->stop(hooks->cls);
}

// Exponential, half of it chance; never past the token's end while it lives.
static void come_back(struct ct_renewal *r, const struct ct_err *why)
{
    uint64_t now = ct_vault_now_ms();
    bool ended = now >= r->end_ms;
    unsigned step = r->failures < 8 ? FIRST_DELAY_S << r->failures : LAST_DELAY_S;
    uint64_t wait = (step < LAST_DELAY_S ? step : LAST_DELAY_S) * UINT64_C(1000);
    wait = wait / 2 + chance_below(wait / 2 + 1);
    r->failures++;
    r->due_ms = now + wait;
    if (!ended && r->due_ms > r->end_ms) {
        r->due_ms = r->end_ms;
    }
    if (given_up(r)) {
        return;
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

static void look_up(struct ct_renewal *r)
{
    struct ct_err why = {0};
    int rc = ct_vault_look_up(r->vault, &why);
    if (rc == 0) {
        r->whole = ct_vault_lease(r->vault)->seconds;
        schedule(r);
        succeed(r);
    } else if (rc == -CT_EUNAVAIL || rc == -CT_ENOMEM || r->told_end) {
        r->action = r->told_end ? CT_RENEWAL_LOG_IN : CT_RENEWAL_LOOK_UP;
        come_back(r, &why);
    } else {
        r->idle = true;
        tell(r, CT_LOG_WARN, "the Vault token does not tell its life and is not renewed", why.msg);
    }
}

static void log_in(struct ct_renewal *r)
{
    struct ct_err why = {0};
    if (ct_vault_login(r->vault, &why) < 0) {
        r->action = CT_RENEWAL_LOG_IN;
        come_back(r, &why);
        return;
    }
    begin_life(r);
    if (r->by_login) {
        succeed(r);
    } else if (ct_renewal_due_ms(r) == 0) {
        look_up(r); // the file may hold the token that has just ended
    }
}

static void renew(struct ct_renewal *r)
{
    struct ct_err why = {0};
    int rc = ct_vault_renew(r->vault, &why);
    if (rc == 0) {
        schedule(r);
        succeed(r);
        return;
    }
    bool refused = rc == -CT_EDENIED && ct_vault_exit_code(r->vault) == CT_EXIT_LOGIN;
    if (refused || ct_vault_now_ms() >= r->end_ms) {
        if (refused) {
            // Revoked, or ended while Vault was away.
            r->end_ms = ct_vault_now_ms();
            r->told_trouble = true;
            tell(r, CT_LOG_WARN, "the Vault token is void; logging in again", why.msg);
        }
        log_in(r);
        return;
    }
    come_back(r, &why);
}

void ct_renewal_run(void *cls)
{
    static void (*const actions[])(struct ct_renewal *) = {
        [CT_RENEWAL_LOOK_UP] = look_up, [CT_RENEWAL_RENEW] = renew, [CT_RENEWAL_LOG_IN] = log_in};
    struct ct_renewal *r = cls;
    actions[r->action](r);
    // Nothing of TLS stays behind, and the next time certificates and addresses are looked at anew.
    ct_vault_disconnect(r->vault);
}
