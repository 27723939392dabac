"""Rules about what shells run: what isn't locked, and what somebody else wrote into it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from gitops.pipelines.lint.model import Hit, Known, Source

# ---------------------------------------------------------------- installs

_PIPED = re.compile(
    r"\b(?:curl|wget)\b[^|;&]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b"
    r"|\b(?:curl|wget)\b[^|;&]*\|\s*(?:sudo\s+)?python3?\b"
    r"|\b(?:ba|z)?sh\s+(?:-c\s+\"?\$\(|<\()\s*(?:curl|wget)\b"
)
_SPLIT = re.compile(r"&&|\|\||[;|]|\$\(|\)")
_BEFORE = (
    *("sudo", "env", "exec", "time"),
    *("if", "then", "else", "elif", "while", "do", "!", "{", "("),
)
_LOCKED = "install from a lock with hashes"


def install(source: Source, known: Known) -> Iterator[Hit]:
    del known
    for job in source.jobs:
        for step in job.steps:
            for script in step.scripts:
                for line in commands(script.text):
                    for message, fix in _unlocked(line):
                        yield Hit(script.place, message, fix, script=script, text=line)


def commands(text: str) -> Iterator[str]:
    """Lines as a shell joins them, without comments and the text of here-documents."""
    end = None
    held = ""
    for line in text.splitlines():
        if end is not None:
            end = None if line.strip() == end else end
            continue
        if line.strip().startswith("#"):
            continue
        held += line
        if held.endswith("\\"):
            held += "\n"
            continue
        here = re.search(r"<<-?\s*['\"]?(\w+)['\"]?", held)
        end = here[1] if here else None
        yield held
        held = ""
    if held:
        yield held


def _unlocked(line: str) -> Iterator[tuple[str, str]]:
    line = line.replace("\\\n", " ")
    if _PIPED.search(line):
        yield "what a server sends today is run", "download, compare its SHA-256, then run it"
    for part in _SPLIT.split(line):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            words = part.split()
        while words and (words[0] in _BEFORE or "=" in words[0]):
            words = words[1:]
        if words and (found := _of(words)):
            yield found


def _of(words: list[str]) -> tuple[str, str] | None:
    program, *rest = words
    program = program.rpartition("/")[2]
    if re.fullmatch(r"python[\d.]*", program) and rest[:2] == ["-m", "pip"]:
        program, rest = "pip", rest[2:]
    if program == "uv" and rest[:1] == ["pip"]:
        program, rest = "pip", rest[1:]
    flags = set(rest)
    if re.fullmatch(r"pip[\d.]*", program) and rest[:1] == ["install"]:
        if not flags & {"--require-hashes", "--no-index"} and not _local(rest[1:]):
            return "pip installs what the index has today", "add --require-hashes, from a lock"
    elif program == "uv" and rest[:1] in (["sync"], ["run"]):
        before = rest[1:] if rest[0] == "sync" else _options(rest[1:])
        free = {"--locked", "--frozen", "--no-sync", "--no-project", "--isolated", "--offline"}
        if not set(before) & free:
            return f"uv {rest[0]} may lock anew", "add --locked"
    elif program in ("uvx", "pipx") or (program == "uv" and rest[:2] == ["tool", "install"]):
        return f"{program} installs what the index has today", _LOCKED
    elif program == "npm" and rest[:1] in (["install"], ["i"]):
        return "npm install may take other versions than the lock", "use npm ci"
    elif program == "yarn" and rest[:1] in ([], ["install"]):
        if not flags & {"--frozen-lockfile", "--immutable"}:
            return "yarn may change the lock", "add --immutable (or --frozen-lockfile)"
    elif program == "cargo" and rest[:1] == ["install"] and "--locked" not in flags:
        return "cargo install ignores the lock", "add --locked"
    elif program == "go" and rest[:1] == ["install"] and any("@latest" in one for one in rest):
        return "go installs what is the latest today", "name a version"
    return None


def _options(words: list[str]) -> list[str]:
    """The words before the command that uv runs."""
    for at, word in enumerate(words):
        if not word.startswith("-") and (at == 0 or not _takes(words[at - 1])):
            return words[:at]
    return words


def _takes(option: str) -> bool:
    """Whether the next word is the option's value."""
    given = (
        "--env-file",
        "--group",
        "--extra",
        "--python",
        "-p",
        "--with",
        "--project",
        "--only-group",
    )
    return option in given


