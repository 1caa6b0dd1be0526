"""The same httpd twice, with the module and without it, to be asked the same things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from . import poll
from .errorlog import Record
from .server import Httpd

T = TypeVar("T")


class Twins:
    """Set both up alike, start them, and compare what they say."""

    def __init__(self, with_module: Httpd, without: Httpd) -> None:
        self.with_module = with_module
        self.without = without

    def __iter__(self) -> Iterator[Httpd]:
        return iter((self.with_module, self.without))

    def start(self) -> Twins:
        for httpd in self:
            httpd.start()
        return self

    def ask(self, observe: Callable[[Httpd], T]) -> tuple[T, T]:
        """What the server with the module and the one without it say."""
        return observe(self.with_module), observe(self.without)

    def settle(self) -> None:
        """Both have logged the same at `notice` and above since the last time. Whatever it is, it is claimed."""

        def same() -> bool:
            return _codes(self.with_module) == _codes(self.without)

        try:
            poll.until(same, poll.DEADLINE, "both have logged the same")
        except TimeoutError:
            raise AssertionError(f"logged with the module and without it: {self.ask(_codes)}") from None
        finally:
            for httpd in self:
                for record in _unclaimed(httpd):
                    record.claimed = True


def _unclaimed(httpd: Httpd) -> list[Record]:
    return [record for record in httpd.log.refresh() if not record.claimed and record.at_least("notice")]


def _codes(httpd: Httpd) -> list[str]:
    """httpd's and the module's own numbers; lines that have none stand for themselves."""
    return sorted(record.ah or record.tag or record.text for record in _unclaimed(httpd))
