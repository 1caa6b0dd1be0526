/* SPDX-License-Identifier: Apache-2.0 */
/* acme-alpn(1): manage the spool of mod_acme_alpn, and make a CA's challenge handshake. */
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

#define SPOOL_VARIABLE  "ACME_ALPN_SPOOL"
#define DEFAULT_MAX_AGE apr_time_from_sec(24 * 60 * 60) /* AcmeAlpnMaxAge's */
#define DEFAULT_WAIT    apr_time_from_sec(10)

/* getopt_long returns this for an operand, and for an option its letter. */
#define OPERAND 1

static const char usage[] =
    "usage: acme-alpn [--spool DIR] add IDENTIFIER VALUE\n"
    "       acme-alpn [--spool DIR] remove IDENTIFIER [VALUE]\n"
    "       acme-alpn [--spool DIR] list [--account THUMBPRINT]... [--json]\n"
    "       acme-alpn [--spool DIR] check IDENTIFIER [VALUE] [--connect HOST:PORT]...\n"
    "                               [--account THUMBPRINT]... [--wait TIME] [--json]\n"
    "       acme-alpn [--spool DIR] check --public IDENTIFIER [VALUE]\n"
    "                               [--account THUMBPRINT]... [--wait TIME] [--json]\n"
    "       acme-alpn --help | --version\n"
    "\n"
    "IDENTIFIER is a DNS name in A-labels or an IP address.\n"
    "VALUE is the key authorization or its SHA-256 in base64url or hex; - reads it from\n"
    "standard input.\n"
    "DIR is the spool, or the URL of a Redis or Valkey (docs/fleet.md).\n"
    "Default: $" SPOOL_VARIABLE ", else " ACME_ALPN_SPOOLDIR ".\n"
    "add publishes an entry, remove withdraws it, list shows all entries, and check makes a\n"
    "CA's handshake with httpd until it passes or --wait is over.\n"
    "Exit codes: 0 done or passed, 1 failed, 2 wrong usage, 3 a problem with the spool.\n";

static exit_e main_wrong_usage(void)
{
    fputs("acme-alpn --help shows the usage\n", stderr);
    return EXIT_USAGE;
}

static const struct {
    const char *name, *operands;
    int operands_min, operands_max;
    const char *options; /* their letters; `allowed` names them, after --spool */
    const char *allowed;
} commands[] = {
    [COMMAND_ADD] = {"add", "IDENTIFIER VALUE", 2, 2, "s", " only"},
    [COMMAND_REMOVE] = {"remove", "IDENTIFIER [VALUE]", 1, 2, "s", " only"},
    [COMMAND_LIST] = {"list", "none", 0, 0, "saj", ", --account and --json only"},
    [COMMAND_CHECK] = {"check", "IDENTIFIER [VALUE]", 1, 2, "sacpwj",
                       ", --account, --connect or --public, --wait and --json"},
};

static int main_read_identifier(acme_alpn_options_t *options, const char *text)
{
    acme_error_e error = acme_identifier_from_text(&options->identifier, text);

    if (error != ACME_OK) {
        acme_alpn_complain("identifier '%s': %s", text, acme_error_text(error));
    }
    return error == ACME_OK;
}

static int main_read_value(acme_alpn_options_t *options, const char *argument)
{
    char input[ACME_VALUE_MAX + 2] = ""; /* one byte too many, and a NUL */
    apr_size_t length = strlen(argument);
    acme_error_e error;

    if (strcmp(argument, "-") == 0) {
        argument = input;
        length = fread(input, 1, sizeof(input) - 1, stdin);
    }
    error = acme_digest_parse(&options->digest, argument, length);
    if (error == ACME_OK) {
        error = acme_digest_check_account(&options->digest, options->spool.accounts);
    }
    if (error != ACME_OK) {
        acme_alpn_complain_spool("value", options->digest.account, error);
        return 0;
    }
    options->value = apr_pstrmemdup(options->pool, argument, strcspn(argument, "\r\n"));
    return 1;
}

/* Reads the URL of a store and the files that it names. A wrong URL is wrong usage; a bad file
 * is a problem with the spool. */
