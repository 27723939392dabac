"""The edge to what builds, pushes and looks up images: buildah, podman, docker, skopeo."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops import proc
from gitops.errors import ToolError

BUILDERS = ("buildah", "podman", "docker")
# Registries say so in words of their own (distribution-spec: MANIFEST_UNKNOWN, NAME_UNKNOWN).
_ABSENT = re.compile(
    r"manifest unknown|name unknown|not found|no such manifest|repository name not known", re.I
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What Azure's registries take as the name of whoever comes with a token:
# https://learn.microsoft.com/azure/container-registry/container-registry-authentication
_NOBODY = "00000000-0000-0000-0000-000000000000"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Builder:
    """A program of BUILDERS, by its path. `options` go to its build command."""

    program: str
    say: Say
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return Path(self.program).name

    def login(self, registry: str) -> None:
        """Log in to an Azure registry as whom `az` is: a token that ends within hours.

        Raises:
            ToolError: `az` isn't there or not logged in, or this account may not.
        """
        words = ["az", "acr", "login", "--name", registry, "--expose-token", "--output", "json"]
        told = json.loads(proc.run(words, timeout=300).out)
        proc.run(
            [self.program, "login", "--username", _NOBODY, "--password-stdin", told["loginServer"]],
            input=told["accessToken"],
        )

    def build(self, folder: Path, image: str, model: str) -> None:
        """Build `image` from a folder of `context.lay_out`.

        Raises:
            ToolError: it can't be built.
        """
        words = [self.program, "build", "--tag", image, "--build-arg", f"MODEL={model}"]
        if self.name != "docker":
            words += ["--format", "oci"]
        words += [*self.options, "--file", str(folder / "Containerfile"), str(folder)]
        self.say(f"building {image} with {self.name}")
        said: list[str] = []
        if code := proc.stream(words, said.append):
            raise ToolError(
                f"{self.name} can't build {image} (exit code {code}): " + "\n  ".join(said[-12:]),
                fix="is the base image of deploy/Containerfile within reach?",
            )

    def push(self, image: str) -> str:
        """Push it, and what the registry says its digest is, asked again.

        Raises:
            ToolError: the registry refuses it, or hasn't it afterwards.
        """
        self.say(f"pushing {image}")
        proc.run([self.program, "push", *_tls(image, self.name), image])
        digest = self.digest(image)
        if digest is None:
            raise ToolError(
                f"{image} was pushed, and the registry doesn't have it",
                fix="is the registry's name right, and may this account push there?",
            )
        return digest

    def digest(self, image: str) -> str | None:
        """The digest that the registry has under this name; None if it has none.

        Raises:
            ToolError: it can't be asked.
        """
        skopeo = shutil.which("skopeo")
        if skopeo:
            words = [skopeo, "inspect", "--format", "{{.Digest}}", *_tls(image, "skopeo")]
            return _asked([*words, f"docker://{image}"], _if_digest)
        if self.name == "docker":
            words = [self.program, "buildx", "imagetools", "inspect", "--format"]
            return _asked([*words, "{{json .Manifest}}", image], _of_manifest)
        return self._pulled(image)

    def _pulled(self, image: str) -> str | None:
        """By pulling it: buildah and podman have no other way to learn a digest."""
        words = [self.program, "pull", "--quiet", *_tls(image, self.name), image]
        if _asked(words, lambda text: text) is None:
            return None
        found = json.loads(proc.run([self.program, "inspect", "--type", "image", image]).out)
        one = found[0] if isinstance(found, list) else found
        digest = one.get("Digest") or one.get("FromImageDigest") or ""
        return _if_digest(digest)


def find(say: Say) -> Builder:
    """The first of BUILDERS that is installed; GITOPS_IMAGE_BUILD may add options to its build.

    Raises:
        ToolError: none is.
    """
    options = tuple(os.environ.get("GITOPS_IMAGE_BUILD", "").split())
    for name in BUILDERS:
        if program := shutil.which(name):
            return Builder(program, say, options)
    raise ToolError(
        f"nothing that builds images is installed ({', '.join(BUILDERS)})",
        fix="install one of them; buildah needs no daemon",
    )


def _asked(words: Sequence[str], read: Callable[[str], str | None]) -> str | None:
    """What a look-up says; None if the registry hasn't what was asked for."""
    done = proc.run(words, check=False, timeout=300)
    if done.code == 0:
        return read(done.out.strip())
    if _ABSENT.search(done.err):
        return None
    raise proc.failed(words, done)


def _of_manifest(text: str) -> str | None:
    return _if_digest(json.loads(text).get("digest", ""))


def _if_digest(text: str) -> str | None:
    return text if _DIGEST.fullmatch(text) else None


def _tls(image: str, program: str) -> list[str]:
    """A registry on this machine speaks plain HTTP; Docker knows that by itself."""
    host = image.partition("/")[0].partition(":")[0]
    here = host in ("localhost", "127.0.0.1") and program != "docker"
    return ["--tls-verify=false"] if here else []
