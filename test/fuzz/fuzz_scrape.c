// SPDX-License-Identifier: Apache-2.0
//
// What the wrapper reads by itself beside its settings: what comes to the metrics port, the token that names the pod, the
// app's maps. A request's verdict does not change by what follows, no label can break a line, and maps come to an end.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "metrics.h"
#include "scrape.h"
#include "smaps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_answer(int status, const struct ct_pod_identity *id)
{
    static const struct ct_metrics_values values = {.points = 55, .max = 75};
    static char out[CT_METRICS_ANSWER_MAX];
    size_t len = ct_metrics_write(status, &values, id, out, sizeof(out));
    must(len > 0 && len < sizeof(out) && strlen(out) == len);
    const char *body = strstr(out, "\r\n\r\n");
    const char *told = strstr(out, "Content-Length: ");
    must(body != NULL && told != NULL && strtoul(told + 16, NULL, 10) == strlen(body + 4));
}

static void check_maps(const uint8_t *data, size_t size)
{
    static struct ct_smaps maps;
    struct ct_mapping mapping;
    maps = (struct ct_smaps){.fd = memfd_create("smaps", MFD_CLOEXEC)};
    must(maps.fd >= 0 && (size == 0 || write(maps.fd, data, size) == (ssize_t)size) &&
         lseek(maps.fd, 0, SEEK_SET) == 0);
    size_t n = 0;
    while (ct_smaps_next(&maps, &mapping)) {
        must(mapping.end > mapping.start && ++n <= size);
    }
    must(!ct_smaps_next(&maps, &mapping));
    ct_smaps_close(&maps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_maps(data, size);
    const char *text = (const char *)data;
    struct ct_pod_identity id;
    struct ct_err err = {0};
    int status = CT_SCRAPE_MORE;
    for (size_t len = 0; len <= size && status == CT_SCRAPE_MORE; len++) {
        status = ct_scrape_read(text, len);
    }
    must(status == 0 || status == 200 || status == 400 || status == 404 || status == 405 ||
         status == 431);
    int rc = ct_pod_identity_parse(text, size, &id, &err);
    must(rc == -err.code && (rc == 0) == (id.pod[0] != '\0'));
    must(strpbrk(id.pod, "\"\\\n{}") == NULL && strpbrk(id.space, "\"\\\n{}") == NULL);
    check_answer(status != CT_SCRAPE_MORE ? status : 200, &id);
    return 0;
}