static exit_e main_load_store(acme_alpn_options_t *options)
{
    exit_e wrong = EXIT_USAGE;
    const char *problem;
    acme_store_t *store;

    if (!acme_store_is_url(options->spool.directory)) {
        return EXIT_PASS;
    }
    problem = acme_store_parse(&store, options->pool, options->spool.directory, 0, NULL);
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

static exit_e main_run_command(acme_alpn_options_t *options, int count, char **operands)
{
    exit_e code;

    if ((count > 0 && !main_read_identifier(options, operands[0])) ||
        (count > 1 && !main_read_value(options, operands[1]))) {
        return EXIT_USAGE;
    }
    code = main_load_store(options);
    if (code != EXIT_PASS) {
        return code;
    }
    switch (options->command) {
    case COMMAND_LIST:
        return acme_alpn_list(options);
    case COMMAND_CHECK:
        code = options->value ? EXIT_PASS : acme_alpn_entry(options);
        return code == EXIT_PASS ? acme_alpn_check(options) : code;
    default:
        return acme_alpn_entry(options);
    }
}

static exit_e main_run(acme_alpn_options_t *options, const char *given, int count,
                       char **arguments)
{
    int i = COMMAND_ADD;

    while (i <= COMMAND_CHECK && strcmp(arguments[0], commands[i].name) != 0) {
        i++;
    }
    if (i > COMMAND_CHECK) {
        acme_alpn_complain("'%s' is not a command; give add, remove, list or check",
                           arguments[0]);
        return main_wrong_usage();
    }
    if (count - 1 < commands[i].operands_min || count - 1 > commands[i].operands_max) {
        acme_alpn_complain("%s: wrong number of arguments; give %s", commands[i].name,
                           commands[i].operands);
        return main_wrong_usage();
    }
    if (given[strspn(given, commands[i].options)] != '\0' ||
        (options->is_public && options->connect->nelts > 0)) {
        acme_alpn_complain("%s: accepts --spool%s", commands[i].name, commands[i].allowed);
        return main_wrong_usage();
    }
    options->command = (command_e)i;
    return main_run_command(options, count - 1, arguments + 1);
}

/* Returns whether the option and its value are right. */
static int main_take_option(acme_alpn_options_t *options, int option, const char *value)
{
    switch (option) {
    case 's':
        options->spool.directory = value;
        if (*value == '\0') {
            acme_alpn_complain("--spool: give a directory, or the URL of a store");
        }
        return *value != '\0';
    case 'j':
        options->json = 1;
        return 1;
    case 'a':
        if (acme_digest_add_account(options->pool, &options->spool.accounts, value)) {
            return 1;
        }
        acme_alpn_complain("--account: '%s' is not allowed; give " ACME_ACCOUNT_ALLOWED, value);
        return 0;
    case 'c':
        APR_ARRAY_PUSH(options->connect, const char *) = value;
        return 1;
    case 'p':
        options->is_public = 1;
        return 1;
    case 'w':
        if (!acme_interval_parse(&options->wait, value)) {
            acme_alpn_complain("--wait: '%s' is not a time; give " ACME_INTERVAL_ALLOWED,
                               value);
            return 0;
        }
        return 1;
    default: /* getopt_long has printed an error */
        return 0;
    }
}

/* Returns OPERAND (in optarg) or an option's letter. A VALUE of base64url may begin with
 * hyphens; no option has the form of a VALUE. */
static int main_next_argument(int count, char **arguments)
{
    static const struct option known[] = {
        {"spool", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"account", required_argument, NULL, 'a'},
        {"public", no_argument, NULL, 'p'},
        {"connect", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {"wait", required_argument, NULL, 'w'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    const char *next = optind < count ? arguments[optind] : "";
    acme_digest_t digest;

    if (*next == '-' && acme_digest_parse(&digest, next, strlen(next)) == ACME_OK) {
        optarg = arguments[optind++];
        return OPERAND;
    }
    /* "-" makes it return operands in their order. */
    return getopt_long(count, arguments, "-", known, NULL);
}

static exit_e main_parse_and_run(apr_pool_t *pool, int count, char **arguments)
{
    const char *spool = getenv(SPOOL_VARIABLE);
    acme_alpn_options_t options = {
        .pool = pool,
        .spool = {spool && *spool ? spool : ACME_ALPN_SPOOLDIR, DEFAULT_MAX_AGE, NULL},
        .connect = apr_array_make(pool, 1, sizeof(const char *)),
        .wait = DEFAULT_WAIT};
    apr_array_header_t *operands = apr_array_make(pool, 3, sizeof(char *));
    const char *given = "";
    int option;

    while ((option = main_next_argument(count, arguments)) != -1) {
        if (option == OPERAND) {
            APR_ARRAY_PUSH(operands, char *) = optarg;
        } else if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_PASS;
        } else if (option == 'v') {
            puts("acme-alpn " ACME_VERSION);
            return EXIT_PASS;
        } else if (main_take_option(&options, option, optarg)) {
            given = apr_psprintf(pool, "%s%c", given, option);
        } else {
            return main_wrong_usage();
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
        acme_alpn_complain("APR failed to initialize");
        return EXIT_FAIL;
    }
    /* A peer that closes the connection must not end the tool. */
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
