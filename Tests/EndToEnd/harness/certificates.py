"""Certificates for tests, made with the `openssl` command."""

import contextlib
import pathlib
import subprocess


def openssl(*args, **rest):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, timeout=30, **rest)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(map(str, args))}: {done.stderr}")
    return done.stdout


class Certificate:
    """A certificate with its key: paths to PEM files."""

    def __init__(self, path, key):
        self.path = pathlib.Path(path)
        self.key = pathlib.Path(key)

    def __str__(self):
        return str(self.path)

    @property
    def text(self):
        return self.path.read_text()

    def show(self, *options):
        return openssl("x509", "-in", self.path, "-noout", *options).strip()

    def fingerprint(self):
        return self.show("-fingerprint", "-sha1").split("=")[1].replace(":", "").lower()


class Authority(Certificate):
    """An authority of its own, in a directory; with `parent`, one that another vouches for."""

    def __init__(self, directory, name="authority", parent=None, extensions=""):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        super().__init__(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        self.made = 0
        make_key(self.key, "ec")
        if parent:
            request = self.directory / f"{name}.csr"
            openssl("req", "-new", "-key", self.key, "-subj", f"/O=Test/CN={name}", "-out", request)
            lines = self.directory / f"{name}.ext"
            lines.write_text(
                f"basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n{extensions}\n")
            openssl(
                "x509", "-req", "-in", request, "-CA", parent.path, "-CAkey", parent.key, "-days", 30, "-set_serial",
                1000 + sum(map(ord, name)), "-extfile", lines, "-out", self.path)
            return
        openssl(
            "req", "-x509", "-new", "-key", self.key, "-subj", f"/O=Test/CN={name}", "-days", 30, "-out", self.path,
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, *names, kind="rsa", days=10, subject=None, bits=2048, password=None, extensions=""):
        """A certificate for `names`: hosts, addresses. Of a client with `subject` alone.

        `extensions` are lines of OpenSSL's, besides."""
        self.made += 1
        base = self.directory / f"{self.path.stem}-{self.made}"
        made = Certificate(f"{base}.crt", f"{base}.key")
        make_key(made.key, kind, bits, password)
        signing = ["-passin", f"pass:{password}"] if password else []
        openssl(
            "req", "-new", "-key", made.key, *signing, "-subj", subject or f"/CN={names[0]}", "-out", f"{base}.csr")
        extensions += "\nbasicConstraints=CA:FALSE\n"
        if names:
            kinds = [("IP" if name.replace(".", "").isdigit() else "DNS") + ":" + name for name in names]
            extensions += "subjectAltName=" + ",".join(kinds) + "\n"
        pathlib.Path(f"{base}.ext").write_text(extensions)
        openssl(
            "x509", "-req", "-in", f"{base}.csr", "-CA", self.path, "-CAkey", self.key, "-days", days,
            "-set_serial", 4096 + self.made, "-extfile", f"{base}.ext", "-out", made.path)
        return made

    def revocation_list(self, *revoked):
        """A list of revoked certificates."""
        directory = self.directory / f"{self.path.stem}-crl"
        directory.mkdir(exist_ok=True)
        index, config = directory / "index.txt", directory / "ca.conf"
        index.write_text("")
        (directory / "number").write_text("01")
        config.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={index}\ncrlnumber={directory}/number\ndefault_md=sha256\n"
            "default_crl_days=10\n")
        files = ("-config", config, "-keyfile", self.key, "-cert", self.path)
        for certificate in revoked:
            openssl("ca", *files, "-revoke", certificate.path)
        path = directory / "list.pem"
        openssl("ca", *files, "-gencrl", "-out", path)
        return path


def make_key(path, kind, bits=2048, password=None):
    protection = ["-aes-256-cbc", "-pass", f"pass:{password}"] if password else []
    options = {
        "rsa": ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"],
        "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "rsa-pss": ["-algorithm", "RSA-PSS", "-pkeyopt", f"rsa_keygen_bits:{bits}"],
        "ed25519": ["-algorithm", "ED25519"],
        "ed448": ["-algorithm", "ED448"],
    }[kind]
    openssl("genpkey", *options, *protection, "-out", path)


@contextlib.contextmanager
def background(*args, ready, seconds=10):
    """A command of `openssl` that goes on until the end, once its output has `ready` in it."""
    process = subprocess.Popen(
        ["openssl", *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        seen = b""
        while ready.encode() not in seen:
            piece = process.stdout.read1(4096)
            if not piece:
                raise AssertionError(f"openssl ended: {seen.decode(errors='replace')}")
            seen += piece
        yield process
    finally:
        process.kill()
        process.wait()
