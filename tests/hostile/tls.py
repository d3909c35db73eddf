"""Servers that TLS should keep away, and those that only pretend to speak it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.hostile.authority import Authority, Security
from tests.hostile.case import (
    SHORT,
    Act,
    Case,
    Expected,
    Speech,
    Step,
    Then,
    event,
    lives,
    lost,
    not_opened,
    too_slow,
    upgrade,
)
from tests.serving import serving

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
HOST = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
HURRIED = {"connect_timeout": SHORT}
UNTRUSTED = not_opened("the certificate is not trusted", then=Then.STOPS)


def case(name: str, group: str, make: Callable[[Authority], ssl.SSLContext], expected: Expected, **fields: Any) -> Case:
    """A server with these TLS settings, which then opens the WebSocket as it should."""
    speech: Speech = fields.pop("speech", lambda asked: [upgrade(asked) + event("after")])
    return Case(name=f"tls: {name}", group=group, speech=speech, expected=expected, security=Security(make), **fields)


def pretender(name: str, group: str, *steps: Step, expected: Expected, **fields: Any) -> Case:
    """A server that answers the client's hello with these bytes."""
    return Case(
        name=f"tls: {name}",
        group=group,
        speech=lambda asked: steps,
        expected=expected,
        security=Security(),
        hears=False,
        **fields,
    )


