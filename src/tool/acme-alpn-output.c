/* SPDX-License-Identifier: Apache-2.0 */
#include "acme-alpn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void acme_alpn_complain(const char *format, ...)
{
    va_list values;

    fputs("acme-alpn: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
}

exit_e acme_alpn_complain_spool(const char *spool, const char *detail, acme_error_e error)
{
    const char *text = error == ACME_SYSTEM_ERROR ? strerror(errno) : acme_error_text(error);

    acme_alpn_complain("%s: %s%s%s%s", spool, text, *detail ? " (" : "", detail,
                       *detail ? ")" : "");
    return error == ACME_ENTRY_OTHER_VALUE ? EXIT_FAIL : EXIT_SPOOL;
}

int acme_alpn_print_json(json_t *document)
{
    int done = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) == 0;

    putchar('\n');
    json_decref(document);
    return done;
}
