// SPDX-License-Identifier: Apache-2.0
#include "guard_settings.h"

#include "vectors.h"

int ct_guard_check_tier(const char *value, struct ct_err *err)
{
    return ct_tier_from_name(value) > CT_TIER_NONE
               ? 0
               : ct_err_set(err, CT_EINVAL,
                            "there is no tier \"%s\"; there are lsm, fmod_ret, kprobe, reactive "
                            "and cgroup",
                            value);
}

struct ct_guard_options ct_guard_settle(const struct ct_guard_settings *settings)
{
    struct ct_guard_options options = {
        .strict = settings->strict, .exempts = &settings->exempts, .cgroup_root = CT_CGROUP_ROOT};
    for (size_t i = 0; i < settings->tiers.n; i++) {
        options.tiers |= 1U << ct_tier_from_name(settings->tiers.item[i]);
    }
    options.tiers = options.tiers != 0 ? options.tiers : CT_TIERS_ALL;
    return options;
}
