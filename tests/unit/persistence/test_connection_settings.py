from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.connection_settings import (
    CertificateError,
    ConnectionSettingsError,
    parse_connection,
)
from tests.support.certificates import make_certificate

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("uri", "scheme", "targets"),
    [
        ("esdb://localhost?Tls=false", "esdb", ("localhost:2113",)),
        ("esdb://localhost:1?tls=FALSE", "esdb", ("localhost:1",)),
        ("esdb://localhost:1/?tls=false", "esdb", ("localhost:1",)),
        ("kurrentdb://a,b:2?TLS=false", "esdb", ("a:2113", "b:2")),
        ("kdb://a?Tls=false", "esdb", ("a:2113",)),
        ("ESDB://a?Tls=false", "esdb", ("a:2113",)),
        ("esdb+discover://a?Tls=false", "esdb+discover", ("a:2113",)),
        ("kurrentdb+discover://a:3?Tls=false", "esdb+discover", ("a:3",)),
        ("kdb+discover://a?Tls=false", "esdb+discover", ("a:2113",)),
        ("esdb://[::1]:4?Tls=false", "esdb", ("[::1]:4",)),
        ("esdb://[::1]?Tls=false", "esdb", ("[::1]:2113",)),
    ],
)
def test_documented_forms_are_understood(
    uri: str, scheme: str, targets: tuple[str, ...]
) -> None:
    settings = parse_connection(uri)

    assert settings.scheme == scheme
    assert settings.targets == targets
    assert not settings.tls


@pytest.mark.parametrize(
    ("written", "password"),
    [("a%40b%2Fc%3F", "a@b/c?"), ("a/b@c", "a/b@c"), ("p%C3%A4%25", "pä%")],
)
def test_password_is_decoded_and_kept_out_of_sight(written: str, password: str) -> None:
    settings = parse_connection(f"esdb://admin:{written}@localhost")

    assert (settings.username, settings.password) == ("admin", password)
    assert password not in repr(settings)
    assert written not in settings.client_uri


def test_separate_credentials_take_precedence() -> None:
    settings = parse_connection("esdb://a:b@localhost", username="c", password="d")

    assert (settings.username, settings.password) == ("c", "d")


def test_certificate_is_text_or_a_path(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(PEM)

    for value in (PEM, str(file)):
        settings = parse_connection("esdb://a:b@localhost", root_certificates=value)
        assert settings.root_certificates == PEM
    settings = parse_connection(f"esdb://a:b@localhost?TlsCaFile={file}")
    assert settings.root_certificates == PEM


def test_certificate_is_ignored_without_tls() -> None:
    settings = parse_connection(
        "esdb://localhost?Tls=false", root_certificates="<certificates>"
    )

    assert settings.root_certificates is None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"no certificate"])
def test_file_that_is_no_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)

    with pytest.raises(CertificateError, match=r"ca\.pem"):
        parse_connection("esdb://a:b@localhost", root_certificates=str(file))
    with pytest.raises(CertificateError, match=r"^TlsCaFile: .*the file that is named"):
        parse_connection(f"esdb://a:b@localhost?TlsCaFile={file}")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("Tls=maybe", "must be true or false"),
        ("Tls=false&GossipTimeout=soon", "must be a whole number"),
        ("Tls=false&MaxDiscoverAttempts=0", "must be at least 1"),
        ("Tls=false&NodePreference=nearest", "must be one of leader, follower"),
        ("Tls=false&Colour=red", "unknown field; known are Tls, "),
        ("Tsl=false", r"unknown field \(did you mean Tls\?\)"),
    ],
)
def test_wrong_field_is_refused(query: str, says: str) -> None:
    with pytest.raises(ConnectionSettingsError, match=says):
        parse_connection(f"esdb://localhost?{query}")


def test_discovery_takes_one_host() -> None:
    with pytest.raises(ConnectionSettingsError, match="takes one host, but 2"):
        parse_connection("esdb+discover://a,b?Tls=false")


@pytest.mark.parametrize("port", ["0", "65536", "99999999999"])
def test_port_out_of_range_is_refused(port: str) -> None:
    with pytest.raises(ConnectionSettingsError, match="outside 1 to 65535"):
        parse_connection(f"esdb://localhost:{port}?Tls=false")


