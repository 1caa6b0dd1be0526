"""The RPM packages from `make dist` to a certificate: Debian's rpm, httpd and certbot, in Fedora's layout."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "test" / "packages"))

from issuer import HTTPS, authority, pebble  # noqa: E402, F401
from machine import Machine  # noqa: E402

from harness.acme import Pebble  # noqa: E402
from harness.pki import Authority  # noqa: E402

NAME = "www.example.com"
PACKAGES = ("acme-alpn", "mod_acme_alpn", "python3-certbot-acme-alpn")
SPOOL = "/var/spool/acme-alpn"
HTTPD = "apache2 -d /etc/httpd -f conf/httpd.conf"
CERTIFICATE = f"/etc/letsencrypt/live/{NAME}/fullchain.pem"
# What the scriptlets call is recorded, and then done.
RECORDERS = "/usr/local/lib/recorders"
CALLS = "/root/calls"
RECORDER = f"""\
#!/bin/sh
echo "${{0##*/}} $*" >>{CALLS}
PATH=/usr/sbin:/usr/bin exec "${{0##*/}}" "$@"
"""
# Debian's rpm wants to be told that it is meant; it knows none of the libraries that dpkg has installed.
RPM = f"rpm --force-debian --nodeps --define '_install_script_path {RECORDERS}:/usr/sbin:/usr/bin'"
MODULE = "/root/packages/*/mod_acme_alpn-[0-9]*.rpm"
RULE = f"{SPOOL}(/.*)?"
PLACEHOLDER = "/run/httpd/acme-alpn-placeholder.pem"
# What httpd-devel brings.
WITH_HTTPD = {"apr-devel", "apr-util-devel", "pkgconfig"}
# What README takes for `make dist` and rpmbuild.
FOR_THE_TARBALL = {"autoconf", "automake", "libtool", "rpm-build"}

# What Fedora's httpd and mod_ssl bring, as far as it matters here; Debian's httpd has mod_watchdog in it.
LAYOUT = {
    "/etc/httpd/conf/httpd.conf": """\
ServerRoot "/etc/httpd"
Include conf.modules.d/*.conf
User www-data
Group www-data
ServerName localhost
DocumentRoot "/var/www/html"
ErrorLog "logs/error_log"
IncludeOptional conf.d/*.conf
""",
    "/etc/httpd/conf.modules.d/00-base.conf": """\
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule socache_shmcb_module modules/mod_socache_shmcb.so
""",
    "/etc/httpd/conf.modules.d/00-mpm.conf": "LoadModule mpm_event_module modules/mod_mpm_event.so\n",
    "/etc/httpd/conf.modules.d/00-ssl.conf": "LoadModule ssl_module modules/mod_ssl.so\n",
    "/etc/httpd/conf.d/ssl.conf": f"""\
Listen {HTTPS} https
SSLSessionCache shmcb:/run/httpd/sslcache(512000)
<VirtualHost _default_:{HTTPS}>
    SSLEngine on
    SSLCertificateFile /etc/pki/tls/certs/localhost.crt
    SSLCertificateKeyFile /etc/pki/tls/private/localhost.key
</VirtualHost>
""",
}


def required(name: str) -> str:
    assert name in os.environ, f"{name} is not set; run test/rpm/run"
    return os.environ[name]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    sources = Path(required("ACME_ALPN_SOURCES"))
    with Machine(required("ACME_ALPN_RPM_ROOT"), tmp_path_factory.mktemp("rpm"), sources) as machine:
        for path, text in LAYOUT.items():
            machine.write(path, text)
        for name in ("restorecon", "semanage", "systemd-tmpfiles"):
            machine.write(f"{RECORDERS}/{name}", RECORDER)
            machine.run(f"chmod 0755 {RECORDERS}/{name}")
        machine.run("mkdir -p /run/httpd /var/log/httpd /var/www/html /usr/lib64/httpd/modules /etc/pki/tls/certs /etc/pki/tls/private")
        machine.run("ln -s /usr/lib/apache2/modules/*.so /usr/lib64/httpd/modules")
        machine.run("cd /etc/httpd && ln -s /usr/lib64/httpd/modules /run/httpd . && mv httpd run && ln -s /var/log/httpd logs")
        machine.run(
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 9 2>/dev/null"
            " -keyout /etc/pki/tls/private/localhost.key -out /etc/pki/tls/certs/localhost.crt"
        )
        yield machine


def rpmbuild(machine: Machine, *options: str) -> str:
    """From the tarball. The build's requirements are Debian's packages, of which rpm knows nothing."""
    command = ("rpmbuild --nodeps --load=/src/test/rpm/macros", *options, "-ta /src/mod_acme_alpn-*.tar.gz")
    return machine.run(" ".join(command))


@pytest.fixture(scope="module")
def built(machine: Machine) -> str:
    machine.run("autoreconf -fi && ./configure && make dist", "/src")
    # The unit tests are run elsewhere; the long form runs them here, too.
    log = rpmbuild(machine, "--noclean", *([] if os.environ.get("ACME_ALPN_LONG") == "1" else ["--without check"]))
    machine.run("mv /root/rpmbuild/RPMS /root/packages")
    return log


def calls(machine: Machine, script: str) -> list[str]:
    """What the scriptlets call meanwhile; what they only ask is not told."""
    machine.run(f"rm -f {CALLS} && {script}")
    made = machine.run(f"cat {CALLS} 2>/dev/null || :").splitlines()
    return [call for call in made if call != "semanage fcontext -l -C"]


@pytest.fixture(scope="module")
def first_install(machine: Machine, built: str) -> list[str]:
    return calls(machine, f"{RPM} -i /root/packages/*/*.rpm")


