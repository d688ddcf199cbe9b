// SPDX-License-Identifier: Apache-2.0
//
// What a protected pod looks like: every name and every piece that injection adds, in one place, and
// how to recognise them. The texts are compact JSON, ready for a patch.
#ifndef CT_WEBHOOK_SHAPE_H
#define CT_WEBHOOK_SHAPE_H

#include <jansson.h>
#include <stdbool.h>

#include "annotation.h"
#include "buf.h"
#include "settings.h"

#define CT_SHAPE_INJECTOR "cloudtaser-injector"
#define CT_SHAPE_VOLUME "cloudtaser"
#define CT_SHAPE_IDENTITY "cloudtaser-identity"
#define CT_SHAPE_DIR "/cloudtaser"
#define CT_SHAPE_IDENTITY_DIR "/cloudtaser-identity"
#define CT_SHAPE_WRAPPER "/cloudtaser/wrapper"
#define CT_SHAPE_TOKEN_FILE "/cloudtaser-identity/vault-token"
#define CT_SHAPE_IDENTITY_FILE "/cloudtaser-identity/cloudtaser-token"
#define CT_SHAPE_CA_FILE "/cloudtaser-identity/ca.crt"
#define CT_SHAPE_STATUS "injected"

// {"name":…,"emptyDir":…}
extern const char ct_shape_volume[];
// The two mounts of a wrapped container.
extern const char ct_shape_mount[];
extern const char ct_shape_identity_mount[];

// The init container; image and resources are the operator's.
void ct_shape_write_injector(const struct ct_webhook_settings *s, struct ct_buf *out);
// The projected volume with the wrapper's tokens, as the annotations want it.
void ct_shape_write_identity(const struct ct_annotations *a, struct ct_buf *out);

// Is `have` the same JSON value as `text`? Order of keys does not matter. Negative: -CT_ENOMEM.
CT_CHECKED int ct_shape_same(const json_t *have, const char *text, struct ct_err *err);

// Is this init container ours, as written by ct_shape_write_injector(), with nothing added but what
// the API server and its admission plugins add (defaults, the service account's mount, resources of
// other names)? Any other mount could bring another program to where ours is, if need be through a
// symlink in another mount. `volumes` are the pod's. 1 yes; 0 no, and *ret_field names the first field
// that differs.
int ct_shape_is_injector(const struct ct_webhook_settings *s, const json_t *volumes,
                         const json_t *have, const char **ret_field);

// Does a path, once cleaned as path.Clean() of Go does it, lie at or below a folder of ours?
// Relative paths count from the root, as kubelet takes them.
bool ct_shape_path_reserved(const char *path);
// Is this the name of a volume that is ours, or looks like it?
bool ct_shape_volume_reserved(const char *name);

#endif
