"""Loopback ports that nobody uses, below the kernel's range for outgoing connections."""

import contextlib
import os
import random
import socket

_random = random.Random(os.getpid() ^ int.from_bytes(os.urandom(4), "big"))
_given = set()


def free_port():
    """A port that could be bound a moment ago on both loopback addresses, and not given before."""
    for _ in range(1000):
        port = _random.randrange(20000, 32000)
        if port in _given:
            continue
        try:
            with socket.socket(socket.AF_INET) as v4, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                v4.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
        except OSError:
            continue
        _given.add(port)
        return port
    raise RuntimeError("no free port")


@contextlib.contextmanager
def full_listener():
    """The address of a listener that never accepts and whose queue is full: connecting to it takes forever."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", free_port()))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield "127.0.0.1:%d" % full.getsockname()[1]


def is_listening(port):
    """Whether somebody listens, read from the kernel's table so that no connection is made."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as lines:
                for line in lines:
                    columns = line.split()
                    if columns[1].endswith(wanted) and columns[3] == "0A":
                        return True
        except FileNotFoundError:
            pass
    return False
