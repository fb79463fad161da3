"""OCSP: responses by the `openssl` command, a responder that is told what to answer, and clients that ask for status."""

import contextlib
import pathlib
import subprocess

from . import ports
from .backend import Backend, reply
from .certificates import background, openssl

TYPE = ("Content-Type", "application/ocsp-response")


def index(directory, *entries):
    """OpenSSL's list of certificates: pairs of a state (`V`, `R`) and a certificate."""
    path = pathlib.Path(directory) / "index.txt"
    lines = []
    for state, certificate in entries:
        serial = certificate.show("-serial").split("=")[1]
        revoked = "240101000000Z" if state == "R" else ""
        lines.append(f"{state}\t491231000000Z\t{revoked}\t{serial}\tunknown\t/CN={serial}\n")
    path.write_text("".join(lines))
    return path


def response(directory, authority, certificate, state="V", signer=None, *options):
    """An OCSP response in DER."""
    directory = pathlib.Path(directory)
    signer = signer or authority
    request, path = directory / "request.der", directory / "response.der"
    openssl("ocsp", "-issuer", authority, "-cert", certificate, "-reqout", request, "-no_nonce")
    openssl("ocsp", "-index", index(directory, (state, certificate)), "-rsigner", signer, "-rkey", signer.key,
            "-CA", authority, "-reqin", request, "-respout", path, *(options or ("-ndays", "5")))
    return path.read_bytes()


@contextlib.contextmanager
def responder(directory, authority, *entries, port=None, options=("-nmin", "60")):
    """`openssl ocsp` as a responder; yields its port."""
    port = port or ports.free_port()
    with background(
            "ocsp", "-index", index(directory, *entries), "-rsigner", authority, "-rkey", authority.key, "-CA",
            authority, "-port", port, *options, ready="waiting for OCSP client connections"):
        yield port


def told(answer, kind=TYPE):
    """A responder that answers `answer()`, in DER; `requests` of the backend are those that came."""
    return Backend(lambda request: reply(body=answer(), headers=[kind]))


def expired(response, key, directory):
    """A response whose times lie in the past, signed anew. The signature must be as long as it was: RSA."""
    tag, start, end = element(response, 0)  # OCSPResponse
    _, start, end = element(response, start)  # responseStatus
    _, start, end = element(response, end)  # [0]
    _, start, end = element(response, start)  # ResponseBytes
    _, start, end = element(response, start)  # responseType
    _, start, end = element(response, end)  # response
    _, start, end = element(response, start)  # BasicOCSPResponse
    begin = start
    _, start, end = element(response, begin)  # tbsResponseData
    body = bytearray(response[begin:end])
    for at in range(len(body) - 16):
        # GeneralizedTime of 15 characters.
        if body[at:at + 2] == b"\x18\x0f":
            body[at + 2:at + 6] = b"2020"
    _, start, algorithm = element(response, end)
    _, start, finish = element(response, algorithm)  # signature
    source, target = pathlib.Path(directory) / "tbs", pathlib.Path(directory) / "signature"
    source.write_bytes(body)
    openssl("dgst", "-sha256", "-sign", key, "-out", target, source)
    signature = target.read_bytes()
    assert finish - start == len(signature) + 1
    return response[:begin] + bytes(body) + response[end:start + 1] + signature + response[finish:]


def element(data, at):
    """Tag, start and end of the contents of the element of DER at `at`."""
    length = data[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7f
        length = int.from_bytes(data[at:at + count], "big")
        at += count
    return data[at - 2], at, at + length


def status(port, authority, *options):
    """What `openssl s_client -status` says of the response; `none`, or lines of it."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-status", "-CAfile",
         str(authority), *options],
        input=b"", capture_output=True, timeout=20)
    text = done.stdout.decode(errors="replace")
    assert "Verify return code: 0 (ok)" in text, text + done.stderr.decode(errors="replace")
    if "OCSP response: no response sent" in text:
        return "none"
    assert "OCSP Response Status: successful" in text
    return next(line.split(":")[1].strip() for line in text.splitlines() if "Cert Status" in line)
