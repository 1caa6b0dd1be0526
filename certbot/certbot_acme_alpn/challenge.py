# SPDX-License-Identifier: Apache-2.0
"""A class for the tls-alpn-01 challenge, for versions of the acme library that have none.

acme 5.0 removed its own. Without such a class certbot ignores the CA's offer of tls-alpn-01 and
asks no plugin. Registered at import, since certbot parses the CA's first answer soon after.
"""
from typing import Any, Type

from acme import challenges
from josepy.jwk import JWK

TYPE = "tls-alpn-01"


class TLSALPN01Response(challenges.KeyAuthorizationChallengeResponse):
    """The response that tells the CA to validate."""

    typ = TYPE


class TLSALPN01(challenges.KeyAuthorizationChallenge):
    """RFC 8737: the server proves control with a certificate for the key authorization."""

    response_cls = TLSALPN01Response
    typ = TYPE

    def validation(self, account_key: JWK, **kwargs: Any) -> str:
        """What the plugin publishes: the key authorization itself."""
        return self.key_authorization(account_key)


def register() -> None:
    """Make the type known to acme, unless acme or another plugin has done so."""
    if TYPE not in challenges.Challenge.TYPES:
        challenges.ChallengeResponse.register(TLSALPN01Response)
        challenges.Challenge.register(TLSALPN01)


def challenge_class() -> Type[challenges.Challenge]:
    """The class that acme has registered: certbot compares classes, not the names of types."""
    return challenges.Challenge.TYPES[TYPE]


register()
