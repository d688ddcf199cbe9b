// SPDX-License-Identifier: Apache-2.0
// What the two HTTP clients, Vault's (lib/http.h) and the API server's (lib/kube.h), ask of libcurl alike.
#ifndef CT_CURL_COMMON_H
#define CT_CURL_COMMON_H

#include <curl/curl.h>
#include <stdbool.h>

// HTTP(S) 1.1 by TLS 1.2 or later, straight to the server: no proxy, no redirect, no signal. `errbuf` of
// CURL_ERROR_SIZE bytes outlives the handle. Verifies the server unless `skip_verify`. CURLE_OK, or what libcurl
// answered to any of it.
CURLcode ct_curl_set_common(CURL *curl, bool skip_verify, char *errbuf);

// Adds a copy of `line`. False when there is no memory; the list is then as it was.
bool ct_curl_append(struct curl_slist **list, const char *line);

// Frees the list, each of its lines wiped: one may hold a token.
void ct_curl_wipe(struct curl_slist *list);

#endif
