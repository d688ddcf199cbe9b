// SPDX-License-Identifier: Apache-2.0
#include "registrar_settings.h"

int ct_registrar_check_version(const char *value, struct ct_err *err)
{
    unsigned version;
    return ct_version_parse(value, &version, err);
}

int ct_registrar_settle(const struct ct_registrar_settings *settings,
                        struct ct_registrar_options *ret, struct ct_err *err)
{
    *ret = (struct ct_registrar_options){.max_tasks = (unsigned)settings->max_tasks};
    ret->vet.cgroup_root = settings->cgroup_root;
    ret->vet.allow_cgroups = settings->allow_cgroups.item;
    ret->vet.n_allow_cgroups = settings->allow_cgroups.n;
    ct_trust_init(&ret->vet.trust);
    int rc = ct_version_parse(settings->min_version, &ret->vet.min_version, err);
    for (size_t i = 0; rc == 0 && i < settings->trust_keys.n; i++) {
        rc = ct_trust_add(&ret->vet.trust, settings->trust_keys.item[i], err);
    }
    return rc;
}
