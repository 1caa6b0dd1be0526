/*
 * The floor: the least that a TLS server with OpenSSL can do for a challenge handshake. One
 * thread accepts a connection, shakes hands with an acme-tls/1 certificate that it was given,
 * and closes; then the next. It looks nothing up, logs nothing and keeps nothing.
 *
 *   floor PORT CERTIFICATE KEY     (both in PEM)
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define BACKLOG 511 /* as httpd's */

static const unsigned char protocol[] = "acme-tls/1";

static void require(int condition, const char *what)
{
    if (!condition) {
        perror(what);
        exit(2);
    }
}

static int select_protocol(SSL *ssl, const unsigned char **selected, unsigned char *length,
                           const unsigned char *offers, unsigned int offers_length,
                           void *unused)
{
    (void)ssl;
    (void)unused;
    if (offers_length != sizeof(protocol) || memcmp(offers + 1, protocol, offers[0]) != 0) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *selected = protocol;
    *length = sizeof(protocol) - 1;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    require(context &&
                SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) == 1 &&
                SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1,
            "certificate and key");
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    return context;
}

static int listen_on(int port)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((in_port_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    require(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                listen(fd, BACKLOG) == 0,
            "listen");
    return fd;
}

static void serve(SSL_CTX *context, int fd)
{
    SSL *ssl = SSL_new(context);

    require(ssl && SSL_set_fd(ssl, fd), "SSL_new");
    if (SSL_accept(ssl) == 1) {
        SSL_shutdown(ssl);
    }
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
}

int main(int argc, char **argv)
{
    SSL_CTX *context;
    int listener, fd;

    require(argc == 4, "usage: floor PORT CERTIFICATE KEY");
    signal(SIGPIPE, SIG_IGN);
    context = make_context(argv[2], argv[3]);
    listener = listen_on(atoi(argv[1]));
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        serve(context, fd);
    }
    require(0, "accept");
}
