"""Fixtures: a CA that issues through the port of the machine's httpd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import machine  # noqa: F401 (it finds the harness)

from harness.acme import Pebble
from harness.pki import Authority

HTTPS = 443


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pebble(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), authority, HTTPS) as running:
        yield running
