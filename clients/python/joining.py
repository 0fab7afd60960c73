"""Joining a market with an invitation code: a key, a certificate for it, and a context that holds both.

The code names the authority's root certificate by its hash. The root is fetched first, compared with the hash, and made
the one authority that is trusted on the connection over which the secret is sent.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from typing import NamedTuple

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from retrying import Failure
from shopping.v1 import enrolment_service_pb2 as enrolment
from shopping.v1 import enrolment_service_pb2_grpc as enrolment_grpc
from shopping.v1 import party_pb2 as party
from shopping.v1 import trust_service_pb2 as trust

PREFIX, VERSION = "souk1", 1
DEFAULT_DOMAIN = "souk.internal"
TIMEOUT = 15.0  # seconds for each step
MAX_ANSWER = 5 * 1024 * 1024  # bytes
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ROLES = {"seller": party.ROLE_SELLER, "buyer": party.ROLE_BUYER, "operator": party.ROLE_OPERATOR}


class Invitation(NamedTuple):
    """What a code says."""

    id: bytes
    secret: bytes
    pin: bytes  # the first half of the SHA-256 of the root certificate
    authority: str  # HOST:PORT
    domain: str

    @classmethod
    def decode(cls, code):
        """Decodes a code. Raises ValueError if a character is missing or wrong."""
        text = "".join(code.split()).lower()
        if not text.startswith(PREFIX):
            raise ValueError(f"this is no invitation code: one begins with `{PREFIX}`; copy the whole word")
        text = text[len(PREFIX) :].upper()
        damaged = ValueError("the invitation code is damaged: a character is missing or wrong; copy the whole word again")
        try:
            data = base64.b32decode(text + "=" * (-len(text) % 8))
        except ValueError:
            raise damaged from None
        data, checksum = data[:-4], data[-4:]
        if len(data) < 43 or hashlib.sha256(data).digest()[:4] != checksum:
            raise damaged
        if data[0] != VERSION:
            raise ValueError(f"the invitation code has version {data[0]}, and this program knows {VERSION}: update it")
        fields, rest = (data[1:9], data[9:25], data[25:41]), data[41:]
        authority, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        domain = rest[1 : 1 + rest[0]]
        return cls(*fields, authority.decode("ascii"), domain.decode("ascii") or DEFAULT_DOMAIN)


class NotTheAuthority(Exception):
    """The server is not the authority of the code. Nothing was sent to it."""


def join(code, role=None, folder=None):
    """Exchanges a code for a certificate. Returns the certificate's path, the market's addresses and the party's name.

    Without a role, that of the invitation is found out, which may leave a refusal in the authority's log. The files are a
    context in `folder`, by default `~/.config/souk/contexts/NAME`, which the command lines use as well (`--context NAME`); a
    party that joins again keeps its context. After an error, call it again with the same code: it continues with the same
    key."""
    invitation = Invitation.decode(code)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "souk"
    for place in (Path(folder),) if folder else (home, home / "contexts"):
        _refuse_exposed(place)
    made = [Path(folder)] if folder else sorted((home / "contexts").glob("*"))
    for context in made:
        if (context / "live").exists() and _is_of(context, invitation):
            _refuse_exposed(context)
            return _result(context)
    joining = (Path(folder) if folder else home) / "joining" / invitation.id.hex()
    _refuse_exposed(joining)
    key = _key(joining / "party.key")
    root = _root(invitation)
    answer, role = _redeem(invitation, key, root, role)
    leaf = x509.load_der_x509_certificate(answer.certificate)
    party_id = _checked(leaf, key, root, role, invitation.domain)
    if not NAME.fullmatch(answer.name):
        raise ValueError("the authority's answer can't be used: the name is none")
    identity = {"role": role, "party": party_id, "trust_domain": invitation.domain}
    named = home / "contexts" / answer.name
    before = [context for context in (named, *made) if _has(context, identity)]
    context = Path(folder) if folder else (before or [named])[0]
    _refuse_exposed(context)
    if (context / "context.toml").exists() and not (_is_of(context, invitation) or _has(context, identity)):
        raise FileExistsError(f"a context {context.name} exists; name another folder, or remove it")
    _install(context, invitation, answer, key, identity)
    shutil.rmtree(joining)
    return _result(context)


def _result(context):
    described = _described(context)
    return context / "live" / "party.pem", described["market"], described["name"]


def _refuse_exposed(folder):
    """Raises PermissionError if others could replace the keys and the authority in a folder."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return
    if found.st_uid not in (os.geteuid(), 0):
        raise PermissionError(f"{folder} belongs to another user, who could replace the keys in it")
    if found.st_mode & 0o022:
        raise PermissionError(f"others may write to {folder}; run: chmod go-w {folder}")


def _create_folder(folder):
    """Creates a folder and its parents, readable only by their owner."""
    if not folder.is_dir():
        _create_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _is_of(context, invitation):
    return _has(context, {"invitation": invitation.id.hex()})


def _has(context, expected):
    """Returns whether the description of a context has these values."""
    try:
        described = _described(context)
    except (OSError, ValueError):
        return False
    return all(described.get(name) == value for name, value in expected.items())