def test_a_users_certificate_and_its_key_need_each_other(tmp_path: Path) -> None:
    file = tmp_path / "user.pem"
    file.write_text(PEM)

    for name in ("UserCertFile", "UserKeyFile"):
        with pytest.raises(CertificateError, match=f"{name} alone"):
            parse_connection(f"esdb://a:b@localhost?{name}={file}")
    both = f"esdb://a:b@localhost?UserCertFile={file}&UserKeyFile={file}"
    with pytest.raises(CertificateError, match="must be PEM files of one pair"):
        parse_connection(both)


@pytest.mark.parametrize("credentials", ["", "a:b@"])
@pytest.mark.parametrize(
    "names", ["userCertFile userKeyFile", "user_cert_file User_Key_File"]
)
def test_a_users_certificate_is_read(
    tmp_path: Path, credentials: str, names: str
) -> None:
    pair = make_certificate(tmp_path, "user")
    first, second = names.split()

    settings = parse_connection(
        f"esdb://{credentials}localhost?{first}={pair.file}&{second}={pair.key_file}"
    )

    assert settings.certificate_chain == pair.text
    assert settings.private_key == pair.key_file.read_text()
    assert settings.private_key not in repr(settings)
    assert not settings.options


@pytest.mark.parametrize(
    ("uri", "username", "is_sent"),
    [
        ("esdb://localhost?Tls=false", None, False),
        ("esdb://localhost?Tls=false", "admin", False),
        ("esdb://admin@localhost?Tls=false", None, True),
        ("esdb://admin:other@localhost?Tls=false", "rex", True),
        ("esdb://admin@localhost", None, False),
    ],
)
def test_without_tls_credentials_are_sent_if_the_address_names_a_user(
    uri: str, username: str | None, is_sent: bool
) -> None:
    settings = parse_connection(uri, username=username, password="s3cret")

    assert settings.sends_in_clear is is_sent


def test_a_user_without_a_password_is_refused() -> None:
    with pytest.raises(ConnectionSettingsError, match="there is no password"):
        parse_connection("esdb://admin@localhost?Tls=false")


SECRET = "s3cr3tS3cr3t"
PIECES = st.one_of(
    st.sampled_from(
        [
            *("esdb", "kurrentdb", "kdb", "+discover", "://", "admin", ":", "@", ","),
            *("localhost", "[::1]", ":2113", ":" + "9" * 5000, "?", "&", "=", "/", "#"),
            *("Tls=false", "tls_verify_cert=true", "UserCertFile=", "TlsCaFile=~\0"),
            *(
                "MaxDiscoverAttempts=",
                "9" * 5000,
                "ConnectionName=ü",
                "%00",
                "%",
                "\ud800",
            ),
            *(SECRET, f":{SECRET}@", f"&KeepAliveInterval={SECRET}", "\n"),
        ]
    ),
    st.text(max_size=4),
)
ADDRESSES = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=10).map("".join),
    st.lists(PIECES, max_size=6).map(lambda rest: "esdb://" + "".join(rest)),
    st.lists(PIECES, max_size=4).map(
        lambda rest: "kdb://localhost?Tls=false&" + "".join(rest)
    ),
)


@given(ADDRESSES)
def test_each_text_is_understood_or_refused_in_one_line(uri: str) -> None:
    try:
        settings = parse_connection(uri)
    except ConnectionSettingsError as error:
        said = str(error)
        assert said
        assert said.isprintable()
        assert SECRET.lower() not in said.lower()
    else:
        assert SECRET not in repr(settings) or SECRET in settings.address + str(
            settings.options
        )
        assert urlsplit(settings.client_uri).netloc.endswith(settings.address)


@pytest.mark.parametrize(
    "uri",
    [
        "s3cret://localhost",
        "esdbs3cret://localhost",
        "esdb://localhost?s3cret",
        "esdb://localhost?Tls=false&Tls3cret=x",
        "esdb://localhost?Password=s3cret",
        *(
            f"esdb://admin:changeit@localhost?{name}={value}"
            for name in ("Tls", "TlsVerifyCert", "NodePreference", "GossipTimeout")
            for value in ("s3cret", "true%20s3cret")
        ),
        "esdb://admin:changeit@localhost?TlsCaFile=s3cret",
        "esdb://admin:changeit@localhost?UserCertFile=s3cret&UserKeyFile=s3cret",
    ],
)
def test_nothing_of_a_wrong_connection_string_is_repeated(uri: str) -> None:
    with pytest.raises(ConnectionSettingsError) as raised:
        parse_connection(uri)

    assert "s3cret" not in str(raised.value).lower()
