"""What no second try of a test excuses; see second_try.py."""


class ServerFault(AssertionError):
    """A crash, a line in the log that nobody expected, an ordinary request that failed."""