def _local(words: list[str]) -> bool:
    """Only files that are there, and nothing that they need."""
    named = [one for one in words if not one.startswith("-")]
    return "--no-deps" in words and all("/" in one or one.endswith(".whl") for one in named)


# ---------------------------------------------------------------- injection

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_SAFE_ENDS = re.compile(r"[._](?:number|id|sha|before|after|action|merged|draft|private|fork)$")
# What contributors choose: titles, texts, and names of branches.
_GITHUB = re.compile(
    r"github\.(?:event(?:\.(?!inputs\b)[\w.*-]+)?|head_ref|ref_name|ref|base_ref|actor"
    r"|triggering_actor)(?![\w.-])|tojson\(\s*github\s*\)"
    r"|(?:steps|needs)\.[\w-]+\.outputs\.[\w-]+",
    re.IGNORECASE,
)
_INDEX = re.compile(r"\[\s*'([\w-]+)'\s*\]")  # another way to write .name
_INPUT = re.compile(r"(?:github\.event\.)?inputs\.([\w-]+)")
_PARAMETER = re.compile(r"parameters(?:\.(\w+)|\[\s*'(\w+)'\s*\])")
_MACRO = re.compile(
    r"\$\(((?:Build\.(?:SourceBranch(?:Name)?|SourceVersionMessage|SourceVersionAuthor|"
    r"RequestedFor|RequestedForEmail))|System\.PullRequest\.(?:SourceBranch|TargetBranch"
    r"(?:Name)?|SourceRepositoryURI))\)",
    re.IGNORECASE,
)
_FIX = "hand it over in env, and use the variable within quotes"


def injection(source: Source, known: Known) -> Iterator[Hit]:
    del known
    free = _github_inputs(source) if source.platform == "github" else _azure_parameters(source)
    for job in source.jobs:
        for step in job.steps:
            for script in step.scripts:
                for text, what in _foreign(script.text, source.platform, free):
                    message = f"{what} becomes part of the script, whatever it holds"
                    yield Hit(script.place, message, _FIX, script=script, text=text)


def _foreign(text: str, platform: str, free: set[str]) -> Iterator[tuple[str, str]]:
    for found in _EXPRESSION.finditer(text):
        inside = found[1].strip()
        if platform == "github":
            inside = _INDEX.sub(r".\1", inside)
            for one in _GITHUB.finditer(inside):
                if not _SAFE_ENDS.search(one[0]):
                    yield found[0], one[0]
            names = [one[1] for one in _INPUT.finditer(inside)]
            yield from ((found[0], f"inputs.{name}") for name in names if name in free)
        else:
            names = [one[1] or one[2] for one in _PARAMETER.finditer(inside)]
            yield from ((found[0], f"parameters.{name}") for name in names if name in free)
    if platform == "azure":
        yield from ((found[0], found[1]) for found in _MACRO.finditer(text))


def _github_inputs(source: Source) -> set[str]:
    """Inputs of free text."""
    found = set()
    for event in ("workflow_dispatch", "workflow_call"):
        held = source.triggers.get(event)
        inputs = held.get("inputs") if isinstance(held, dict) else None
        for name, one in (inputs if isinstance(inputs, dict) else {}).items():
            kind = one.get("type", "string") if isinstance(one, dict) else "string"
            if kind not in ("boolean", "number", "choice"):
                found.add(name)
    return found


def _azure_parameters(source: Source) -> set[str]:
    """Parameters of free text; a template's are its caller's."""
    held = None if source.is_template else source.data.get("parameters")
    return {
        str(one.get("name"))
        for one in (held if isinstance(held, list) else [])
        if isinstance(one, dict)
        and one.get("type", "string") in ("string", "object")
        and "values" not in one
    }
