// SPDX-License-Identifier: Apache-2.0
#include "curl_common.h"

#include <string.h>

#include "ct_version.h"

CURLcode ct_curl_set_common(CURL *curl, bool skip_verify, char *errbuf)
{
    CURLcode rc = CURLE_OK;
    rc |= curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    rc |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, skip_verify ? 0L : 1L);
    rc |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, skip_verify ? 0L : 2L);
    rc |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, errbuf);
    rc |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    rc |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    rc |= curl_easy_setopt(curl, CURLOPT_PROXY, ""); // also switches the *_proxy variables off
    rc |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    rc |= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    rc |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "cloudtaser/" CT_VERSION);
    return rc;
}

bool ct_curl_append(struct curl_slist **list, const char *line)
{
    struct curl_slist *grown = curl_slist_append(*list, line);
    if (grown == NULL) {
        return false;
    }
    *list = grown;
    return true;
}

void ct_curl_wipe(struct curl_slist *list)
{
    for (struct curl_slist *i = list; i != NULL; i = i->next) {
        explicit_bzero(i->data, strlen(i->data));
    }
    curl_slist_free_all(list);
}
