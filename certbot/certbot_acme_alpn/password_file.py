# SPDX-License-Identifier: Apache-2.0
"""The file with the store's password: one line, which others cannot read."""
import os
import stat

from certbot import errors

MAX = 1024


def read(path: str) -> str:
    """The password, or MisconfigurationError in the words of httpd and the tool."""
    try:
        # Should it be a FIFO: wait for no writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check(os.fstat(descriptor))
            return _line(os.read(descriptor, MAX))
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = str(error.strerror)
    except ValueError as error:
        problem = str(error)
    raise errors.MisconfigurationError(f"passwordfile {path}: {problem}")


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise ValueError("it belongs neither to root nor to this user")
    if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ValueError("others than its owner and group can read it, or others than its owner "
                         "can write it; give it mode 0600 or 0640")
    if status.st_size > MAX:
        raise ValueError(f"it has more than {MAX} bytes")


def _line(content: bytes) -> str:
    if b"\0" in content:
        raise ValueError("it has a NUL byte")
    text = content.rstrip(b"\r\n")
    if not text or b"\r" in text or b"\n" in text:
        raise ValueError("it has to hold one line, the password")
    try:
        return text.decode()
    except UnicodeDecodeError:
        # Not its own words, which quote the password.
        raise ValueError("it is not UTF-8") from None
