"""The container image: built with Docker or buildah from the one `Dockerfile`, and commands run inside it.

buildah is there for machines without a Docker engine: as root it builds the same file with nothing but chroot
(`--isolation chroot`, storage driver vfs), and makes the base image with debootstrap where none can be pulled.

What a host needs to reach its packages (an apt mirror, pip's index, a certificate bundle) is passed as build
secrets: none of it is written into the image or this project.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from emu.fetch.apt import host_mirror
from emu.fetch.errors import FetchError
from toolchains.errors import EngineMissing

ROOT = Path(__file__).resolve().parent.parent
SUITE = "trixie"
BASE = f"docker.io/library/debian:{SUITE}-slim"
STAGES = ("toolchain", "fixtures", "test")
IMAGE: Mapping[str, str] = {"toolchain": "relink-toolchain", "fixtures": "relink-fixtures", "test": "relink-emu"}
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


def run(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Runs a command whose output is shown to the user. Raises `EngineMissing` when it fails."""
    try:
        status = subprocess.run(argv, env={**os.environ, **(environment or {})}, cwd=ROOT).returncode
    except FileNotFoundError:
        raise EngineMissing(f"{argv[0]} is not installed on this host") from None
    if status:
        raise EngineMissing(f"{' '.join(argv[:3])} … ended with status {status}; what it said stands above")