def certificate(
    authority: Authority,
    *names: x509.GeneralName,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    common_name: str = "server",
) -> trustme.LeafCert:
    """A certificate of the trusted authority that is right in itself, with what trustme would not write."""
    signer = serialization.load_pem_private_key(authority.ca.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return _signed(
        signer,
        x509.load_pem_x509_certificate(authority.ca.cert_pem.bytes()),
        names,
        usage=usage,
        common_name=common_name,
    )


def by_a_leaf(authority: Authority) -> ssl.SSLContext:
    """A server whose certificate was signed with another server's, which may sign nothing."""
    leaf = authority.ca.issue_cert("leaf.invalid")
    signer = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    chain = [blob.bytes() for blob in leaf.cert_chain_pems]
    issuer = x509.load_pem_x509_certificate(chain[0])
    return serving(_signed(signer, issuer, [HOST], chain=chain))


def _signed(
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    names: Iterable[x509.GeneralName],
    *,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    common_name: str = "server",
    chain: Iterable[bytes] = (),
) -> trustme.LeafCert:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return trustme.LeafCert(private, builder.sign(signer, hashes.SHA256()).public_bytes(pem), list(chain))


def old(version: ssl.TLSVersion) -> Callable[[Authority], ssl.SSLContext]:
    """A server that speaks nothing newer."""

    def make(authority: Authority) -> ssl.SSLContext:
        context = serving(authority.ca.issue_cert("127.0.0.1"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    return make


def demanding(authority: Authority) -> ssl.SSLContext:
    """A server that wants a certificate of the client."""
    context = serving(authority.ca.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    return context


def certificates() -> Iterator[Case]:
    def issued(*names: str, **fields: Any) -> Callable[[Authority], ssl.SSLContext]:
        return lambda authority: serving(authority.ca.issue_cert(*names, **fields))

    yield case(
        "a certificate that signs itself",
        "self-signed",
        lambda authority: serving(self_signed()),
        UNTRUSTED,
    )
    yield case(
        "a certificate of an unknown authority",
        "unknown CA",
        lambda authority: serving(trustme.CA().issue_cert("127.0.0.1")),
        UNTRUSTED,
    )
    yield case(
        "a certificate of an authority of the same name",
        "unknown CA",
        lambda authority: serving(impostor(authority)),
        UNTRUSTED,
    )
    yield case("a certificate that another server's signed", "unknown CA", by_a_leaf, UNTRUSTED)
    for name in ("example.org", "127.0.0.2", "localhost", "::1"):
        yield case(f"a certificate for {name}", "wrong host", issued(name), UNTRUSTED)
    yield case(
        "a certificate with the address as a name",
        "wrong host",
        lambda authority: serving(certificate(authority, x509.DNSName("127.0.0.1"))),
        UNTRUSTED,
    )
    yield case(
        "a certificate with the address only in its subject",
        "wrong host",
        lambda authority: serving(certificate(authority, common_name="127.0.0.1")),
        UNTRUSTED,
    )
    yield case(
        "a certificate for *.0.0.1",
        "wrong host",
        lambda authority: serving(certificate(authority, x509.DNSName("*.0.0.1"))),
        UNTRUSTED,
    )
    yield case(
        "a certificate that is for clients",
        "wrong purpose",
        lambda authority: serving(certificate(authority, HOST, usage=ExtendedKeyUsageOID.CLIENT_AUTH)),
        UNTRUSTED,
    )
    yield case("a certificate that has expired", "expired", issued("127.0.0.1", not_after=NOW - DAY), UNTRUSTED)
    yield case("a certificate of tomorrow", "expired", issued("127.0.0.1", not_before=NOW + DAY), UNTRUSTED)
    yield case(
        "a good certificate with a further name",
        "good",
        lambda authority: serving(certificate(authority, HOST, x509.DNSName("example.org"))),
        lives(),
    )


def self_signed() -> trustme.LeafCert:
    """A certificate and its key, without any authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([HOST]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return trustme.LeafCert(private, built.public_bytes(pem), [])


def impostor(authority: Authority) -> trustme.LeafCert:
    """A certificate that names the trusted authority as its issuer, signed with another key."""
    issuer = x509.load_pem_x509_certificate(authority.ca.cert_pem.bytes())
    return _signed(ec.generate_private_key(ec.SECP256R1()), issuer, [HOST])


def versions() -> Iterator[Case]:
    for name, version in {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1}.items():
        yield case(f"nothing newer than TLS {name}", "TLS versions", old(version), not_opened("protocol"))
    for name, minor in {"SSL 3.0": 0, "TLS 1.0": 1, "TLS 1.1": 2}.items():
        hello = bytes([3, minor]) + bytes(32) + b"\x00\x00\x35\x00"
        handshake = b"\x02" + len(hello).to_bytes(3) + hello
        record = struct.pack("!BBBH", 22, 3, minor, len(handshake)) + handshake
        yield pretender(f"a hello of {name}", "TLS versions", record, expected=not_opened("unsupported protocol"))
    yield case("TLS 1.2 at most", "TLS versions", old(ssl.TLSVersion.TLSv1_2), lives())


def pretenders() -> Iterator[Case]:
    group = "no TLS"
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    no_tls = not_opened("")
    yield pretender("plain HTTP in place of a hello", group, refusal, Act.FIN, expected=no_tls)
    yield pretender("zeros in place of a hello", group, bytes(100), expected=no_tls)
    yield pretender("a WebSocket in place of a hello", group, event("after"), expected=no_tls)
    yield pretender("the end in place of a hello", group, Act.FIN, expected=no_tls)
    yield pretender("a reset in place of a hello", group, Act.RST, expected=not_opened("reset"))
    yield pretender(
        "a reset of each connection as soon as there is one",
        group,
        Act.RST,
        expected=not_opened("reset"),
        waits=False,
        turns=20,
        options={"max_reconnect_attempts": None},
    )
    yield pretender(
        "an alert in place of a hello",
        "TLS alerts",
        bytes.fromhex("15030300020228"),
        expected=not_opened("handshake failure"),
    )
    yield pretender(
        "a warning that does not end it", "TLS alerts", bytes.fromhex("1503030002015a") * 100, expected=no_tls
    )
    yield pretender("a record of 65,535 bytes", "TLS records", b"\x16\x03\x03\xff\xff" + bytes(65_535), expected=no_tls)
    yield pretender(
        "a hello whose rest never comes",
        "silence",
        b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc",
        expected=too_slow(),
        options=HURRIED,
    )
    yield pretender("no hello", "silence", expected=too_slow(), options=HURRIED)
    dripping = [step for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" * 20 for step in (bytes([byte]), 0.05)]
    yield pretender("a hello, dripping", "dripping", *dripping, expected=too_slow(), options=HURRIED)


def good(authority: Authority) -> ssl.SSLContext:
    return authority.good


def later() -> Iterator[Case]:
    """What goes wrong behind a TLS handshake."""
    yield case("a demand for the client's certificate", "TLS alerts", demanding, not_opened(""))
    yield case(
        "no answer behind the TLS handshake",
        "silence",
        good,
        too_slow(),
        speech=lambda asked: [],
        options=HURRIED,
    )
    yield case(
        "the end of the stream without TLS's own",
        "truncation",
        good,
        lost("ended the connection without a close frame"),
        speech=lambda asked: [upgrade(asked) + event("before"), Act.FIN],
    )
    yield case(
        "a reset",
        "truncation",
        good,
        lost(""),
        speech=lambda asked: [upgrade(asked) + event("before"), 0.05, Act.RST],
    )


def cases() -> Iterable[Case]:
    """The table's part."""
    return [*certificates(), *versions(), *pretenders(), *later()]
