// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser-injector: the init container of an opted-in pod. It copies the wrapper out of its own
// image into the volume that the pod's other containers mount read-only.
#include <string.h>

#include "copy.h"
#include "ct_version.h"
#include "log.h"
#include "wrapper_digest.h"

#define DEFAULT_SOURCE "/cloudtaser-wrapper"
#define DEFAULT_TARGET "/cloudtaser/wrapper"

static const char usage[] =
    "usage: cloudtaser-injector [SOURCE [TARGET]]\n"
    "       cloudtaser-injector --version | --help\n"
    "Copies SOURCE (" DEFAULT_SOURCE ") to TARGET (" DEFAULT_TARGET "), replacing it atomically.\n"
    "SOURCE must be the wrapper that this program was built with: " CT_WRAPPER_SHA256 "\n";

static int say(const char *text)
{
    return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct ct_err err = {0};
    struct ct_copy_spec spec = {
        .source = argc > 1 ? argv[1] : DEFAULT_SOURCE,
        .target = argc > 2 ? argv[2] : DEFAULT_TARGET,
        .length = CT_WRAPPER_LENGTH,
    };
    ct_log_init("cloudtaser-injector", CT_LOG_TEXT);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return say("cloudtaser-injector " CT_VERSION "\n");
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        return say(usage);
    }
    if (argc > 3 || spec.source[0] == '-' || spec.target[0] == '-') {
        ct_log(CT_LOG_ERROR, "at most a source and a target are understood; see --help");
        return 1;
    }
    if (ct_copy_parse_sha256(CT_WRAPPER_SHA256, spec.sha256, &err) != 0 ||
        ct_copy_verified(&spec, &err) != 0) {
        ct_log(CT_LOG_ERROR, "%s", err.msg);
        return 1;
    }
    ct_log(CT_LOG_INFO, "copied %s to %s: %llu bytes, SHA-256 %.12s… verified", spec.source,
           spec.target, spec.length, CT_WRAPPER_SHA256);
    return 0;
}
