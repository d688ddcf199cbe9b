// SPDX-License-Identifier: Apache-2.0
#include "httpd_probe.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 1000
#define MAX_CHAIN 16

// A client's side of one connection.
struct probe {
    int fd;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
};

static void probe_done(struct probe *p)
{
    if (p->session != NULL) {
        gnutls_deinit(p->session);
    }
    if (p->credentials != NULL) {
        gnutls_certificate_free_credentials(p->credentials);
    }
    ct_close_fd(&p->fd);
}

// Whoever listens everywhere listens on loopback too.
static void make_reachable(struct sockaddr_storage *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    if (address->ss_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY)) {
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
        v6->sin6_addr = in6addr_loopback;
    }
}

static int dial(const struct sockaddr_storage *address, socklen_t len, int *ret)
{
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000,
                                     .tv_usec = PATIENCE_MS % 1000 * 1000};
    CT_AUTO_FD fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (const struct sockaddr *)address, len) < 0) {
        return -1;
    }
    *ret = ct_steal_fd(&fd);
    return 0;
}

// Where there is IPv6 but no ::1, a socket for both families is reached by IPv4.
static int reach(const struct sockaddr_storage *listening, socklen_t len, int *ret,
                 struct ct_err *err)
{
    struct sockaddr_storage address = *listening;
    make_reachable(&address);
    int r = dial(&address, len, ret);
    if (r < 0 && address.ss_family == AF_INET6) {
        const struct sockaddr_in v4 = {.sin_family = AF_INET,
                                       .sin_port = ((struct sockaddr_in6 *)&address)->sin6_port,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        memcpy(&address, &v4, sizeof(v4));
        r = dial(&address, sizeof(v4), ret);
    }
    return r < 0 ? ct_err_errno(err, "the server cannot be reached by itself") : 0;
}

// Nothing is verified here: the certificate is looked at afterwards, whatever it is.
static int shake_hands(struct probe *p, const char *name, struct ct_err *err)
{
    int status = gnutls_certificate_allocate_credentials(&p->credentials);
    status = status < 0 ? status : gnutls_init(&p->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
    status =
        status < 0 ? status : gnutls_priority_set_direct(p->session, ct_httpd_tls_priorities, NULL);
    status = status < 0
                 ? status
                 : gnutls_credentials_set(p->session, GNUTLS_CRD_CERTIFICATE, p->credentials);
    if (status >= 0 && name != NULL) {
        status = gnutls_server_name_set(p->session, GNUTLS_NAME_DNS, name, strlen(name));
    }
    if (status >= 0) {
        gnutls_transport_set_int(p->session, p->fd);
        gnutls_handshake_set_timeout(p->session, PATIENCE_MS);
        do {
            status = gnutls_handshake(p->session);
        } while (status < 0 && gnutls_error_is_fatal(status) == 0);
    }
    return status < 0 ? ct_err_set(err, CT_EUNAVAIL, "the server's handshake with itself fails: %s",
                                   gnutls_strerror(status))
                      : 0;
}

// What was shown, and what it is held against.
struct shown {
    gnutls_x509_crt_t certs[MAX_CHAIN];
    unsigned n;
    gnutls_x509_trust_list_t trusted;
};

static void shown_done(struct shown *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        gnutls_x509_crt_deinit(s->certs[i]);
    }
    if (s->trusted != NULL) {
        gnutls_x509_trust_list_deinit(s->trusted, 1);
    }
}

static int read_shown(const gnutls_datum_t *peers, unsigned n, struct shown *ret)
{
    for (unsigned i = 0; i < n && i < MAX_CHAIN; i++) {
        if (gnutls_x509_crt_init(&ret->certs[i]) < 0) {
            return -1;
        }
        ret->n = i + 1;
        if (gnutls_x509_crt_import(ret->certs[i], &peers[i], GNUTLS_X509_FMT_DER) < 0) {
            return -1;
        }
    }
    return 0;
}

// By the wall clock, as whoever calls will judge it.
static int check_period(const struct shown *s, struct ct_err *err)
{
    time_t now = time(NULL);
    if (gnutls_x509_crt_get_expiration_time(s->certs[0]) < now) {
        return ct_err_set(err, CT_EDENIED, "the certificate that is served has ended");
    }
    return gnutls_x509_crt_get_activation_time(s->certs[0]) > now
               ? ct_err_set(err, CT_EDENIED, "the certificate that is served is not valid yet")
               : 0;
}

static int verify(struct shown *s, const char *authorities, const char *name, struct ct_err *err)
{
    const gnutls_datum_t pem = {.data = (unsigned char *)(uintptr_t)authorities,
                                .size = (unsigned)strlen(authorities)};
    gnutls_typed_vdata_st wanted[] = {
        {.type = GNUTLS_DT_KEY_PURPOSE_OID,
         .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER},
        {.type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)(uintptr_t)name},
    };
    unsigned status = 0;
    int r = gnutls_x509_trust_list_init(&s->trusted, 0);
    r = r < 0 ? r
              : gnutls_x509_trust_list_add_trust_mem(s->trusted, &pem, NULL, GNUTLS_X509_FMT_PEM, 0,
                                                     0);
    r = r < 0 ? r
              : gnutls_x509_trust_list_verify_crt2(s->trusted, s->certs, s->n, wanted,
                                                   name != NULL ? 2 : 1, 0, &status, NULL);
    if (r < 0) {
        return ct_err_set(err, CT_EDENIED, "the certificate that is served cannot be verified: %s",
                          gnutls_strerror(r));
    }
    gnutls_datum_t text = {0};
    if (status != 0 &&
        gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0) {
        r = ct_err_set(err, CT_EDENIED,
                       "the certificate that is served does not verify by the authorities that "
                       "callers are told: %s",
                       (const char *)text.data);
    }
    gnutls_free(text.data);
    return status == 0 ? 0 : r < 0 ? r : -CT_EDENIED;
}

int ct_httpd_probe_at(const struct sockaddr_storage *address, socklen_t len,
                      struct ct_httpd_tls *tls, const char *authorities, const char *name,
                      struct ct_err *err)
{
    __attribute__((cleanup(probe_done))) struct probe p = {.fd = -1};
    __attribute__((cleanup(shown_done))) struct shown shown = {.n = 0};
    int r = reach(address, len, &p.fd, err);
    r = r == 0 ? shake_hands(&p, name, err) : r;
    if (r < 0) {
        return r;
    }
    unsigned n = 0;
    const gnutls_datum_t *peers = gnutls_certificate_get_peers(p.session, &n);
    if (peers == NULL || n == 0 || read_shown(peers, n, &shown) < 0 || shown.n == 0) {
        return ct_err_set(err, CT_EDENIED,
                          "the server shows itself no certificate that can be read");
    }
    if (!ct_httpd_tls_shows(tls, &peers[0])) {
        return ct_err_set(err, CT_EDENIED,
                          "the certificate that is served is not the one in force: something else "
                          "answers in this server's place");
    }
    return authorities != NULL ? verify(&shown, authorities, name, err) : check_period(&shown, err);
}
