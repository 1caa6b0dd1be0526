/*
 * A client for load: many TLS handshakes from many threads, each on a connection of its own,
 * and what became of them. Either challenge handshakes (acme-tls/1), whose answers it checks,
 * or ordinary ones, with a request or without, or connections that are closed as soon as they
 * are there.
 *
 * -p begins no more than that many a second. -g makes ordinary requests instead of challenge
 * handshakes, -o ordinary handshakes alone, -x connections alone. FILE holds a name on each
 * line, and the digest that is right in hex if there is but one.
 *
 * The last line on standard output is the summary; with -r one line for each handshake precedes
 * it: begin and end (CLOCK_MONOTONIC, ns), the local port, the name and the outcome, which is
 * the digest in hex, "http-" and a status, "alert-" and a number, or what went wrong.
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define ACME_ALPN     "\012acme-tls/1" /* each with its length, in octal */
#define HTTP_ALPN     "\010http/1.1"
#define ACME_OID      "1.3.6.1.5.5.7.1.31"
#define DIGEST_SIZE   32
#define NAME_MAX_SIZE 254
#define OUTCOME_SIZE  96
#define TIMEOUT       30 /* s, for each step of a connection */
#define NS            1000000000LL

typedef struct {
    char name[NAME_MAX_SIZE];
    char digest[2 * DIGEST_SIZE + 1]; /* in hex; empty where any digest is right */
} target_t;

typedef enum { RIGHT, WRONG, REFUSED, FAILED, RESULTS } result_e;

typedef enum { CHALLENGE, REQUEST, ORDINARY, CONNECT } mode_e;

typedef struct {
    const target_t *target;
    long long begin, end;
    int port;
    result_e result;
    char outcome[OUTCOME_SIZE];
} attempt_t;

static const char *given[128]; /* by the option's letter: its argument, or "" */
static mode_e mode;
static long count, rate; /* 0: without end, as fast as can be */

static struct addrinfo *address;
static SSL_CTX *context;
static target_t *targets;
static size_t target_count;
static long long first, deadline;
static atomic_long started;
static atomic_long results[RESULTS];

static void fatal(const char *what, const char *why)
{
    fprintf(stderr, "handshakes: %s: %s\n", what, why);
    exit(2);
}

static long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * NS + time.tv_nsec;
}

static void conclude(attempt_t *attempt, result_e result, const char *outcome)
{
    attempt->result = result;
    snprintf(attempt->outcome, sizeof(attempt->outcome), "%s", outcome);
}

/* A fatal alert is told by its number, anything else in words without a space. */
static void conclude_failure(attempt_t *attempt, SSL *ssl, int returned, const char *step)
{
    int why = SSL_get_error(ssl, returned), error = errno;
    int reason = ERR_GET_REASON(ERR_peek_error());
    int is_alert = why == SSL_ERROR_SSL && reason > SSL_AD_REASON_OFFSET;

    attempt->result = is_alert ? REFUSED : FAILED;
    if (is_alert) {
        snprintf(attempt->outcome, OUTCOME_SIZE, "alert-%d", reason - SSL_AD_REASON_OFFSET);
    } else {
        snprintf(attempt->outcome, OUTCOME_SIZE, "failed-%s-%d-errno-%d-reason-%d", step, why,
                 error, reason);
    }
}

/* RFC 8737 section 3: critical, and an OCTET STRING of 32 bytes in DER. */
static const unsigned char *find_digest(X509 *certificate)
{
    int i, extensions = X509_get_ext_count(certificate);
    char oid[64];

    for (i = 0; i < extensions; i++) {
        const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(X509_get_ext(certificate, i));
        const unsigned char *der = ASN1_STRING_get0_data(value);

        OBJ_obj2txt(oid, sizeof(oid), X509_EXTENSION_get_object(X509_get_ext(certificate, i)),
                    1);
        if (strcmp(oid, ACME_OID) == 0 &&
            X509_EXTENSION_get_critical(X509_get_ext(certificate, i)) &&
            ASN1_STRING_length(value) == DIGEST_SIZE + 2 && memcmp(der, "\x04\x20", 2) == 0) {
            return der + 2;
        }
    }
    return NULL;
}

static int negotiated(SSL *ssl, const char *wire)
{
    const unsigned char *protocol;
    unsigned int length;

    SSL_get0_alpn_selected(ssl, &protocol, &length);
    return length == (unsigned char)wire[0] && memcmp(protocol, wire + 1, length) == 0;
}

