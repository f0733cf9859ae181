from __future__ import annotations

from pathlib import Path

import pytest

from eventsourcing_eventstoredb.connection_settings import (
    CertificateError,
    ConnectionSettingsError,
    parse_connection,
)

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
    assert dict(parse_connection(both).options)["UserKeyFile"] == str(file)


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
