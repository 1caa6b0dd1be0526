"""The plugin through certbot's interfaces, with real challenges of acme and a real server."""
import argparse
import os
import pathlib
import ssl
from typing import List, Optional

import josepy
import pytest
from acme import challenges, messages
from certbot import achallenges, errors
from cryptography.hazmat.primitives.asymmetric import rsa

from certbot_acme_alpn import check, identifier
from certbot_acme_alpn.authenticator import Authenticator
from challenge_certificates import OTHER_KEY_AUTHORIZATION, context, issue, value_for
from loopback_servers import refusing, serving, tls

ACCOUNT_KEY = josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))


def make(*arguments: str, domains: Optional[List[str]] = None) -> Authenticator:
    """The plugin with options as argparse reads them."""
    parser = argparse.ArgumentParser()
    Authenticator.inject_parser_options(parser, "acme-alpn")
    config = parser.parse_args(arguments)
    config.domains = domains or []
    return Authenticator(config, "acme-alpn")


def offer(name: str) -> achallenges.AnnotatedChallenge:
    """What certbot makes of a CA's offer of tls-alpn-01."""
    body = messages.ChallengeBody.from_json({
        "type": "tls-alpn-01", "url": "https://ca.example/1", "status": "pending",
        "token": josepy.b64encode(os.urandom(32)).decode()})
    if "identifier" not in achallenges.KeyAuthorizationAnnotatedChallenge.__slots__:
        return achallenges.KeyAuthorizationAnnotatedChallenge(
            challb=body, domain=name, account_key=ACCOUNT_KEY)
    kind = (messages.IDENTIFIER_FQDN if identifier.parse(name).address is None
            else messages.IdentifierType("ip"))
    return achallenges.KeyAuthorizationAnnotatedChallenge(
        challb=body, account_key=ACCOUNT_KEY,
        identifier=messages.Identifier(typ=kind, value=name))


def reading(directory: str):
    """A responder that reads the spool at each handshake, as the module does."""

    def context_for(server_name: str) -> Optional[ssl.SSLContext]:
        for path in pathlib.Path(directory).glob("[!.]*"):
            if identifier.parse(path.name).server_name == server_name:
                return context(issue([path.name], value_for(path.read_text().rstrip("\n"))))
        return None
    return tls(context_for)


def test_the_type_is_known_to_acme() -> None:
    chall = offer("a.example").challb.chall
    assert chall.typ == "tls-alpn-01"
    assert isinstance(chall, challenges.KeyAuthorizationChallenge)
    assert list(make().get_chall_pref("a.example")) == [type(chall)]


def test_perform_and_cleanup(spool_directory: str) -> None:
    names = ["a.example", "192.0.2.1", "2001:db8::1"]
    offers = [offer(name) for name in names]
    with serving(reading(spool_directory)) as address:
        plugin = make("--acme-alpn-spool", spool_directory, "--acme-alpn-check", str(address))
        plugin.prepare()
        responses = plugin.perform(offers)
    wanted = [offered.key_authorization(ACCOUNT_KEY) for offered in offers]
    assert [response.key_authorization for response in responses] == wanted
    assert all(response.to_partial_json() == {} for response in responses)
    assert {path.name: path.read_text() for path in pathlib.Path(spool_directory).iterdir()} == {
        name: f"{text}\n" for name, text in zip(names, wanted)}
    plugin.cleanup(offers)
    assert os.listdir(spool_directory) == []


def test_a_failed_check_at_one_address(
        spool_directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "WAIT", 1.0)
    offers = [offer("a.example"), offer("b.example")]
    with serving(reading(spool_directory)) as right, refusing() as wrong:
        plugin = make("--acme-alpn-spool", spool_directory,
                      "--acme-alpn-check", str(right), "--acme-alpn-check", str(wrong))
        with pytest.raises(errors.PluginError, match=f"- a.example, b.example at {wrong}: .*refus"):
            plugin.perform(offers)
    plugin.cleanup(offers)
    assert os.listdir(spool_directory) == []


def test_cleanup(spool_directory: str, as_nobody) -> None:
    plugin = make("--acme-alpn-spool", spool_directory, "--acme-alpn-check", "none")
    offers = [offer("a.example"), offer("b.example")]
    plugin.perform(offers)
    with as_nobody(), pytest.raises(errors.PluginError) as raised:
        plugin.cleanup(offers)
    assert all(f"cannot remove {spool_directory}/{name}: Permission denied" in str(raised.value)
               for name in ("a.example", "b.example"))
    pathlib.Path(spool_directory, "a.example").write_text(OTHER_KEY_AUTHORIZATION)
    plugin.cleanup(offers)
    assert os.listdir(spool_directory) == ["a.example"]


def test_wildcards_are_refused(spool_directory: str) -> None:
    make("--acme-alpn-spool", spool_directory, domains=["a.example"]).prepare()
    with pytest.raises(errors.PluginError) as raised:
        make("--acme-alpn-spool", spool_directory,
             domains=["a.example", "*.a.example", "*.b.example"]).prepare()
    said = str(raised.value)
    assert said.startswith("acme-alpn ") and " *.a.example, *.b.example: tls-alpn-01 " in said
    assert "wildcards" in said and "dns-01" in said


def test_prepare_looks_at_the_options(spool_directory: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.NoInstallationError, match="/no does not exist"):
        make("--acme-alpn-spool", f"{tmp_path}/no").prepare()
    with pytest.raises(errors.MisconfigurationError, match="--acme-alpn-check none .* alone"):
        make("--acme-alpn-spool", spool_directory, "--acme-alpn-check", "none",
             "--acme-alpn-check", "127.0.0.1:443").prepare()


def test_a_relative_spool_is_made_absolute(
        spool_directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pathlib.Path(spool_directory).parent)
    plugin = make("--acme-alpn-spool", os.path.basename(spool_directory))
    assert plugin.conf("spool") == spool_directory


@pytest.mark.parametrize("given, said", [
    ("", "--acme-alpn-spool needs the path of a directory"),
    ("/spool\0", "--acme-alpn-spool needs the path of a directory"),
    ("REDIS://127.0.0.1", "'REDIS://127.0.0.1' is not the URL of a store"),
    ("http://store.example", "redis://, rediss:// or unix://"),
])
def test_no_spool(capsys: pytest.CaptureFixture, given: str, said: str) -> None:
    with pytest.raises(SystemExit):
        make("--acme-alpn-spool", given)
    assert said in capsys.readouterr().err


def test_the_hint(spool_directory: str) -> None:
    with refusing() as address:
        text = make("--acme-alpn-spool", spool_directory, "--acme-alpn-check", str(address)
                    ).auth_hint([offer("127.0.0.1")])
    assert f"into {spool_directory}. Before the CA" in text and f"correctly at {address}.\n" in text
    assert f"- 127.0.0.1 at {address}: nothing listens there" in text
    assert "--acme-alpn-check none" in make("--acme-alpn-check", "none").auth_hint([])
