"""A name and the digest of its challenge, for tests that need any."""

NAME = "example.test"
DIGEST = bytes(range(32))
