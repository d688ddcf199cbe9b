// SPDX-License-Identifier: Apache-2.0
//
// The variables of the pod's containers: references, reserved names, the minimum that a container
// asks for, and secrets that would end in a command line.
#ifndef CT_WEBHOOK_VARIABLES_H
#define CT_WEBHOOK_VARIABLES_H

#include "pod.h"

// Checks every container's variables, and collects the highest CLOUDTASER_MIN_PROTECTION_SCORE in
// *ret_min (0: none). References in containers that are not wrapped, or in
// command and args, become warnings, and so does a pod without any. CLOUDTASER_CONFIG is left for ct_variables_check_derived().
CT_CHECKED int ct_variables_check(struct ct_case *c, int *ret_min, struct ct_err *err);

// A variable as it is derived; `other` is a second text that is as good where it stands already, NULL
// for none.
struct ct_derived {
    const char *name;
    const char *text;
    const char *other;
    enum ct_reason reason; // of the denial
};

// Does a wrapped container hold the variable already? 1 yes, with such a text; 0 no; a denial when
// its text differs, when it is there more than once, or takes its value from elsewhere.
CT_CHECKED int ct_variables_check_derived(struct ct_case *c, const struct ct_container *container,
                                          const struct ct_derived *derived, struct ct_err *err);

// Calls back for each $(NAME) of a text that kubelet would expand; "$$(" is its escape. Stops at the
// first callback that returns true, and returns true then.
bool ct_variables_each_expansion(const char *text,
                                 bool (*found)(void *cls, const char *name, size_t len), void *cls);

#endif
