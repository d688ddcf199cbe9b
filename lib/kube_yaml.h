// SPDX-License-Identifier: Apache-2.0
//
// YAML read into jansson's values. Internal to ct_kube.
#ifndef CT_KUBE_YAML_H
#define CT_KUBE_YAML_H

#include "json.h"

// The first document of a YAML text, JSON being YAML too. Every scalar becomes a string, whatever its
// style, but for plain true, false and null. Keys must be scalars. `what` names the text in the
// sentence; its content is never quoted. Aliases are followed; size and depth are bounded after that.
// CT_EINVAL, CT_ETOOBIG, CT_ENOMEM. Thread-safe.
CT_CHECKED int ct_kube_yaml_parse(const char *data, size_t len, const char *what, json_t **ret,
                                  struct ct_err *err);

#endif
