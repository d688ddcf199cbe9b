// SPDX-License-Identifier: Apache-2.0
//
// How the pod may reach Vault: what its annotations ask for, held against what the operator permits.
#ifndef CT_WEBHOOK_VAULT_H
#define CT_WEBHOOK_VAULT_H

#include "pod.h"

// Fills c->config but for the score. Denies addresses that the operator did not
// name (an address of the author's own choice would be handed the pod's token), and what needs the
// operator's permission.
CT_CHECKED int ct_vault_configure(struct ct_case *c, struct ct_err *err);

// The text of CLOUDTASER_CONFIG, the same for each container of the pod. With `other`, in mode warn,
// as it would be had the nodes been judged otherwise: with the minimum that c->config leaves out, or
// without the one that it holds; nothing is written where that makes no difference. No value that an
// author may write into it can hold a '$', so that kubelet's expansion of $(NAME) finds nothing.
CT_CHECKED int ct_vault_write_config(const struct ct_case *c, bool other, struct ct_buf *out,
                                     struct ct_err *err);

// Is it one without TLS?
bool ct_address_is_plain(const char *address);

// Writes an address in its comparable form: "scheme://host:port", lower case, port always there, no
// trailing slash. False when it has user information, a path, a query or no host, or is too long.
bool ct_address_normalise(const char *address, char *out, size_t size);

#endif
