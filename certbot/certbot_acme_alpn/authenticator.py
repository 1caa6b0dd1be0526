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
            help="Directory of httpd's AcmeAlpnSpool, or the URL of a fleet's Redis or Valkey "
                 "(redis://, rediss:// or unix://). "
                 f"(default: {spool.DEFAULT})")
        add("check", metavar="HOST:PORT", type=addresses.option_value,
            action=addresses.Several,
            help="Address at which the plugin checks httpd's answer before the CA validates. For a "
                 "fleet, all nodes with commas between: 192.0.2.1:443,192.0.2.2:443. HOST may be "
                 f"[IPV6]. 'none' turns the check off. (default: {addresses.DEFAULT})")

    def more_info(self) -> str:
        """See certbot.interfaces.Plugin."""
        return (
            "This plugin writes the key authorization of each tls-alpn-01 challenge into the spool "
            f"of mod_acme_alpn ({self.conf('spool')}). Apache httpd answers the CA from the spool "
            "at the next TLS handshake on port 443, without a reload.")

    def prepare(self) -> None:
        """Report what would fail later, before certbot places an order."""
        self._refuse_wildcards()
        self._addresses()
        self._spool().check()

    def get_chall_pref(self, domain: str) -> Iterable[Type[challenges.Challenge]]:
        """See certbot.interfaces.Authenticator."""
        return [challenge.challenge_class()]

    def perform(self, achalls: List[achallenges.AnnotatedChallenge]
                ) -> List[challenges.ChallengeResponse]:
        """Publish every challenge, and check httpd's answers as the CA will."""
        entries = [_entry(achall) for achall in achalls]
        for entry in entries:
            self._spool().publish(entry)
        check.verify(entries, self.conf("spool"), self._addresses(), check.WAIT)
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
        """What the plugin sees and what to do, when the CA's validation failed."""
        return hint.text(self.name, self.conf("spool"), self._spool(),
                         [_entry(achall) for achall in failed_achalls], self._addresses())

    def _spool(self) -> Union[spool.Spool, store.Store]:
        place = self.conf("spool")
        return store.Store(place) if store.is_url(place) else spool.Spool(place)

    def _addresses(self) -> List[addresses.Address]:
        return addresses.configured(self.conf("check"))

    def _refuse_wildcards(self) -> None:
        # Without this certbot fails after it has placed the order, and does not say why.
        wildcards = [name for name in map(str, self.config.domains or []) if name.startswith("*.")]
        if wildcards:
            raise errors.PluginError(
                f"{self.name} cannot get a certificate for {', '.join(wildcards)}: tls-alpn-01 "
                "cannot validate wildcards (RFC 8737). Use a plugin for dns-01, or name each host")


def _directory(text: str) -> str:
    """A store's URL, or an absolute path: a renewal runs in another working directory."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(
            f"{spool.OPTION} needs the path of a directory, or the URL of a store")
    if "://" in text and not store.is_url(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the URL of a store: use redis://, rediss:// or unix://")
    return text if store.is_url(text) else os.path.abspath(text)


def _entry(achall: Any) -> spool.Entry:
    # From certbot 5.3 on achall.identifier may be an IP address; achall.domain is then None.
    given = getattr(achall, "identifier", None)
    text = achall.domain if given is None else given.value
    return spool.Entry(identifier.parse(text), _response(achall).key_authorization)


def _response(achall: Any) -> challenges.KeyAuthorizationChallengeResponse:
    # Not response_and_validation(): acme before 5.0 would generate a key and a certificate.
    response: challenges.KeyAuthorizationChallengeResponse = achall.response(achall.account_key)
    return response
