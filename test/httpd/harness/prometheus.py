"""Debian's Prometheus, run privately: on a free port, with its data in a directory of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import commands, poll, ports
from .pki import Authority

PROMETHEUS, PROMTOOL = Path("/usr/bin/prometheus"), Path("/usr/bin/promtool")


class Prometheus:
    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"
        self._process, self._log = process, log

    def _get(self, path: str) -> Any:
        """Nothing while it starts."""
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self._url}/{path}", timeout=10 * poll.FACTOR) as answer:
                return json.load(answer)["data"]
        except urllib.error.URLError:
            return {}

    def wait_until_up(self) -> None:
        """The only target; a scrape that comes to its end too late is followed by another."""
        targets: list[dict[str, Any]] = []

        def is_up() -> bool:
            targets[:] = self._get("targets").get("activeTargets", ())
            return [target["health"] for target in targets] == ["up"]

        try:
            poll.until(is_up, poll.DEADLINE, "Prometheus's target is up")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {targets}") from None

    def number(self, query: str) -> float:
        """The value of a query that has one series, once it has it."""
        path = f"query?{urllib.parse.urlencode({'query': query})}"
        (series,) = poll.until(lambda: self._get(path).get("result"), poll.DEADLINE, f"{query} has a value")
        return float(series["value"][1])


@contextmanager
def scraping(config: str, authority: Authority) -> Iterator[Prometheus]:
    """With these scrape_configs, every 3 seconds; it trusts the authority as it would a public CA."""
    port = ports.choose()
    with tempfile.TemporaryDirectory(prefix="acme-alpn-prometheus-") as directory:
        file, log = Path(directory, "prometheus.yml"), Path(directory, "log")
        file.write_text(f"global:\n  scrape_interval: 3s\n{config}")
        command = [PROMETHEUS, f"--config.file={file}", f"--storage.tsdb.path={directory}/data"]
        command.append(f"--web.listen-address=127.0.0.1:{port}")
        with commands.running(command, log, SSL_CERT_FILE=str(authority.root)) as process:
            yield Prometheus(port, process, log)