static void judge_challenge(attempt_t *attempt, SSL *ssl)
{
    X509 *certificate = sk_X509_value(SSL_get_peer_cert_chain(ssl), 0);
    const unsigned char *digest = certificate ? find_digest(certificate) : NULL;
    const char *expected = attempt->target->digest;
    char hex[2 * DIGEST_SIZE + 1] = "";
    int i;

    for (i = 0; digest && i < DIGEST_SIZE; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    if (!negotiated(ssl, ACME_ALPN)) {
        conclude(attempt, WRONG, "wrong-alpn");
    } else if (!digest) {
        conclude(attempt, WRONG, "wrong-no-digest");
    } else if (sk_X509_num(SSL_get_peer_cert_chain(ssl)) != 1) {
        conclude(attempt, WRONG, "wrong-chain");
    } else if (X509_check_host(certificate, attempt->target->name, 0,
                               X509_CHECK_FLAG_NO_WILDCARDS, NULL) != 1) {
        conclude(attempt, WRONG, "wrong-name");
    } else if (X509_verify(certificate, X509_get0_pubkey(certificate)) != 1) {
        conclude(attempt, WRONG, "wrong-signature");
    } else {
        conclude(attempt, *expected && strcmp(expected, hex) != 0 ? WRONG : RIGHT, hex);
    }
}

/* The response's status, and that it ended as TLS wants it to: with a close_notify. */
static void judge_response(attempt_t *attempt, SSL *ssl)
{
    char request[1024], response[16384], outcome[OUTCOME_SIZE];
    int length = snprintf(request, sizeof(request),
                          "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                          given['g'], attempt->target->name);
    int got, total = 0, status = 0;

    if ((got = SSL_write(ssl, request, length)) != length) {
        conclude_failure(attempt, ssl, got, "request");
        return;
    }
    while ((got = SSL_read(ssl, response + total, (int)sizeof(response) - 1 - total)) > 0) {
        total += got;
    }
    response[total] = '\0';
    if (SSL_get_error(ssl, got) != SSL_ERROR_ZERO_RETURN ||
        sscanf(response, "HTTP/1.1 %d", &status) != 1) {
        conclude_failure(attempt, ssl, got, "response");
        return;
    }
    snprintf(outcome, sizeof(outcome), "http-%d", status);
    conclude(attempt, status == 200 ? RIGHT : WRONG, outcome);
}

static void judge(attempt_t *attempt, SSL *ssl)
{
    if (mode == REQUEST) {
        judge_response(attempt, ssl);
        attempt->end = now();
    } else if (mode == CHALLENGE) {
        judge_challenge(attempt, ssl);
    } else {
        conclude(attempt, negotiated(ssl, HTTP_ALPN) ? RIGHT : WRONG, "ordinary");
    }
}

/* Ends with a close_notify, as every orderly client does. */
static void shake_hands(attempt_t *attempt, int fd)
{
    const char *name = attempt->target->name;
    SSL *ssl = SSL_new(context);
    int returned;

    if (!ssl || !SSL_set_fd(ssl, fd) || !SSL_set_tlsext_host_name(ssl, name) ||
        (given['c'] && !X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), name, 0))) {
        fatal(name, "OpenSSL made no client of it");
    }
    returned = SSL_connect(ssl);
    attempt->end = now();
    if (returned != 1) {
        conclude_failure(attempt, ssl, returned, "handshake");
    } else {
        judge(attempt, ssl);
    }
    if (returned == 1 && attempt->result != FAILED) {
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

/* The socket, for connect(2), and what its time-outs are. */
static int make_socket(void)
{
    const struct timeval timeout = {TIMEOUT, 0};
    const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        fatal("socket", strerror(errno));
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void attempt_one(attempt_t *attempt)
{
    struct sockaddr_in6 local = {0}; /* whose port is where that of IPv4 is */
    socklen_t size = sizeof(local);
    int fd = make_socket();
    int is_connected = connect(fd, address->ai_addr, address->ai_addrlen) == 0;

    attempt->begin = attempt->end = now();
    ERR_clear_error();
    if (!is_connected) {
        attempt->result = FAILED;
        snprintf(attempt->outcome, OUTCOME_SIZE, "failed-connect-errno-%d", errno);
    } else if (mode == CONNECT) {
        conclude(attempt, RIGHT, "connected");
    } else {
        getsockname(fd, (struct sockaddr *)&local, &size);
        attempt->port = ntohs(local.sin6_port);
        shake_hands(attempt, fd);
    }
    close(fd);
}

static void wait_for_turn(long number)
{
    long long due = first + number * NS / rate;
    struct timespec until = {(time_t)(due / NS), (long)(due % NS)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

static void *work(void *unused)
{
    long number;

    (void)unused;
    while ((!deadline || now() < deadline) &&
           ((number = atomic_fetch_add(&started, 1)) < count || !count)) {
        attempt_t attempt = {.target = &targets[(size_t)number % target_count]};

        if (rate) {
            wait_for_turn(number);
        }
        attempt_one(&attempt);
        atomic_fetch_add(&results[attempt.result], 1);
        if (given['r']) {
            printf("%lld %lld %d %s %s\n", attempt.begin, attempt.end, attempt.port,
                   attempt.target->name, attempt.outcome);
        }
    }
    return NULL;
}

static void read_targets(const char *file)
{
    FILE *input = fopen(file, "r");
    target_t target = {0};
    char line[512];

    while (input && fgets(line, sizeof(line), input)) {
        target.digest[0] = '\0';
        sscanf(line, "%253s %64[0-9a-f]", target.name, target.digest);
        targets = realloc(targets, (target_count + 1) * sizeof(target));
        targets[target_count++] = target;
    }
    if (target_count == 0) {
        fatal(file, "it names no target");
    }
    fclose(input);
}

static void make_context(void)
{
    const char *alpn = mode == CHALLENGE ? ACME_ALPN : HTTP_ALPN;
    int version = !given['v'] ? 0 : strcmp(given['v'], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;

    context = SSL_CTX_new(TLS_client_method());
    if (!context ||
        SSL_CTX_set_alpn_protos(context, (const unsigned char *)alpn,
                                (unsigned int)strlen(alpn)) != 0 ||
        !SSL_CTX_set_min_proto_version(context, version ? version : TLS1_2_VERSION) ||
        !SSL_CTX_set_max_proto_version(context, version)) {
        fatal("OpenSSL", "it made no context");
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (given['c']) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        if (!SSL_CTX_load_verify_locations(context, given['c'], NULL)) {
            fatal(given['c'], "no certificate in it");
        }
    }
}

static long number_of(int option)
{
    return given[option] ? atol(given[option]) : 0;
}

static void parse(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "n:s:t:p:v:g:c:rox")) != -1) {
        given[option] = optarg ? optarg : "";
    }
    count = number_of('n');
    rate = number_of('p');
    deadline = given['s'] ? first + number_of('s') * NS : 0;
    mode = given['g'] ? REQUEST : given['o'] ? ORDINARY : given['x'] ? CONNECT : CHALLENGE;
    if (given['?'] || argc - optind != 3 || (!count && !deadline) ||
        !given['g'] != !given['c']) {
        fatal("usage", "-n COUNT | -s SECONDS [-t THREADS] [-p RATE] [-v 1.2|1.3] [-r] "
                       "[-g PATH -c CAFILE | -o | -x] HOST PORT FILE");
    }
}

int main(int argc, char **argv)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    pthread_t threads[1024];
    long i, all, wanted;
    double seconds;

    first = now();
    parse(argc, argv);
    /* A child that is killed is an outcome to count. */
    signal(SIGPIPE, SIG_IGN);
    if (getaddrinfo(argv[optind], argv[optind + 1], &hints, &address) != 0) {
        fatal(argv[optind], "no address and port in numbers");
    }
    read_targets(argv[optind + 2]);
    make_context();
    wanted = given['t'] ? number_of('t') : 1;
    for (i = 0; i < wanted && i < 1024; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL) != 0) {
            fatal("threads", "the system makes no more");
        }
    }
    while (i-- > 0) {
        pthread_join(threads[i], NULL);
    }
    seconds = (double)(now() - first) / NS;
    all = results[RIGHT] + results[WRONG] + results[REFUSED] + results[FAILED];
    printf("handshakes=%ld right=%ld wrong=%ld refused=%ld failed=%ld seconds=%.3f "
           "per_second=%.1f\n",
           all, results[RIGHT], results[WRONG], results[REFUSED], results[FAILED], seconds,
           (double)all / seconds);
    return 0;
}
