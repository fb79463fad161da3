"""A name server over UDP that answers from a dictionary and records what it is asked."""

import socket
import struct
import threading

from . import ports

A, AAAA, SRV = 1, 28, 33


class NameServer:
    """`records[name]` is a list of addresses, None for no answer at all, or the code of a failure; other names do not exist.

    In a list may be records of services as well: tuples of priority, weight, port and target."""

    def __init__(self, records=None, ttl=30, port=None):
        self.records = dict(records or {})
        self.ttl = ttl
        self.questions = []
        self.port = port or ports.free_port()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", self.port))
        self.stopping = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __str__(self):
        return f"127.0.0.1:{self.port}"

    def asked(self, name, kind=A):
        """How often a name's address, or another kind of record, was asked for."""
        return self.questions.count((name, kind))

    def _serve(self):
        while not self.stopping:
            try:
                data, peer = self.sock.recvfrom(2048)
            except OSError:
                return
            self.respond(data, peer)

    def respond(self, query, peer):
        """Sends what a query is answered with, if it is."""
        if answer := self.answer(query):
            self.sock.sendto(answer, peer)

    def answer(self, query):
        """RFC 1035 §4.1, for one question."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        name = ".".join(labels).lower()
        [kind] = struct.unpack("!H", query[at + 1:at + 3])
        question = query[12:at + 5]
        self.questions.append((name, kind))
        missing = object()
        addresses = self.records.get(name, missing)
        if addresses is None:
            return None
        code = 3 if addresses is missing else 0
        if isinstance(addresses, int):
            code, addresses = addresses, []
        records = b""
        count = 0
        for address in [] if addresses is missing else addresses:
            if isinstance(address, tuple):
                kind_of, packed = SRV, struct.pack("!HHH", *address[:3]) + b"".join(
                    bytes([len(label)]) + label.encode() for label in address[3].split(".") if label) + b"\0"
            elif ":" in address:
                kind_of, packed = AAAA, socket.inet_pton(socket.AF_INET6, address)
            else:
                kind_of, packed = A, socket.inet_pton(socket.AF_INET, address)
            if kind != kind_of:
                continue
            records += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(packed)) + packed
            count += 1
        flags = 0x8180 | code
        return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + question + records

    def stop(self):
        self.stopping = True
        # A datagram wakes the thread.
        self.sock.sendto(b"\0" * 12 + b"\0\0\1\0\1", ("127.0.0.1", self.port))
        self.thread.join(5)
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