def _said(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """The output of a command, empty when it fails or is not there."""
    try:
        done = subprocess.run(argv, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def pip_configuration(listing: str) -> str:
    """A pip.conf from the output of `pip config list`, without paths of this host."""
    wanted = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        option, text = name.rpartition(".")[2], value.strip("'\"")
        places = [word for word in text.replace("\\n", " ").split() if not word.startswith(("file:", "/"))]
        if option in ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout") and places:
            wanted[option] = " ".join(places)
    return "[global]\n" + "".join(f"{option} = {value}\n" for option, value in wanted.items())


def _certificates() -> Path | None:
    names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    paths = (Path(os.environ[name]) for name in names if os.environ.get(name))
    return next((path for path in paths if path.is_file()), None)


@contextmanager
def secrets() -> Iterator[list[str]]:
    """The `--secret` options that carry this host's package configuration; the files last as long."""
    with tempfile.TemporaryDirectory(prefix="relink-secrets-") as folder:
        files = {}
        try:
            mirror = host_mirror()
        except FetchError:
            mirror = ""
        if mirror:
            files["apt_sources"] = f"deb {mirror} {SUITE} main\n"
        files["pip_conf"] = pip_configuration(_said([sys.executable, "-m", "pip", "config", "list"]))
        options = []
        for name, text in files.items():
            path = Path(folder, name)
            path.write_text(text)
            options += ["--secret", f"id={name},src={path}"]
        if bundle := _certificates():
            options += ["--secret", f"id=ca_bundle,src={bundle}"]
        yield options


class Container(Protocol):
    """A container engine."""

    def build(self, stage: str) -> None:
        """Builds the image of `stage`, one of `STAGES`. Raises `EngineMissing`."""

    def run(self, stage: str, argv: Sequence[str], *, mount: bool) -> None:
        """Runs `argv` in the image of `stage`, without a network; `mount` puts this tree at /project.

        Raises `EngineMissing` when it cannot, or when the command fails.
        """

    def size(self, stage: str) -> str:
        """The image's size, for display."""


class Docker:
    """A Docker engine, or whatever answers to the `docker` command (BuildKit is needed, as by default)."""

    def _require(self) -> None:
        if shutil.which("docker") is None or not _said(["docker", "version", "--format", "{{.Server.Version}}"]):
            raise EngineMissing(
                "no Docker engine answers here. Start one, or use --engine buildah (as root: apt-get install "
                "buildah debootstrap), --engine local (Debian 13's cross compilers) or --engine zig (clang only)"
            )

    def build(self, stage: str) -> None:
        self._require()
        proxies = [word for name in _PROXIES if name in os.environ for word in ("--build-arg", name)]
        with secrets() as options:
            run(
                ["docker", "build", "--target", stage, "-t", IMAGE[stage], *options, *proxies, "."],
                {"DOCKER_BUILDKIT": "1"},
            )

    def run(self, stage: str, argv: Sequence[str], *, mount: bool) -> None:
        self._require()
        here = ["--user", f"{os.getuid()}:{os.getgid()}", "-e", "HOME=/tmp", "-v", f"{ROOT}:/project"]
        run(["docker", "run", "--rm", "--network", "none", *(here if mount else ()), IMAGE[stage], *argv])

    def size(self, stage: str) -> str:
        text = _said(["docker", "image", "inspect", "--format", "{{.Size}}", IMAGE[stage]])
        return f"{int(text) / 1e9:.2f} GB" if text else "unknown"


class Buildah:
    """buildah with chroot isolation: no daemon, no namespaces to set up, but root."""

    environment: Mapping[str, str] = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def _require(self) -> None:
        if shutil.which("buildah") is None:
            raise EngineMissing("buildah is not installed: apt-get install buildah debootstrap (as root)")
        if os.geteuid() != 0:
            raise EngineMissing("buildah's chroot isolation wants root here; run this command as root")

    def _buildah(self, *words: str) -> None:
        run(["buildah", *words], self.environment)

    def _said(self, *words: str) -> str:
        return _said(["buildah", *words], self.environment)

    def bootstrap(self) -> None:
        """Makes the base image from a debootstrap tree, when it cannot be pulled. Raises `EngineMissing`."""
        self._require()
        if shutil.which("debootstrap") is None:
            raise EngineMissing("the base image is made with debootstrap: apt-get install debootstrap")
        with tempfile.TemporaryDirectory(prefix="relink-base-") as place:
            tree = f"{place}/root"
            run(["debootstrap", "--variant=minbase", SUITE, tree, host_mirror()])
            # Remove the host's mirror from the tree.
            for stale in ("etc/apt/sources.list", "var/log/bootstrap.log"):
                Path(tree, stale).unlink(missing_ok=True)
            for stale in ("var/lib/apt/lists", "var/cache/apt/archives"):
                shutil.rmtree(Path(tree, stale), ignore_errors=True)
            # As a tar: buildah may not copy a tree with device nodes.
            run(["tar", "-C", tree, "-cf", f"{place}/base.tar", "."])
            shutil.rmtree(tree)
            container = self._said("from", "scratch")
            self._buildah("add", "-q", container, f"{place}/base.tar", "/")
            self._buildah("config", "--cmd", "bash", container)
            self._buildah("commit", "-q", "--rm", container, BASE)

    def build(self, stage: str) -> None:
        self._require()
        if not self._said("images", "-q", BASE):
            print(f"{BASE} is not here yet: made with debootstrap", file=sys.stderr)
            self.bootstrap()
        with secrets() as options:
            self._buildah(
                "bud",
                "--layers",
                "--pull=false",
                "--network",
                "host",
                *options,
                "--target",
                stage,
                "-t",
                IMAGE[stage],
                ".",
            )

    def run(self, stage: str, argv: Sequence[str], *, mount: bool) -> None:
        self._require()
        container = self._said("from", "--pull=false", IMAGE[stage])
        if not container:
            raise EngineMissing(f"there is no image {IMAGE[stage]}: python -m toolchains image --engine buildah")
        here = ("--user", "0:0", "-v", f"{ROOT}:/project") if mount else ()
        # A new network namespace has no connections: chroot isolation alone would share the host's.
        alone = ["unshare", "--net"] if shutil.which("unshare") else []
        try:
            run([*alone, "buildah", "run", *here, container, "--", *argv], self.environment)
        finally:
            self._said("rm", container)

    def size(self, stage: str) -> str:
        lines = self._said("images", "--format", "{{.Size}}", IMAGE[stage]).splitlines()
        return lines[0] if lines else "unknown"


CONTAINERS: Mapping[str, Container] = {"docker": Docker(), "buildah": Buildah()}


def timed_build(engine: str, stage: str) -> str:
    """Builds `stage` and prints the time. Raises `EngineMissing`."""
    started = time.monotonic()
    container = CONTAINERS[engine]
    container.build(stage)
    return f"{IMAGE[stage]}: {container.size(stage)}, {time.monotonic() - started:.0f} s"
