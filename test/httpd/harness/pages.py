"""What README and the pages in docs/ tell an admin to write, as it stands there."""

from __future__ import annotations

import re

from .server import REPOSITORY


def block(page: str, begin: str) -> str:
    """The indented block of README or docs/`page` that begins with this."""
    path = REPOSITORY / (page if page == "README" else f"docs/{page}")
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", path.read_text(), re.MULTILINE)
    matching = [found for found in blocks if found.strip().startswith(begin)]
    assert len(matching) == 1, begin
    return re.sub(r"^    ", "", matching[0], flags=re.MULTILINE).strip() + "\n"
