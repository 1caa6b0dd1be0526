"""Which failures another try may excuse: those of a CA or a client that is not ours and has its own deadlines.

The tests that wait for one are marked `flaky`, which pytest-rerunfailures goes by. A fault of the
server fails them at once, and the report names each try that failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .fault import ServerFault

MARK = "flaky"

# Of the JUnit report, with the failure as its value; build/junit-count looks for it.
PROPERTY = "failed-try"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    outcome: Any = yield
    if call.excinfo is None or not outcome.get_result().failed or not item.get_closest_marker(MARK):
        return
    item.user_properties.append((PROPERTY, call.excinfo.exconly().splitlines()[0]))
    if call.excinfo.errisinstance(ServerFault):
        item.add_marker(pytest.mark.flaky(condition=False), append=False)
