"""Clients of TLS, and a server that answers with what it knows of a handshake."""

import socket
import ssl

from .wire import Reader

FACTS = (
    "$scheme|$https|$ssl_protocol|$ssl_cipher|$ssl_curve|$ssl_server_name|$ssl_session_reused|$ssl_client_verify|"
    "$ssl_alpn_protocol")
FACT_NAMES = [name.lstrip("$") for name in FACTS.split("|")]


def server(certificate, text="", name="", listen=""):
    key = getattr(certificate, "key", None)
    pair = f"ssl_certificate {certificate}; ssl_certificate_key {key};" if certificate else ""
    names = f"server_name {name};" if name else ""
    return (
        f"server {{ listen 127.0.0.1:<port> ssl {listen}; {names} {pair} {text}\n"
        f'  location / {{ return 200 "{FACTS}"; }} }}\n')


def context(authority, certificate=None, least=None, most=None, ciphers=None, protocols=None):
    made = ssl.create_default_context(cafile=str(authority))
    if certificate:
        made.load_cert_chain(certificate.path, certificate.key)
    if least:
        made.minimum_version = least
    if most:
        made.maximum_version = most
    if ciphers:
        made.set_ciphers(ciphers)
    if protocols:
        made.set_alpn_protocols(protocols)
    return made


def open_tls(port, made, name="localhost", session=None):
    raw = socket.create_connection(("127.0.0.1", port), 10)
    return made.wrap_socket(raw, server_hostname=name, session=session)


def ask(sock, target="/", host="localhost", extra=""):
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode())
    return Reader(sock).read_response()


def facts(answer):
    return dict(zip(FACT_NAMES, answer.text.split("|")))


def get(port, made, name="localhost", **rest):
    with open_tls(port, made, name) as sock:
        return ask(sock, host=name, **rest)


V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
