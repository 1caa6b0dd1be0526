/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme-alpn(1): look after the spool of mod_acme_alpn, and see what a CA would see.
 */
#include "acme-alpn.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "acme_interval.h"
#include "acme_version.h"

#ifndef ACME_ALPN_SPOOLDIR
#define ACME_ALPN_SPOOLDIR "/var/spool/acme-alpn"
#endif

/* What getopt_long returns for an operand, when it is told to return operands. */
#define OPERAND 1

#define SPOOL_VARIABLE  "ACME_ALPN_SPOOL"
#define DEFAULT_CONNECT "127.0.0.1:443"
#define DEFAULT_WAIT    apr_time_from_sec(10)

static const char usage[] =
    "usage: acme-alpn [--spool DIR] add IDENTIFIER VALUE\n"
    "       acme-alpn [--spool DIR] remove IDENTIFIER [VALUE]\n"
    "       acme-alpn [--spool DIR] list [--json]\n"
    "       acme-alpn [--spool DIR] check IDENTIFIER [VALUE] [--connect HOST:PORT]...\n"
    "                               [--wait TIME] [--json]\n"
    "       acme-alpn --help | --version\n"
    "\n"
    "IDENTIFIER is a DNS name in A-labels or an IP address. VALUE is the key authorization, "
    "or\n"
    "its SHA-256 in base64url or hex, or - to read it from standard input.\n"
    "The spool is DIR, else $" SPOOL_VARIABLE ", else " ACME_ALPN_SPOOLDIR ".\n"
    "In place of a directory it may be the URL of a store that a fleet shares "
    "(docs/fleet.md).\n"
    "Exit codes: 0 done or passed, 1 failed, 2 wrong usage, 3 a problem with the spool.\n";

enum { ADD, REMOVE, LIST, CHECK };

static exit_e main_wrong_usage(void)
{
    fputs("acme-alpn --help shows how it is used\n", stderr);
    return EXIT_USAGE;
}

static int main_read_identifier(acme_identifier_t *identifier, const char *text)
{
    acme_error_e error = acme_identifier_from_text(identifier, text);

    if (error != ACME_OK) {
        acme_alpn_complain("identifier '%s': %s", text, acme_error_text(error));
    }
    return error == ACME_OK;
}

/* The value without its line end, checked; NULL after a complaint. */
static const char *main_read_value(acme_digest_t *digest, apr_pool_t *pool,
                                   const char *argument)
{
    char input[ACME_VALUE_MAX + 2] = ""; /* one byte more than is allowed, and a NUL */
    apr_size_t length = strlen(argument);
    acme_error_e error;

    if (strcmp(argument, "-") == 0) {
        argument = input;
        length = fread(input, 1, sizeof(input) - 1, stdin);
    }
    error = acme_digest_parse(digest, argument, length);
    if (error != ACME_OK) {
        acme_alpn_complain("value: %s", acme_error_text(error));
        return NULL;
    }
    return apr_pstrmemdup(pool, argument, strcspn(argument, "\r\n"));
}

/* The digest is NULL where no value was given. */
static exit_e main_check(acme_alpn_options_t *options, const acme_identifier_t *identifier,
                         const acme_digest_t *digest)
{
    acme_digest_t found;
    exit_e code = digest ? EXIT_PASS : acme_alpn_find(&found, options, identifier);

    if (code != EXIT_PASS) {
        return code;
    }
    if (options->connect->nelts == 0) {
        APR_ARRAY_PUSH(options->connect, const char *) = DEFAULT_CONNECT;
    }
    return acme_alpn_check(options, identifier, digest ? digest : &found);
}

static const struct {
    const char *name;
    int arguments_min, arguments_max;
    const char *options; /* the letters of those that it takes besides --spool */
    const char *allowed; /* the same in words */
} commands[] = {
    [ADD] = {"add", 2, 2, "", " and no other option"},
    [REMOVE] = {"remove", 1, 2, "", " and no other option"},
    [LIST] = {"list", 0, 0, "j", " and --json, and no other option"},
    [CHECK] = {"check", 1, 2, "jcw", ", --connect, --wait and --json"},
};

/* Where the spool is the URL of a store: its settings, and the files that they name. A URL can
 * be wrong by itself; a file is part of the spool's state. */
static exit_e main_load_store(acme_alpn_options_t *options)
{
    exit_e wrong = EXIT_USAGE;
    const char *problem;
    acme_store_t *store;

    if (!acme_store_is_url(options->spool)) {
        return EXIT_PASS;
    }
    problem = acme_store_parse(&store, options->pool, options->spool, NULL);
    if (!problem) {
        wrong = EXIT_SPOOL;
        problem = acme_store_load(store, options->pool);
    }
    if (problem) {
        acme_alpn_complain("the store's URL: %s", problem);
        return wrong;
    }
    options->store = store;
    return EXIT_PASS;
}

