"""A headless chromium, driven over its own debugging protocol."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess

from websockets.sync.client import connect

from .wire import wait_for


class Browser:
    """Pages of one browser; `directory` holds its profile, `more` are options of its own."""

    def __init__(self, directory, *more):
        self.directory = directory
        options = [
            "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--mute-audio", "--no-proxy-server",
            f"--user-data-dir={directory}", "--remote-debugging-port=0", *more]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self.output = open(f"{directory}.txt", "wb")
        self.process = subprocess.Popen(
            [find_browser(), *options, "about:blank"], stdout=self.output, stderr=self.output)
        self.ids = itertools.count(1)
        self.stack = contextlib.ExitStack()
        port_file = os.path.join(directory, "DevToolsActivePort")

        def address():
            assert self.process.poll() is None, f"the browser ended; see {directory}.txt"
            if os.path.exists(port_file):
                with open(port_file) as lines:
                    parts = lines.read().split()
                return parts if len(parts) == 2 else None

        try:
            port, path = wait_for(address, 30, "the browser's start")
            self.socket = self.stack.enter_context(connect(
                f"ws://127.0.0.1:{port}{path}", max_size=64 << 20, compression=None, open_timeout=20))
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self.stack.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def call(self, method, session=None, **parameters):
        """One command's result; events between are passed over."""
        number = next(self.ids)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv(20))
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url):
        """A page in a tab of its own."""
        target = self.call("Target.createTarget", url=url)["targetId"]
        return Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])


class Page:
    def __init__(self, browser, session):
        self.browser = browser
        self.session = session

    def evaluate(self, expression):
        """The value of a JavaScript expression; a promise is waited for."""
        result = self.browser.call(
            "Runtime.evaluate", self.session, expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, seconds=10.0):
        """Waits until an expression is true."""
        return wait_for(lambda: self.evaluate(f"Boolean({expression})"), seconds, expression)


def find_browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise RuntimeError("no chromium: scripts/setup installs it")
