# SPDX-License-Identifier: Apache-2.0
"""The plugin as certbot sees it."""
import argparse
import os
from typing import Any, Callable, Iterable, List, Type, Union

from acme import challenges
from certbot import achallenges, errors, interfaces
from certbot.plugins import common

from certbot_acme_alpn import addresses, challenge, check, hint, identifier, spool, store


class Authenticator(common.Plugin, interfaces.Authenticator):
    """Answer tls-alpn-01 through a running Apache httpd with mod_acme_alpn."""

    description = ("Validate with tls-alpn-01 through a running Apache httpd with mod_acme_alpn, "
                   "without restart or reload")

    @classmethod
    def add_parser_arguments(cls, add: Callable[..., None]) -> None:
        """The two options; certbot prefixes them with the plugin's name."""
        add("spool", metavar="DIR", type=_directory, default=spool.DEFAULT,
            help="Directory that mod_acme_alpn reads, its AcmeAlpnSpool; or the URL of the Redis "
                 "that the nodes of a fleet share (redis://, rediss:// or unix://). "
                 f"(default: {spool.DEFAULT})")
        add("check", metavar="HOST:PORT", type=addresses.option_value,
            action=addresses.Several,
            help="Where httpd must answer rightly before the CA is asked to validate; each node of "
                 "a fleet, with commas between: 192.0.2.1:443,192.0.2.2:443. HOST may be [IPV6]; "
                 f"'none' turns the check off. (default: {addresses.DEFAULT})")

    def more_info(self) -> str:
        """See certbot.interfaces.Plugin."""
        return (
            "This plugin puts the key authorization of each tls-alpn-01 challenge into the spool "
            f"of mod_acme_alpn ({self.conf('spool')}). Apache httpd answers from there at the very "
            "next TLS handshake, on port 443, while it goes on serving everybody else.")

    def prepare(self) -> None:
        """Find out now what is sure to fail later."""
        self._refuse_wildcards()
        self._addresses()
        self._spool().check()

    def get_chall_pref(self, domain: str) -> Iterable[Type[challenges.Challenge]]:
        """See certbot.interfaces.Authenticator."""
        return [challenge.challenge_class()]

    def perform(self, achalls: List[achallenges.AnnotatedChallenge]
                ) -> List[challenges.ChallengeResponse]:
        """Publish every challenge, and see httpd answer it as the CA will."""
        entries = [_entry(achall) for achall in achalls]
        for entry in entries:
            self._spool().publish(entry)
        check.verify(entries, self._addresses(), check.WAIT)
        return [_response(achall) for achall in achalls]

    def cleanup(self, achalls: List[achallenges.AnnotatedChallenge]) -> None:
        """Withdraw what perform published. certbot calls this after a failed perform, too."""
        problems = []
        for achall in achalls:
            try:
                self._spool().withdraw(_entry(achall))
            except errors.PluginError as error:
                problems.append(str(error))
        if problems:
            raise errors.PluginError("; ".join(problems))

    def auth_hint(self, failed_achalls: List[achallenges.AnnotatedChallenge]) -> str:
        """What to do when the CA saw something else than we did."""
        return hint.text(self.name, self.conf("spool"), self._spool(),
                         [_entry(achall) for achall in failed_achalls], self._addresses())

    def _spool(self) -> Union[spool.Spool, store.Store]:
        place = self.conf("spool")
        return store.Store(place) if store.is_url(place) else spool.Spool(place)

    def _addresses(self) -> List[addresses.Address]:
        return addresses.configured(self.conf("check"))

    def _refuse_wildcards(self) -> None:
        # certbot would fail by itself, but only at the CA's offer and without saying why.
        wildcards = [name for name in map(str, self.config.domains or []) if name.startswith("*.")]
        if wildcards:
            raise errors.PluginError(
                f"{self.name} cannot get a certificate for {', '.join(wildcards)}: tls-alpn-01 "
                "validates one name at a time and cannot validate wildcards (RFC 8737). Use a "
                "plugin for dns-01, or list the names themselves")


def _directory(text: str) -> str:
    """A store's URL, or an absolute path: a renewal runs in another working directory."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{spool.OPTION} takes the path of a directory")
    if "://" in text and not store.is_url(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the URL of a store, which starts with redis://, rediss:// or unix://")
    return text if store.is_url(text) else os.path.abspath(text)


def _entry(achall: Any) -> spool.Entry:
    # certbot 5.3 brought achall.identifier, and with it IP addresses, for which domain is None.
    given = getattr(achall, "identifier", None)
    text = achall.domain if given is None else given.value
    return spool.Entry(identifier.parse(text), _response(achall).key_authorization)


def _response(achall: Any) -> challenges.KeyAuthorizationChallengeResponse:
    # Not response_and_validation(): acme before 5.0 would generate a key and a certificate.
    response: challenges.KeyAuthorizationChallengeResponse = achall.response(achall.account_key)
    return response
