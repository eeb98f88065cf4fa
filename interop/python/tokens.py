"""JSON Web Tokens of the case `jwt`, made and judged by PyJWT."""

import json
import pathlib
import time

import jwt

FOLDER = pathlib.Path(__file__).parent.parent / "jwt"
ISSUER = "https://issuer.interop"
AUDIENCE = "https://echo.interop"
SUBJECT = "interop"
ALGORITHMS = {"rsa": "RS256", "p256": "ES256", "ed25519": "EdDSA"}
LIFETIME_S = 600


def private_key(name):
    return (FOLDER / f"{name}.pem").read_text()


def public_keys():
    return jwt.PyJWKSet.from_json((FOLDER / "jwks.json").read_text())


def claims(**changed):
    now = int(time.time())
    known = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + LIFETIME_S}
    return {**known, **changed}


def good(name, **changed):
    return jwt.encode(
        claims(**changed), private_key(name), ALGORITHMS[name], headers={"kid": name}
    )


def bad():
    """Names of what is wrong, and tokens."""
    known = json.loads((FOLDER / "jwks.json").read_text())
    modulus = next(key["n"] for key in known["keys"] if key["kid"] == "rsa")
    other = {"kid": "rsa"}
    return {
        "expired": good("rsa", exp=int(time.time()) - 3600),
        "for others": good("p256", aud="https://other.interop"),
        "by others": good("ed25519", iss="https://other.interop"),
        "unsigned": jwt.encode(claims(), None, "none", headers=other),
        "a secret that all know": jwt.encode(claims(), modulus, "HS256", headers=other),
        "another key's name": jwt.encode(claims(), private_key("p256"), "ES256", headers=other),
        "cut short": good("p256")[:-2],
    }


def subject(token):
    """Whom a token is about. Raises what is wrong with it."""
    name = jwt.get_unverified_header(token).get("kid")
    key = next((key for key in public_keys().keys if key.key_id == name), None)
    if key is None:
        raise jwt.InvalidKeyError("no such key")
    # Each key is for one algorithm.
    algorithms = [ALGORITHMS[name]]
    required = {"require": ["exp", "iat", "sub"]}
    read = jwt.decode(
        token, key, algorithms, audience=AUDIENCE, issuer=ISSUER, options=required
    )
    return read["sub"]
