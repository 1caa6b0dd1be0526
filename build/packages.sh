# SPDX-License-Identifier: Apache-2.0
# Which Debian packages what needs; sourced by build/bench, build/quickstart, build/check and test/roots/run.
# shellcheck shell=bash disable=SC2034

# apache2-bin and not apache2, which would start a server of its own.
PACKAGES_BUILD=(apache2-bin apache2-dev autoconf automake gcc libapr1-dev libaprutil1-dev
    libhiredis-dev libjansson-dev libssl-dev libtool make pkg-config)

# The CA, the client, and what the private servers are run with.
PACKAGES_DEMO=(certbot pebble openssl python3 python3-cryptography python3-pip python3-setuptools
    python3-wheel)

# What `make check` and test/httpd need besides, on each Debian.
PACKAGES_TEST=(ca-certificates curl dehydrated iproute2 libcmocka-dev python3-asn1crypto python3-pytest
    python3-pytest-xdist python3-scapy redis-server uacme)

# What the checks need besides, on Debian 12 and 13.
# python3-certbot-apache brings Debian's apache2 along, whose server install_packages does not let start.
PACKAGES_CHECK=(caddy clang clang-format libclang-rt-dev debootstrap lego lintian mypy
    prometheus python3-certbot-apache python3-prometheus-client python3-pytest-rerunfailures python3-venv
    shellcheck strace valgrind)

# The servers that build/bench compares with, and how it counts.
PACKAGES_BENCH=(caddy uacme valgrind)

# The links by which services start at boot, systemd's and sysvinit's; either may have no directory. Of sysvinit's
# the number is left open (S[0-9][0-9]ssh), as insserv changes that of any service when it adds one.
boot_links() {
    find /etc/systemd/system/multi-user.target.wants /etc/rc[2-5].d -type l \
        \( -name '*.service' -o -name 'S[0-9][0-9]*' \) 2>/dev/null | sed 's,/S[0-9][0-9],/S[0-9][0-9],' | sort || true
}

# Disable the services whose boot links are not among "$1". This does by hand what `systemctl disable` and
# `update-rc.d disable` do, since a machine may lack either; an upgrade of the package leaves the service disabled.
# Timers are kept: certbot's does nothing before there is a certificate.
disable_other_than() {
    local link numbered
    comm -13 <(echo "$1") <(boot_links) | while IFS= read -r link; do
        case $link in
        /etc/rc*) for numbered in $link; do mv "$numbered" "${numbered/\/S/\/K}"; done ;;
        *)
            echo "It does not start at boot, unless you say: systemctl enable ${link##*/}" >&2
            find /etc/systemd/system -lname "*/${link##*/}" -delete # with its aliases
            ;;
        esac
    done
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

# Run a command during which Debian's packages start no services, and leave none enabled that was not before.
without_services() (
    policy=/usr/sbin/policy-rc.d links=$(boot_links) made=
    trap 'rm -f "$made"; disable_other_than "$links"' EXIT
    if [ ! -e "$policy" ]; then
        made=$policy
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    "$@"
)

# Install those of the named packages that are missing; as root.
install_packages() {
    local missing=() package
    for package in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" != "ii " ]; then
            missing+=("$package")
        fi
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "These Debian packages are missing, and only root can install them: ${missing[*]}" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && without_services apt-get install -q -y --no-install-recommends "${missing[@]}"
}