@pytest.fixture(scope="module")
def installed(machine: Machine, first_install: list[str]) -> Machine:
    machine.run(f"{HTTPD} -t && {HTTPD} -k start")
    return machine


def query(machine: Machine, package: str, what: str) -> list[str]:
    return machine.run(f"rpm -qp {what} /root/packages/*/{package}-[0-9]*.rpm").splitlines()


def context(machine: Machine, path: str) -> str:
    """The SELinux context that the policy and what semanage has added say."""
    return machine.run(f"matchpathcon -n -P /etc/selinux/default {path} || matchpathcon -n {path}").strip()


def test_packages(machine: Machine, built: str) -> None:
    (version,) = re.findall(
        r'(?m)^#define ACME_VERSION "(.*)"$', (REPOSITORY / "include" / "acme_version.h").read_text()
    )
    names = machine.run("cd /root/packages && ls */* | grep -v debug").split()
    arch = os.uname().machine
    assert names == [f"noarch/{PACKAGES[2]}-{version}-1.noarch.rpm"] + [
        f"{arch}/{name}-{version}-1.{arch}.rpm" for name in PACKAGES[:2]
    ]
    module = query(machine, "mod_acme_alpn", "--requires")
    assert "mod_ssl" in module and any(re.fullmatch(r"httpd-mmn = \d{8}\w+", line) for line in module)
    assert "/etc/httpd/conf.modules.d/10-acme_alpn.conf" in query(machine, "mod_acme_alpn", "--configfiles")
    documents = query(machine, "mod_acme_alpn", "--docfiles")
    assert {f"/usr/share/doc/mod_acme_alpn/{name}" for name in ("README", "acme_alpn.fc")} <= set(documents)


def test_readme_installs_what_the_build_requires(machine: Machine, built: str) -> None:
    """All of it: Debian's rpm builds without looking."""
    lines = machine.run("rpmspec -q --buildrequires --load=/src/test/rpm/macros /src/rpm/mod_acme_alpn.spec").splitlines()
    (named,) = re.findall(r"(?m)^    dnf install (autoconf (?:.*\\\n)*.*)$", (REPOSITORY / "README").read_text())
    assert {line.split()[0] for line in lines} == set(named.replace("\\", "").split()) - FOR_THE_TARBALL | WITH_HTTPD


def test_install_makes_the_spool_and_then_labels_it(first_install: list[str]) -> None:
    assert first_install == [
        f"semanage fcontext -a -t httpd_sys_content_t {RULE}",
        "systemd-tmpfiles --create acme-alpn.conf",
        f"restorecon -R {SPOOL}",
    ]


def test_what_the_module_brings(installed: Machine) -> None:
    assert "acme_alpn_module (shared)" in installed.run(f"{HTTPD} -M")
    assert installed.run(f"stat -c '%U:%G %a' {SPOOL}").strip() == "root:root 755"
    installed.run("test -f /usr/share/man/man8/mod_acme_alpn.8* && test -f /usr/share/man/man1/acme-alpn.1*")


def test_challenge_is_answered(installed: Machine) -> None:
    value = "0" * 64
    installed.run(f"acme-alpn add {NAME} {value} && acme-alpn check {NAME} && acme-alpn remove {NAME} {value}")
    assert installed.attempt(f"acme-alpn check {NAME} {value} --wait 0").returncode != 0


