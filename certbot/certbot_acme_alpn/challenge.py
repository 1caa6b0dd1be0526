# SPDX-License-Identifier: Apache-2.0
"""The acme library's class for the tls-alpn-01 challenge, brought along where it has none.

acme 5.0 removed its own. Without a class of that type certbot takes the CA's offer for a challenge
that it does not know, and never asks a plugin. The classes must be registered before the first
answer of the CA is parsed, hence at import.
"""
from typing import Any, Type

from acme import challenges
from josepy.jwk import JWK

TYPE = "tls-alpn-01"


class TLSALPN01Response(challenges.KeyAuthorizationChallengeResponse):
    """The response that tells the CA to validate."""

    typ = TYPE


class TLSALPN01(challenges.KeyAuthorizationChallenge):
    """RFC 8737: the server proves control with a certificate over the key authorization."""

    response_cls = TLSALPN01Response
    typ = TYPE

    def validation(self, account_key: JWK, **kwargs: Any) -> str:
        """What has to be published: here the key authorization itself."""
        return self.key_authorization(account_key)


def register() -> None:
    """Make the type known to acme, unless acme or another plugin has done so."""
    if TYPE not in challenges.Challenge.TYPES:
        challenges.ChallengeResponse.register(TLSALPN01Response)
        challenges.Challenge.register(TLSALPN01)


def challenge_class() -> Type[challenges.Challenge]:
    """The class in use, whoever registered it: certbot compares classes, not types' names."""
    return challenges.Challenge.TYPES[TYPE]


register()
