# SPDX-License-Identifier: Apache-2.0
"""certbot's hint after a failure at the CA: what the plugin sees now, here and from outside."""
import time
from concurrent.futures import ThreadPoolExecutor
from typing import List, Optional, Sequence, Tuple, Union

from certbot_acme_alpn import check, error_log, resolver
from certbot_acme_alpn.addresses import OPTION, Address
from certbot_acme_alpn.problem import NoConnection, OrdinaryCertificate, Problem, Refused
from certbot_acme_alpn.spool import Entry, Spool
from certbot_acme_alpn.store import Store

# Seconds for name servers, and for all handshakes: the admin waits for the error message.
RESOLVE = 2.0
WAIT = 5.0

# The port that a CA connects to (RFC 8737 §3).
PORT = 443

RIGHT = "answered correctly"
PUBLIC = (
    (OrdinaryCertificate, "an ordinary certificate: a proxy, CDN or other server terminates TLS "
                          "there. Make it pass TLS through to httpd, or correct the DNS record"),
    (Refused, "refused acme-tls/1: a proxy or other server answers there, or this httpd has no "
              "valid entry for the name"),
)


def text(name: str, place: str, spool: Union[Spool, Store], entries: Sequence[Entry],
         addresses: Sequence[Address]) -> str:
    """The hint of the plugin `name`, for the identifiers that failed."""
    shown = entries[:check.SHOWN]
    before = (f"httpd answered them correctly at {', '.join(map(str, addresses))}" if addresses else
              f"the plugin did not check httpd ({OPTION} none)")
    seen = _in_spool(spool, shown) + _at_addresses(shown, addresses)
    return (f"The {name} plugin put the challenges into {place}. Before the CA validated, {before}."
            "\nWhat the plugin sees now"
            + (f" (the first {len(shown)} names)" if len(shown) < len(entries) else "") + ":\n"
            + "\n".join(f"- {line}" for line in seen) + "\n"
            + ("The CA seems to have reached another server"
               if all(line.endswith(RIGHT) for line in seen) else
               f'Correct what does not say "{RIGHT}"') + _advice(entries))


def _advice(entries: Sequence[Entry]) -> str:
    records = any(entry.identifier.address is None for entry in entries)
    return (
        ". Check that:\n- "
        + ("the A and AAAA records of the names lead" if records else "the address leads")
        + " to this httpd\n- port 443 is open to the Internet\n"
        "- no proxy, CDN or load balancer in front of httpd terminates TLS\n"
        "This server may be unable to connect to its own public address, though the CA can.\n"
        f"httpd's error log shows how httpd answered the CA: {error_log.search_command()}\n"
        "- AALPN0102: httpd refused, with the reason\n"
        "- AALPN0101: httpd answered (with LogLevel acme_alpn:info)\n"
        "- neither, with that LogLevel: the CA did not reach this httpd\n"
        "Retry with --dry-run: failed validations count against the CA's rate limits.")


def _in_spool(spool: Union[Spool, Store], entries: Sequence[Entry]) -> List[str]:
    states = [(entry.identifier.text, spool.state(entry)) for entry in entries]
    return [f"{name}: {state}" for name, state in states if state is not None]


def _at_addresses(entries: Sequence[Entry], addresses: Sequence[Address]) -> List[str]:
    now = time.monotonic()
    lines = []
    own = [(address, entry) for address in addresses for entry in entries]
    public: List[Tuple[Address, Entry]] = []
    with ThreadPoolExecutor(check.SHOWN) as pool:
        for entry, found in zip(entries, pool.map(_public_addresses, entries)):
            if isinstance(found, str):
                lines.append(f"{entry.identifier.text}: {found}")
            else:
                public += [(address, entry) for address in found]
    public.sort(key=lambda pair: str(pair[0]))
    for index, (pair, problem) in enumerate(check.problems(own + public, now + WAIT, once=True)):
        address, entry = pair
        lines.append(f"{entry.identifier.text} at " + (
            f"{address}: {problem or RIGHT}" if index < len(own) else
            f"{address.host}: {_seen(problem)}"))
    return lines


def _public_addresses(entry: Entry) -> Union[str, List[Address]]:
    """Where a CA would connect to, or why the plugin cannot find out."""
    if entry.identifier.address is not None:
        return [Address(entry.identifier.text, PORT)]
    try:
        found = resolver.resolve_as_a_ca(entry.identifier.text, PORT, RESOLVE)
    except OSError as error:  # not always a gaierror
        return f"the name cannot be resolved from here ({error.strerror})"
    return [Address(host, PORT) for host in dict.fromkeys(str(where[4][0]) for where in found)]


def _seen(problem: Optional[Problem]) -> str:
    if problem is None:
        return RIGHT
    for kind, words in PUBLIC:
        if isinstance(problem, kind):
            return words
    return problem.seen + (", seen from this server" if isinstance(problem, NoConnection) else "")