def _described(context):
    """Reads context.toml, whose values are also JSON."""
    lines = (context / "context.toml").read_text().splitlines()
    described = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return {name: json.loads(value) for name, value in described.items()}


def _key(path):
    """Returns the key of an earlier attempt, or a new one, which is kept for the next."""
    _create_folder(path.parent)
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(path, _pem(key), 0o600)
    return serialization.load_pem_private_key(path.read_bytes(), None)


def _pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path, data, mode):
    """Replaces a file. It has its mode from the beginning, and is complete when it appears."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(data)
        file.flush()
        os.fsync(handle)
    os.replace(temporary, path)


def _root(invitation):
    """Fetches the root certificate. The connection is not verified and carries no data; the hash proves the root, and that
    the server is the authority: gRPC compares only its DNS name later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    host, port = invitation.authority.rsplit(":", 1)
    name = f"authority.{invitation.domain}"
    with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT) as tcp:
        with context.wrap_socket(tcp, server_hostname=name) as tls:
            chain = _chain(tls)
    other = NotTheAuthority(f"{invitation.authority} is not the authority of the code; nothing was sent")
    if len(chain) != 2 or hashlib.sha256(chain[1]).digest()[:16] != invitation.pin:
        raise other
    leaf, root = map(x509.load_der_x509_certificate, chain)
    try:
        leaf.verify_directly_issued_by(root)
        if _spiffe_ids(leaf) != [f"spiffe://{invitation.domain}/authority"]:
            raise other
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        raise other from None
    return root


def _spiffe_ids(leaf):
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _chain(tls):
    """Returns the certificates that the server has sent, in DER."""
    if hasattr(tls, "get_unverified_chain"):  # from Python 3.13 on
        return list(tls.get_unverified_chain())
    chain = tls._sslobj.get_unverified_chain() or []
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain]


def _redeem(invitation, key, root, role):
    """Sends the secret, over a connection on which the server has proved to be the authority by this root."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    credentials = grpc.ssl_channel_credentials(root.public_bytes(serialization.Encoding.PEM))
    options = [
        ("grpc.ssl_target_name_override", f"authority.{invitation.domain}"),
        ("grpc.max_receive_message_length", MAX_ANSWER),
    ]
    expected = role or "buyer"
    with grpc.secure_channel(invitation.authority, credentials, options) as channel:
        stub = enrolment_grpc.EnrolmentServiceStub(channel)
        while True:
            request = enrolment.JoinRequest(
                invitation_id=invitation.id, secret=invitation.secret, role=ROLES[expected], csr=csr
            )
            try:
                return stub.Join(request, timeout=TIMEOUT), expected
            except grpc.RpcError as error:
                found = Failure(error).metadata.get("role")
                # A code for another role is not used up.
                if role or found not in ROLES or found == expected:
                    raise
                expected = found


def _checked(leaf, key, root, role, domain):
    """Returns the party's UUID, after checking the certificate against the root, the key and the role."""
    leaf.verify_directly_issued_by(root)
    (spiffe_id,) = _spiffe_ids(leaf)
    prefix = f"spiffe://{domain}/{role}/"
    if leaf.public_key() != key.public_key() or not spiffe_id.startswith(prefix):
        raise ValueError("the authority's answer can't be used: the certificate is for another key or party")
    return spiffe_id.removeprefix(prefix)


def _install(context, invitation, answer, key, identity):
    """Writes the context. A reader sees all of it or nothing: the link is replaced when the files are there."""
    bundle = trust.TrustBundle.FromString(answer.trust.bundle)
    link = context / "live"
    number = int(link.readlink().name) + 1 if link.is_symlink() else 1
    generation = context / "gen" / str(number)
    _create_folder(generation)
    pem = ssl.DER_cert_to_PEM_cert
    lists = [x509.load_der_x509_crl(crl).public_bytes(serialization.Encoding.PEM) for crl in bundle.crls]
    for name, data, mode in [
        ("party.pem", pem(answer.certificate).encode(), 0o644),
        ("party.key", _pem(key), 0o600),
        ("ca.pem", "".join(map(pem, bundle.roots)).encode(), 0o644),
        ("crl.pem", b"".join(lists), 0o644),
        ("trust.bin", answer.trust.SerializeToString(), 0o644),
    ]:
        _write(generation / name, data, mode)
    authorities = list(bundle.authorities) or [invitation.authority]
    described = {
        **identity,
        "name": answer.name,
        "market": list(bundle.markets),
        "authority": authorities,
        "invitation": invitation.id.hex(),
        "ephemeral": answer.ephemeral,
    }
    # Texts, lists of texts and booleans are written alike in TOML and JSON.
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in described.items())
    replaces = link.exists()
    if not replaces:
        _write(context / "context.toml", text.encode(), 0o644)
    following = context / ".live.new"
    following.unlink(missing_ok=True)
    following.symlink_to(Path("gen") / str(number))
    os.replace(following, link)
    # Of a context that had a certificate of an earlier invitation, only now.
    if replaces:
        _write(context / "context.toml", text.encode(), 0o644)
