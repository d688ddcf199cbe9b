// SPDX-License-Identifier: Apache-2.0
#include "on_change.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "text.h"

static const struct {
    const char *name; // behind SIG
    int number;
} signals[] = {
    {"HUP", SIGHUP},   {"USR1", SIGUSR1}, {"USR2", SIGUSR2},   {"INT", SIGINT},
    {"TERM", SIGTERM}, {"QUIT", SIGQUIT}, {"WINCH", SIGWINCH},
};

static int signal_number(const char *name)
{
    name += strncmp(name, "SIG", 3) == 0 ? 3 : 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(signals); i++) {
        if (strcmp(signals[i].name, name) == 0) {
            return signals[i].number;
        }
    }
    return 0;
}

int ct_on_change_parse(const char *what, const char *text, struct ct_on_change *ret,
                       struct ct_err *err)
{
    static const char prefix[] = "signal:";
    *ret = (struct ct_on_change){.reaction = CT_REACTION_KEEP};
    if (strcmp(text, "keep") == 0) {
        return 0;
    }
    if (strcmp(text, "restart") == 0) {
        ret->reaction = CT_REACTION_RESTART;
        return 0;
    }
    if (strncmp(text, prefix, strlen(prefix)) == 0) {
        ret->reaction = CT_REACTION_SIGNAL;
        ret->signal = signal_number(text + strlen(prefix));
    }
    if (ret->signal != 0) {
        return 0;
    }
    struct ct_shown shown;
    return ct_err_set(err, CT_EINVAL,
                      "%s \"%s\": \"keep\", \"restart\" or \"signal:NAME\" is allowed, NAME one of "
                      "SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGTERM, SIGQUIT, SIGWINCH",
                      what, ct_text_show(&shown, text, strlen(text)));
}

int ct_refresh_parse(const char *what, const char *text, unsigned long *ret_seconds,
                     struct ct_err *err)
{
    static const struct {
        char unit;
        unsigned long seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
    size_t len = strlen(text);
    unsigned long number = 0;
    bool good = false;
    for (size_t i = 0; i < CT_ARRAY_LEN(units) && len > 1; i++) {
        if (text[len - 1] == units[i].unit &&
            ct_text_number(text, len - 1, CT_REFRESH_MOST_S / units[i].seconds, &number)) {
            *ret_seconds = number * units[i].seconds;
            good = *ret_seconds >= CT_REFRESH_LEAST_S;
        }
    }
    struct ct_shown shown;
    return good
               ? 0
               : ct_err_set(err, CT_EINVAL,
                            "%s \"%s\": a whole number and s, m or h is allowed, from %lus to %luh",
                            what, ct_text_show(&shown, text, len), CT_REFRESH_LEAST_S,
                            CT_REFRESH_MOST_S / 3600);
}
