"""A name server with moods."""

import threading

from harness.dns import NameServer

NOBODY = "127.0.0.9"


class MoodyNameServer(NameServer):
    """A name's first label says how it is answered: `one`, `silent`, `late`, `garbled`, `changing`, `missing`,
    `empty`; further labels make names that nobody has asked for yet."""

    def __init__(self, dice):
        self.dice = dice
        super().__init__(ttl=1)

    def respond(self, data, peer):
        if len(data) < 17 or self.stopping:
            return
        name = self._name(data)
        mood = name.split(".")[0]
        self.records[name] = {"missing": [], "empty": []}.get(mood, ["127.0.0.1"])
        if mood == "missing":
            del self.records[name]
        elif mood == "changing":
            self.records[name] = self.dice.choice((["127.0.0.1"], [NOBODY], [NOBODY, "127.0.0.1"]))
        reply = self.answer(data)
        if mood == "silent":
            return
        if mood == "garbled":
            reply = self._garble(reply)
        if mood == "late":
            timer = threading.Timer(self.dice.choice((0.1, 0.4, 0.7)), self._send, (reply, peer))
            timer.daemon = True
            timer.start()
        else:
            self._send(reply, peer)

    def _name(self, query):
        labels, at = [], 12
        while at < len(query) and query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        return ".".join(labels).lower()

    def _garble(self, reply):
        changed = bytearray(reply)
        way = self.dice.random()
        if way < 0.3:
            return bytes(changed[:self.dice.randrange(len(changed))]) or b"\0"
        if way < 0.6:
            return bytes(self.dice.randrange(256) for _ in range(self.dice.randrange(1, 600)))
        # The address stays: nobody but this machine is to be connected to.
        for _ in range(self.dice.choice((1, 2, 8))):
            changed[self.dice.randrange(2, len(changed) - 4)] = self.dice.randrange(256)
        return bytes(changed)

    def _send(self, data, peer):
        try:
            self.sock.sendto(data, peer)
        except OSError:
            pass
