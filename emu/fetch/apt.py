"""A private apt: packages of any Debian architecture, without root and without changing the host's apt.

apt reads the host's configuration first (proxy, checks), then this one, which sets a separate root folder: lists,
cache, an empty dpkg status, one source. The mirror is the host's, from `apt-get indextargets`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from emu.fetch.errors import FetchError, ToolMissing, Unreachable

MIRROR_VARIABLE = "RELINK_EMU_DEBIAN_MIRROR"
_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_SECONDS = 600
_ENVIRONMENT = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def require(*tools: str) -> None:
    """Raises `ToolMissing` unless every tool is installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise ToolMissing(f"fetching real libraries wants {', '.join(missing)}, which this host does not have")


def run(argv: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run a command and return its output. Raises `Unreachable` with its error output."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{Path(argv[0]).name} did not finish within {_SECONDS} seconds") from None
    if done.returncode:
        lines = done.stderr.splitlines()
        complaints = [line for line in lines if line.startswith(("E:", "W:", "dpkg", "tar"))]
        raise Unreachable(f"{Path(argv[0]).name} failed: " + " ".join(complaints[:4] or [done.stderr[-300:]]))
    return done.stdout


def host_mirror() -> str:
    """The URI of the host's Debian mirror, or the one in $RELINK_EMU_DEBIAN_MIRROR. Updates and security archives
    are skipped, as they do not have whole suites. Raises `ToolMissing`, `Unreachable`.
    """
    if given := os.environ.get(MIRROR_VARIABLE):
        return given
    require("apt-get")
    listing = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    )
    for line in listing.splitlines():
        uri, release, component = line.split()
        if component == "main" and uri.rstrip("/").endswith("/debian") and "-" not in release:
            return uri
    raise Unreachable(f"this host's apt has no Debian mirror; name one in ${MIRROR_VARIABLE}")


class PrivateApt:
    """apt with `root` for its state, one Debian `suite`, and `arch` for its architecture.

    `sources` adds the source packages to the lists.
    """

    def __init__(self, root: Path, arch: str, suite: str, *, sources: bool = False) -> None:
        self.root = root.resolve()
        self.arch = arch
        self.suite = suite
        self.sources = sources

    @property
    def _config(self) -> Path:
        return self.root / "apt.conf"

    def _configure(self) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        status = self.root / "state/status"
        status.touch()
        keyring = next((str(path) for path in _KEYRINGS if path.is_file()), None)
        signed = f"[signed-by={keyring}] " if keyring else ""
        kinds = ("deb", "deb-src") if self.sources else ("deb",)
        lines = (f"{kind} {signed}{host_mirror()} {self.suite} main\n" for kind in kinds)
        (self.root / "etc/sources.list").write_text("".join(lines))
        # The hooks of the host's configuration would change the host, so they are cleared.
        self._config.write_text(
            f'Dir "{self.root}";\nDir::State "state";\nDir::State::status "{status}";\n'
            'Dir::Cache "cache";\n'
            'Dir::Etc "etc";\nDir::Etc::sourcelist "sources.list";\nDir::Etc::sourceparts "-";\n'
            f'#clear APT::Architectures;\nAPT::Architecture "{self.arch}";\n'
            f'APT::Architectures "{self.arch}";\n'
            'APT::Sandbox::User "root";\n#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n'
            '#clear APT::Update::Post-Invoke-Success;\nAcquire::Languages "none";\nAcquire::Retries "2";\n'
            'Acquire::http::Timeout "20";\nAcquire::https::Timeout "20";\n'
        )

    def update(self) -> None:
        """Fetches the package lists. Raises `ToolMissing`, `Unreachable`."""
        require("apt-get")
        self._configure()
        # Without Error-Mode, apt-get update returns 0 even if nothing could be fetched.
        run(["apt-get", "-c", self._config, "-q", "-o", "APT::Update::Error-Mode=any", "update"])

    def _fetch(self, words: Sequence[str], into: Path) -> None:
        """Runs apt-get in `into`; lists too old to name files that still exist are renewed once."""
        require("apt-get")
        into.mkdir(parents=True, exist_ok=True)
        fresh = not self._config.is_file()
        if fresh:
            self.update()
        command: list[str | Path] = ["apt-get", "-c", self._config, "-q", *words]
        try:
            run(command, cwd=into)
        except Unreachable:
            if fresh:
                raise
            self.update()
            run(command, cwd=into)

    def download(self, packages: Sequence[str], into: Path) -> list[Path]:
        """The .deb files of `packages`, verified by apt. Raises `ToolMissing`, `Unreachable`."""
        self._fetch(["download", *packages], into)
        return sorted(into.glob("*.deb"))

    def source(self, package: str, into: Path) -> list[Path]:
        """The upstream tarballs of source package `package`. Raises `ToolMissing`, `Unreachable`."""
        # Debian's patches are not needed, and a mirror may lack them for days after an update.
        self._fetch(["source", "--download-only", "--tar-only", package], into)
        return sorted(path for path in into.glob("*.orig.tar.*") if path.suffix != ".asc")


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a source archive into a new folder; returns the folder that it holds. Raises FetchError."""
    with tarfile.open(archive) as tar:
        # Refuses names that lead elsewhere. Python before 3.11.4 cannot; apt has checked whose archive it is.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(into)
    folders = [path for path in into.iterdir() if path.is_dir()]
    if len(folders) != 1:
        raise FetchError(f"{archive.name} holds {len(folders)} folders, not one")
    return folders[0]
