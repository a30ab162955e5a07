"""A virtual environment for the peers, made once in the user's cache folder: nothing of it touches the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

from ..report import progress

ROOT: Final = Path(__file__).parents[2]
REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
MEASURED: Final = ("aiohttp", "httpx", "httpx2", "openai", "runwayml", "google-genai", "replicate", "fal-client")


@attrs.frozen
class Environment:
    """A folder with an interpreter and a certificate."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / "bin" / "python"

    @property
    def certificate(self) -> Path:
        """The server's, for clients to trust."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """The key of the certificate."""
        return self.folder / "key.pem"

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        """This process's environment variables for a child: this code importable, no proxy before loopback."""
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**inherited, "PYTHONPATH": str(ROOT), **extra}

    def versions(self) -> str:
        """What is measured, as installed."""
        listed = (line.split("==") for line in self._run("-m", "pip", "freeze", "--quiet").splitlines())
        installed = {line[0].replace("_", "-"): line[1] for line in listed if len(line) == 2}
        return ", ".join(f"{name} {installed[name]}" for name in MEASURED)

    def make(self) -> None:
        """Download and install; a folder that is whole has a certificate."""
        if self.certificate.exists():
            return
        progress("making the environment of the peers: a minute or two")
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, with_pip=True)
        self._run("-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS), *_our_own_requirements())
        self._run("-m", "benchmarks.peers.certificate", str(self.certificate), str(self.key))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603
            [self.python, *arguments], env=self.variables({}), capture_output=True, check=False, text=True, cwd=ROOT
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout


def environment() -> Environment:
    """The environment for these requirements and this Python."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    wanted = "\n".join([REQUIREMENTS.read_text("utf-8"), *_our_own_requirements(), sys.version])
    return Environment(cache / "rivya-async-benchmarks" / f"peers-{sha256(wanted.encode()).hexdigest()[:12]}")


def _our_own_requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [str(requirement) for requirement in project["dependencies"]]
