"""Runs groups: their proxies side by side, in rounds of alternating order, in front of one backend."""

import subprocess
import sys
import time
from dataclasses import replace

from harness import ports

from . import peers, process
from .probes import Failed, Generator
from .results import Result


class Session:
    """One group under way."""

    def __init__(self, group, contenders, directory, program, scale):
        self.group = group
        self.contenders = {contender.name: contender for contender in contenders}
        self.directory = directory
        self.scale = scale
        self.generator = Generator(program)
        self.running = {}
        self.started = 0
        self.round = 0
        # By the probe's number and the contender's name: why there is no number.
        self.failures = {}
        self.backend_port = ports.free_port()
        self.backend = subprocess.Popen(
            [program, "backend", f"--listen=127.0.0.1:{self.backend_port}"], stdout=subprocess.DEVNULL,
            preexec_fn=process.leave_first_core)
        while not ports.is_listening(self.backend_port):
            if self.backend.poll() is not None:
                raise SystemExit("bench: the backend ended")
            time.sleep(0.01)

    def start(self, name, workers=1, pinned=True):
        """A proxy of its own for whoever asks."""
        contender = self.contenders[name]
        self.started += 1
        return peers.start(
            contender.kind, replace(contender.setup, workers=workers), self.directory / str(self.started),
            self.backend_port, pinned)

    def proxy(self, name, workers=1, pinned=True):
        """The contender's proxy, which runs until the group is done."""
        key = (name, workers, pinned)
        if key not in self.running:
            self.running[key] = self.start(name, workers, pinned)
        return self.running[key]

    def measure(self, probes, rounds):
        """The results of all probes, in the order of their rows."""
        taken = {}
        for number in range(rounds):
            self.round = number
            for index, probe in enumerate(probes):
                names = self.names(probe)
                for name in names if number % 2 == 0 else names[::-1]:
                    if (index, name) in self.failures:
                        continue
                    try:
                        values = probe.measure(self, name)
                    except Failed as failure:
                        print(f"bench: {probe.rows[0].name}: {name}: {failure}", file=sys.stderr)
                        self.failures[index, name] = str(failure)
                        continue
                    for at, value in enumerate(values):
                        taken.setdefault((index, at), {}).setdefault(name, []).append(value)
            print(f"bench: {self.group.title}: round {number + 1} of {rounds} done", file=sys.stderr)
        return [
            Result(self.group, row, {
                name: taken[index, at][name] for name in self.names(probe)
                if name in taken[index, at] and (index, name) not in self.failures})
            for index, probe in enumerate(probes) for at, row in enumerate(probe.rows) if (index, at) in taken]

    def names(self, probe):
        return [name for name in self.contenders if not probe.only or name in probe.only]

    def stop(self):
        for proxy in self.running.values():
            proxy.stop()
        self.backend.terminate()
        self.backend.wait()
