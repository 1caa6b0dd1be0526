/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_modules.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <http_protocol.h>
#include <http_ssl.h>

#include "acme_certificate.h"

/* mod_md looks a challenge up only after it has switched the connection to acme-tls/1, which it
 * does for any name. */
static int modules_has_certificate(conn_rec *c, const acme_alpn_challenge_t *challenge,
                                   const char **certificate)
{
    const char *key;
    int result = ap_run_protocol_switch(c, NULL, challenge->server, ACME_ALPN_PROTOCOL);

    return (result == OK || result == DONE) &&
           ap_ssl_answer_challenge(c, challenge->sni, certificate, &key);
}

/* `text` is a certificate in PEM. */
static acme_error_e modules_read_digest(acme_alpn_challenge_t *challenge, const char *text)
{
    acme_error_e error = ACME_MODULE_UNREADABLE;
    X509 *certificate;
    BIO *bio;

    ERR_set_mark();
    bio = text ? BIO_new_mem_buf(text, -1) : NULL;
    certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (certificate) {
        error =
            acme_certificate_inspect(&challenge->digest, certificate, &challenge->identifier);
    }
    ERR_pop_to_mark();
    X509_free(certificate);
    BIO_free(bio);
    return error;
}

acme_error_e acme_alpn_modules_ask(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_alpn_connection_t *connection = acme_alpn_connection_get(c);
    const char *certificate = NULL;
    int found;

    challenge->source = ACME_ALPN_SOURCE_MODULE;
    challenge->file = NULL;
    connection->asking = 1;
    found = modules_has_certificate(c, challenge, &certificate);
    connection->asking = 0;
    connection->asked = 1;
    return found ? modules_read_digest(challenge, certificate) : ACME_NO_ENTRY;
}

int acme_alpn_modules_exclude(conn_rec *c, const char *server_name, const char **certificate,
                              const char **key)
{
    const acme_alpn_connection_t *connection = acme_alpn_connection_get(c);

    (void)server_name;
    (void)certificate;
    (void)key;
    return connection && connection->switched ? DONE : DECLINED;
}