static exit_e main_run_command(acme_alpn_options_t *options, apr_size_t command, int count,
                               char **operands)
{
    acme_identifier_t identifier;
    acme_digest_t digest;
    const char *value = NULL;
    exit_e code;

    if (count > 0 && !main_read_identifier(&identifier, operands[0])) {
        return EXIT_USAGE;
    }
    if (count > 1) {
        value = main_read_value(&digest, options->pool, operands[1]);
        if (!value) {
            return EXIT_USAGE;
        }
    }
    code = main_load_store(options);
    if (code != EXIT_PASS) {
        return code;
    }
    switch (command) {
    case ADD:
        return acme_alpn_publish(options, &identifier, value);
    case REMOVE:
        return acme_alpn_withdraw(options, &identifier, value ? &digest : NULL);
    case LIST:
        return acme_alpn_list(options);
    default:
        return main_check(options, &identifier, value ? &digest : NULL);
    }
}

static exit_e main_run(acme_alpn_options_t *options, const char *given, int count,
                       char **arguments)
{
    apr_size_t i;

    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(arguments[0], commands[i].name) != 0) {
            continue;
        }
        if (count - 1 < commands[i].arguments_min || count - 1 > commands[i].arguments_max) {
            acme_alpn_complain("%s: wrong number of arguments", commands[i].name);
            return main_wrong_usage();
        }
        if (strspn(given, commands[i].options) != strlen(given)) {
            acme_alpn_complain("%s: takes --spool%s", commands[i].name, commands[i].allowed);
            return main_wrong_usage();
        }
        return main_run_command(options, i, count - 1, arguments + 1);
    }
    acme_alpn_complain("'%s' is not a command: add, remove, list or check", arguments[0]);
    return main_wrong_usage();
}

static void main_set_defaults(acme_alpn_options_t *options, apr_pool_t *pool)
{
    const char *from_environment = getenv(SPOOL_VARIABLE);

    options->pool = pool;
    options->spool =
        from_environment && *from_environment ? from_environment : ACME_ALPN_SPOOLDIR;
    options->store = NULL;
    options->connect = apr_array_make(pool, 1, sizeof(const char *));
    options->wait = DEFAULT_WAIT;
    options->json = 0;
}

/* Takes one option; whether it is right. */
static int main_take_option(acme_alpn_options_t *options, int option, const char *value)
{
    switch (option) {
    case 's':
        options->spool = value;
        if (*value == '\0') {
            acme_alpn_complain("--spool: give a directory, or the URL of a store");
            return 0;
        }
        return 1;
    case 'j':
        options->json = 1;
        return 1;
    case 'c':
        APR_ARRAY_PUSH(options->connect, const char *) = value;
        return 1;
    case 'w':
        if (!acme_interval_parse(&options->wait, value)) {
            acme_alpn_complain("--wait: '%s' is not a time; give " ACME_INTERVAL_ALLOWED,
                               value);
            return 0;
        }
        return 1;
    default: /* getopt_long has complained */
        return 0;
    }
}

/* A value may start with one hyphen or more, as base64url may; no option looks like one. */
static int main_is_value(const char *argument)
{
    acme_digest_t digest;

    return *argument == '-' &&
           acme_digest_parse(&digest, argument, strlen(argument)) == ACME_OK;
}

/* What getopt_long returns for the next argument. An operand is OPERAND, and is in optarg. */
static int main_next_argument(int count, char **arguments, const struct option *known)
{
    if (optind < count && main_is_value(arguments[optind])) {
        optarg = arguments[optind++];
        return OPERAND;
    }
    /* The hyphen makes it return operands in their order, and move none. */
    return getopt_long(count, arguments, "-", known, NULL);
}

static exit_e main_parse_and_run(apr_pool_t *pool, int count, char **arguments)
{
    static const struct option known[] = {
        {"spool", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"connect", required_argument, NULL, 'c'},
        {"wait", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    acme_alpn_options_t options;
    apr_array_header_t *operands = apr_array_make(pool, 3, sizeof(char *));
    char given[4] = ""; /* each of j, c and w once */
    int option;

    main_set_defaults(&options, pool);
    while ((option = main_next_argument(count, arguments, known)) != -1) {
        if (option == OPERAND) {
            APR_ARRAY_PUSH(operands, char *) = optarg;
            continue;
        }
        if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_PASS;
        }
        if (option == 'V') {
            puts("acme-alpn " ACME_VERSION);
            return EXIT_PASS;
        }
        if (!main_take_option(&options, option, optarg)) {
            return main_wrong_usage();
        }
        if (option != 's' && !strchr(given, option)) {
            given[strlen(given)] = (char)option;
        }
    }
    while (optind < count) { /* after "--" */
        APR_ARRAY_PUSH(operands, char *) = arguments[optind++];
    }
    if (operands->nelts == 0) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return main_run(&options, given, operands->nelts, (char **)operands->elts);
}

int main(int count, char **arguments)
{
    apr_pool_t *pool;
    exit_e code;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        acme_alpn_complain("APR cannot be initialized");
        return EXIT_FAIL;
    }
    /* A peer that goes away is an outcome, not the end of the tool. */
    signal(SIGPIPE, SIG_IGN);
    code = main_parse_and_run(pool, count, arguments);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        acme_alpn_complain("standard output: %s", strerror(errno));
        code = EXIT_FAIL;
    }
    apr_pool_destroy(pool);
    apr_terminate();
    return (int)code;
}
