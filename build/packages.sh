# SPDX-License-Identifier: Apache-2.0
# The Debian packages for each purpose; sourced by build/bench, build/quickstart, build/check and test/roots/run.
# shellcheck shell=bash disable=SC2034

# apache2-bin, because apache2 would start a server.
PACKAGES_BUILD=(apache2-bin apache2-dev autoconf automake gcc libapr1-dev libaprutil1-dev
    libhiredis-dev libjansson-dev libssl-dev libtool make pkg-config)

# The CA, certbot, and the programs that run the private servers.
PACKAGES_DEMO=(certbot pebble openssl python3 python3-cryptography python3-pip python3-setuptools
    python3-wheel)

# Also for `make check` and test/httpd, on each Debian.
PACKAGES_TEST=(ca-certificates curl dehydrated iproute2 libcmocka-dev python3-asn1crypto python3-pytest
    python3-pytest-xdist python3-scapy redis-server uacme)

# Also for build/check, on Debian 12 and 13.
# python3-certbot-apache depends on apache2; install_packages keeps its server from starting.
PACKAGES_CHECK=(caddy clang clang-format libclang-rt-dev debootstrap lego lintian mypy
    prometheus python3-certbot-apache python3-prometheus-client python3-pytest-rerunfailures python3-venv
    shellcheck strace valgrind)

# The servers that build/bench compares with, and valgrind, which counts instructions.
PACKAGES_BENCH=(caddy uacme valgrind)

# The links that start services at boot, of systemd and sysvinit; a machine may lack either directory. Numbers of
# sysvinit become a pattern (S[0-9][0-9]ssh), because insserv may change each of them when it adds a service.
boot_links() {
    find /etc/systemd/system/multi-user.target.wants /etc/rc[2-5].d -type l \
        \( -name '*.service' -o -name 'S[0-9][0-9]*' \) 2>/dev/null | sed 's,/S[0-9][0-9],/S[0-9][0-9],' | sort || true
}

# Disable the services whose boot links are not among "$1". This does the work of `systemctl disable` and
# `update-rc.d disable`, since a machine may lack either; an upgrade of the package keeps the service disabled.
# Timers stay enabled: certbot's does nothing before there is a certificate.
disable_other_than() {
    local link numbered
    comm -13 <(echo "$1") <(boot_links) | while IFS= read -r link; do
        case $link in
        /etc/rc*) for numbered in $link; do mv "$numbered" "${numbered/\/S/\/K}"; done ;;
        *)
            echo "${link##*/} does not start at boot. To change that: systemctl enable ${link##*/}" >&2
            find /etc/systemd/system -lname "*/${link##*/}" -delete # with its aliases
            ;;
        esac
    done
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

# Run a command. Packages that it installs start no service, and enable none that was disabled before.
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

# Install the missing ones of these packages, as root.
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
        echo "Debian packages are missing. As root run: apt-get install ${missing[*]}" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && without_services apt-get install -q -y --no-install-recommends "${missing[@]}"
}
