"""A virtual environment for the other SDKs, created once in the user's cache folder."""

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

from ..report import show_progress

ROOT: Final = Path(__file__).parents[2]
REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
MEASURED_PACKAGES: Final = (
    "aiohttp",
    "httpx",
    "httpx2",
    "openai",
    "runwayml",
    "google-genai",
    "replicate",
    "fal-client",
)


@attrs.frozen
class Environment:
    """A folder with an interpreter and a certificate."""

    folder: Path

    @property
    def start_module(self) -> Path:
        """Path of the interpreter."""
        return self.folder / "bin" / "python"

    @property
    def certificate(self) -> Path:
        """Path of the server's certificate."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """Path of the certificate's key."""
        return self.folder / "key.pem"

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Returns the environment variables of a child: with this repository on the path and without a proxy."""
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**inherited, "PYTHONPATH": str(ROOT), **extra}

    def versions(self) -> str:
        """Returns the installed versions of the SDKs."""
        listed = (line.split("==") for line in self._run("-m", "pip", "freeze", "--quiet").splitlines())
        installed = {line[0].replace("_", "-"): line[1] for line in listed if len(line) == 2}
        return ", ".join(f"{name} {installed[name]}" for name in MEASURED_PACKAGES)

    def install(self) -> None:
        """Installs the SDKs unless done before; the certificate is written last."""
        if self.certificate.exists():
            return
        show_progress("installing the other SDKs: one or two minutes")
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, with_pip=True)
        self._run("-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS), *_package_requirements())
        self._run("-m", "benchmarks.peers.certificate", str(self.certificate), str(self.key))

    def _run(self, *arguments: str) -> str:
        process = subprocess.run(  # noqa: S603
            [self.start_module, *arguments],
            env=self.variables({}),
            capture_output=True,
            check=False,
            text=True,
            cwd=ROOT,
        )
        if process.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{process.stderr}")
        return process.stdout


def find_environment() -> Environment:
    """Returns the environment for these requirements and this Python."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    contents = "\n".join([REQUIREMENTS.read_text("utf-8"), *_package_requirements(), sys.version])
    return Environment(cache / "rivya-async-benchmarks" / f"peers-{sha256(contents.encode()).hexdigest()[:12]}")


def _package_requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [str(requirement) for requirement in project["dependencies"]]
