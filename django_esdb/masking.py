"""Keeping passwords and keys out of what is shown, logged and reported."""

from __future__ import annotations

import re
import traceback

from eventsourcing_eventstoredb.text import one_line

STARS = "********"

_SECRET_NAMES = re.compile("API|AUTH|TOKEN|KEY|SECRET|PASS", re.IGNORECASE)
_ADDRESS_NAMES = re.compile("(ESDB|EVENTSTOREDB)_URI$", re.IGNORECASE)
_OURS = r"(?:esdb|kurrentdb|kdb)(?:\+discover)?"
# Whatever stands before it: a repr writes a line break as \n.
_CONNECTION_STRING = re.compile(rf"({_OURS}://)(.*)", re.IGNORECASE)
_ANY_CONNECTION_STRING = re.compile(r"([a-z][a-z0-9+.-]*://)(.*)", re.IGNORECASE)
_HOST = r"(?:\[[0-9a-f:.%]*\]|[^\s:@/?#,\[\]]*)(?::\d*)?"
_HOSTS = re.compile(rf"{_HOST}(?:,{_HOST})*(?=[/?\s'\"]|$)", re.IGNORECASE)
# A secret may stand in the wrong place: only these are shown.
_SCHEME = re.compile(rf"(?:https?|{_OURS})://", re.IGNORECASE)
_QUERY = re.compile(rf"^({_HOST}(?:,{_HOST})*/?)\?([^\s'\"]*)", re.IGNORECASE)
_HARMLESS = re.compile(
    r"(?:Tls|TlsVerifyCert)=(?:true|false|yes|no|on|off)"
    r"|NodePreference=(?:leader|follower|random|readonlyreplica)"
    r"|(?:MaxDiscoverAttempts|DiscoveryInterval|GossipTimeout|DefaultDeadline"
    r"|KeepAliveInterval|KeepAliveTimeout)=-?\d{1,7}"
    r"|",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"//[^\s@]*@")
_PRIVATE_KEY = "PRIVATE KEY-----"


class Masked(str):
    """
    A string whose ``repr`` hides what is secret in it.

    Debug pages and error reporters show local variables by their ``repr``.
    It is the plain string in all else.
    """

    __slots__ = ("_shown",)
    _shown: str

    def __new__(cls, name: str, value: str) -> Masked:
        masked_string = super().__new__(cls, value)
        masked_string._shown = repr(masked(name, value))
        return masked_string

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return ("SECRET", str(self))

    def __repr__(self) -> str:
        return self._shown


def masked(name: str, value: str) -> str:
    """
    Return a value without what is secret in it.

    Args:
        name: Of the setting or environment variable; a name such as
            ``CIPHER_KEY`` means that all of the value is secret.
    """
    if _SECRET_NAMES.search(name) or _PRIVATE_KEY in value:
        return STARS
    if _ADDRESS_NAMES.search(name):
        # Whatever is wrong with it, a password may be in it.
        match = _ANY_CONNECTION_STRING.fullmatch(value.strip())
        return _mask(match) if match else STARS
    return _CONNECTION_STRING.sub(_mask, value)


def _mask(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    if not _SCHEME.fullmatch(scheme):
        scheme = f"{STARS}://"
    _, separator, hosts = rest.rpartition("@")
    if separator:
        return f"{scheme}{STARS}@{_QUERY.sub(_mask_query, hosts)}"
    # A password may stand where a port should, if the host was forgotten.
    if not _HOSTS.match(rest):
        return f"{scheme}{STARS}"
    return f"{scheme}{_QUERY.sub(_mask_query, rest)}"


def _mask_query(match: re.Match[str]) -> str:
    hosts, query = match.groups()
    fields = (
        field if _HARMLESS.fullmatch(field) else STARS for field in query.split("&")
    )
    return f"{hosts}?{'&'.join(fields)}"


def shown_value(value: object, limit: int = 100) -> str:
    """
    Return a setting's value for a message: its ``repr`` in one line, without secrets.

    Args:
        value: Anything; a connection string may stand in the wrong place.
        limit: Most characters.
    """
    try:
        text = repr(value)
    except Exception:
        # Such as one of a number that has too many digits.
        text = f"<{type(value).__name__}>"
    return one_line(without_credentials(text), limit)


def without_credentials(text: str) -> str:
    """
    Return a message in which no address has a user or a password.

    Args:
        text: What repeats a setting that is no address, but may have one all the same.
    """
    if "@" not in text:
        return masked("", text)
    return _CREDENTIALS.sub(f"//{STARS}@", _ANY_CONNECTION_STRING.sub(_mask, text))


def has_password(uri: str) -> bool:
    """Return whether a connection string has a password in it."""
    credentials = uri.partition("://")[2].rpartition("@")[0]
    return bool(credentials.partition(":")[2])


def forget_locals(error: BaseException) -> None:
    """
    Drop the local variables of the frames that an error has come through.

    Those of the library have the whole environment, with every password, and
    pages and reports of errors show them. Where it came through is kept.
    """
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        each = errors.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            errors += [each.__cause__, each.__context__]