def test_plugin_gets_a_certificate(installed: Machine, authority: Authority, pebble: Pebble) -> None:
    installed.write("/usr/local/share/test-ca.pem", authority.root.read_text())
    installed.run(
        "REQUESTS_CA_BUNDLE=/usr/local/share/test-ca.pem certbot certonly -n --agree-tos --register-unsafely-without-email"
        f" --server {pebble.url} -a acme-alpn -d {NAME} --deploy-hook '{HTTPD} -k graceful'"
    )
    assert pebble.validations() == 1
    assert f"DNS:{NAME}" in installed.run(f"openssl x509 -in {CERTIFICATE} -noout -ext subjectAltName")


def test_selinux_context_is_what_the_file_says(installed: Machine) -> None:
    """By the real semanage, with Debian's reference policy; the kernel knows nothing of it."""
    path, expected = re.findall(
        r"(?m)^([^#\s]\S*)\s+gen_context\((.*),s0\)$", (REPOSITORY / "rpm" / "acme_alpn.fc").read_text()
    )[0]
    rules = installed.run("cat /etc/selinux/default/contexts/files/file_contexts.local")
    assert re.search(rf"(?m)^{re.escape(path)} +{expected}:s0$", rules)
    assert context(installed, f"{SPOOL}/{NAME}") == f"{expected}:s0"


def test_upgrade_keeps_what_is_the_administrators(installed: Machine) -> None:
    """By the next release, which is the same build with another number."""
    installed.run(
        "cd /root/rpmbuild/BUILDROOT && set -- mod_acme_alpn-* && mv $1 ${1%.*}.next.${1##*.} &&"
        " rpmbuild --nodeps --load=/src/test/rpm/macros --without check --define 'dist .next' --short-circuit"
        " -bb /src/rpm/mod_acme_alpn.spec"
    )
    installed.run(f"chown www-data {SPOOL} && chmod 0750 {SPOOL} && echo '# mine' >>/etc/httpd/conf.d/acme_alpn.conf")
    installed.run(f"touch {PLACEHOLDER}")
    upgrade = calls(installed, f"{RPM} -U /root/rpmbuild/RPMS/*/mod_acme_alpn-[0-9]*.rpm")
    assert upgrade == ["systemd-tmpfiles --create acme-alpn.conf", f"restorecon -R {SPOOL}"]
    assert "next" in installed.run("rpm -q mod_acme_alpn")
    assert installed.run(f"stat -c '%U:%G %a' {SPOOL}").strip() == "www-data:root 750"
    installed.run(f"grep -q mine /etc/httpd/conf.d/acme_alpn.conf && test -f {PLACEHOLDER}")
    assert "httpd_sys_content_t" in context(installed, SPOOL)


@pytest.mark.parametrize("entry", ["a.test", ""])
def test_removal_keeps_entries_alone(installed: Machine, entry: str) -> None:
    installed.run(f"rpm -q mod_acme_alpn >/dev/null || {RPM} -i {MODULE}")
    installed.run(f"rm -f {SPOOL}/* && touch {SPOOL}/{entry} {PLACEHOLDER}")
    installed.run(f"{RPM} -e mod_acme_alpn")
    assert installed.run(f"ls {SPOOL} 2>/dev/null || echo gone").strip() == (entry or "gone")
    installed.run(f"test ! -e {PLACEHOLDER}")
    assert "Syntax OK" in installed.run(f"{HTTPD} -t")
    assert "acme_alpn" not in installed.run(f"{HTTPD} -M")
    assert "var_spool_t" in context(installed, SPOOL)


def test_the_administrators_rule_and_link_are_kept(installed: Machine) -> None:
    """A rule from before the package, and a spool that is elsewhere."""
    installed.run(f"rm -rf {SPOOL} && mkdir -p /srv/spool && ln -s /srv/spool {SPOOL}")
    installed.run(f"! rpm -q mod_acme_alpn || {RPM} -e mod_acme_alpn")
    installed.run(f"semanage fcontext -a -t public_content_t '{RULE}'")
    assert not [call for call in calls(installed, f"{RPM} -i {MODULE}") if call.startswith("semanage")]
    assert not calls(installed, f"{RPM} -e mod_acme_alpn")
    assert "public_content_t" in context(installed, SPOOL)
    assert installed.run(f"readlink {SPOOL}").strip() == "/srv/spool"
