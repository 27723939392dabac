"""The scaffold lock: read back as written, the same bytes every time, git's own ids."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import yaml

from gitops import __version__, contracts
from gitops.errors import ConfigError, EvidenceError, Where
from gitops.scaffold import generator, lock
from gitops.scaffold.render import Rendered

BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
ANSWERS: dict[str, object] = {
    "project": "flights",
    "positive": None,
    "rows": 12,
    "share": 1e-05,
    "no": ["yes", "1e5", 'a "b"', "z\u00fc\U0001f600\u2028"],
    "features": [{"name": "a: b", "type": "number", "calendar": []}],
    "empty": {},
}
LOCK = lock.Lock(
    tool="0.1.0",
    generators=(lock.GeneratorLock("core", "sha256:" + "0" * 64, "shipped", 3),),
    answers=ANSWERS,
    files={
        PurePosixPath("src/x.py"): lock.FileLock("tool", "core", "1234" * 10, executable=True),
        PurePosixPath("README.md"): lock.FileLock("user", "core", BLOB),
        PurePosixPath("it's [odd].txt"): lock.FileLock("user", "core", BLOB, kept=True),
        PurePosixPath("m/z\ufffe.yaml"): lock.FileLock(
            "user", "model", BLOB, model="late", at=PurePosixPath("m/y.yaml")
        ),
    },
    applied={"ci": ["github"], "storage_account": None},
    models={"late": {"target": "arr: delay"}, "early": {}},
)


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "lock.yaml"
    file.write_bytes(lock.dump(LOCK))
    assert lock.read(file) == LOCK
    assert yaml.safe_load(file.read_bytes())["answers"] == ANSWERS


def test_it_is_readable_and_in_order() -> None:
    text = lock.dump(LOCK).decode()
    assert '\n  "README.md": {"owner": "user", "generator": "core", "blob": "e69de29' in text
    assert '\n  "features": [{"name": "a: b", "type": "number", "calendar": []}]\n' in text
    assert text.index("README.md") < text.index("src/x.py")
    other = replace(LOCK, files=dict(reversed(list(LOCK.files.items()))))
    assert lock.dump(other).decode() == text


def test_it_is_read_without_a_parser_of_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand models are five thousand lines: PyYAML and JSON Schema take seconds for them."""
    (tmp_path / "lock.yaml").write_bytes(lock.dump(LOCK))
    monkeypatch.setattr(lock, "_slowly", None)
    assert lock.read(tmp_path / "lock.yaml") == LOCK


@pytest.mark.parametrize(
    "spelled",
    [
        lambda text: text.replace("version: 1\n", "version: 1  # as it was\n"),
        lambda text: text.replace('"project": ', "project:   "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("files:\n", "files:\n  # mine\n"),
    ],
)
def test_another_spelling_is_the_same_lock(tmp_path: Path, spelled: Callable[[str], str]) -> None:
    text = spelled(lock.dump(LOCK).decode())
    (tmp_path / "lock.yaml").write_bytes(text.encode())
    assert lock.read(tmp_path / "lock.yaml") == LOCK


def test_a_lock_of_the_first_version_is_read() -> None:
    file = Path(__file__).parents[1] / "contracts" / "scaffold-lock" / "valid" / "usual.json"
    found = lock.read(file)
    assert found.generators[0].revision == 1
    assert found.files[PurePosixPath("README.md")] == lock.FileLock("user", "core", BLOB)
    assert (found.applied, found.models) == ({}, {})


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("version: 1", "version: 2", 3),
        ('tool: "0.1.0"', 'tool: "0.10.0"', 4),
        ('tool: "0.1.0"', 'tool: "10.0"', 4),
        ('tool: "0.1.0"', 'tool: "whatever"', 4),
    ],
)
def test_a_newer_tools_lock_is_refused(tmp_path: Path, old: str, new: str, line: int) -> None:
    text = lock.dump(LOCK).decode() + "future: {}\n"
    assert old in text
    (tmp_path / "lock.yaml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=r"written by gitops .* newer than this") as caught:
        lock.read(tmp_path / "lock.yaml")
    assert "install gitops" in caught.value.fix
    assert caught.value.where is not None
    assert caught.value.where.line == line


def test_an_older_tools_lock_is_read(tmp_path: Path) -> None:
    old = replace(LOCK, tool="0.0.9rc1")
    (tmp_path / "lock.yaml").write_bytes(lock.dump(old))
    assert lock.read(tmp_path / "lock.yaml") == old


def test_nothing_generated_is_a_lock_too(tmp_path: Path) -> None:
    file = tmp_path / "lock.yaml"
    file.write_bytes(lock.dump(lock.of([], {}, [])))
    assert lock.read(file) == lock.Lock(__version__, (), {}, {})


def test_only_plain_answers() -> None:
    with pytest.raises(TypeError, match="not plain data"):
        lock.dump(lock.of([], {"x": object()}, []))


@pytest.mark.parametrize("content", [b"", b"x\n", bytes(range(256)) * 999])
def test_blob_ids_are_gits(tmp_path: Path, content: bytes) -> None:
    command = ["git", "hash-object", "--stdin", "--no-filters"]
    done = subprocess.run(command, input=content, capture_output=True, check=True, cwd=tmp_path)
    assert lock.blob(content) == done.stdout.decode().strip()


def test_a_lock_of_what_was_rendered(tmp_path: Path) -> None:
    (tmp_path / "template").mkdir()
    (tmp_path / "generator.yaml").write_text("version: 1\nname: one\ndescription: a test\n")
    used = generator.load(tmp_path)
    made = lock.of([used], {"a": 1}, [Rendered(PurePosixPath("x"), b"", False, "tool", "one")])
    assert made.generators == (lock.GeneratorLock("one", used.digest, str(tmp_path)),)
    assert made.files == {PurePosixPath("x"): lock.FileLock("tool", "one", BLOB)}
    contracts.validate("scaffold-lock", yaml.safe_load(lock.dump(made)), Where("x"))


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("version: 1", 'version: "1"', r"\$.version", 3),
        ("version: 1", "version: 1.0", r"\$.version", 3),
        ("version: 1", "version: true", r"\$.version", 3),
        ('"blob": "e69de29', '"blob": "E69de29', r"\.blob", 22),
        ('"owner": "tool"', '"owner": "toll"', "did you mean 'tool'", 25),
        ('"source":', '"sauce":', "'source' is missing", 6),
        ("sha256:0", "sha1:0", "digest", 6),
        ('"revision": 3', '"revision": 0', "revision", 6),
        ('"kept": true', '"kept": "yes"', "kept", 23),
        ('"at": "m/y.yaml"', '"at": ""', "at", 24),
        ('"early": {}', '"Early": {}', "Early", 19),
        ('tool: "0.1.0"', "tool: 1", r"\$.tool", 4),
    ],
)
def test_what_is_no_lock_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, message: str, line: int
) -> None:
    file = tmp_path / "lock.yaml"
    text = lock.dump(LOCK).decode()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(EvidenceError, match=message) as caught:
        lock.read(file)
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (file, line)
    assert caught.value.fix


def refused(file: Path, text: str) -> tuple[str, int | None]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        lock.read(file)
    assert caught.value.where is not None
    assert caught.value.fix
    return caught.value.message, caught.value.where.line


def test_broken_yaml_and_paths_that_lead_out(tmp_path: Path) -> None:
    file = tmp_path / "lock.yaml"
    with pytest.raises(ConfigError) as caught:
        lock.read(file)
    assert "git restore" in caught.value.fix
    text = lock.dump(LOCK).decode()
    message, line = refused(file, text.replace("src/x.py", "../x.py"))
    assert "`..`" in message
    assert line == 25
    message, line = refused(file, text.replace("m/y.yaml", "/m/y.yaml"))
    assert "absolute" in message
    assert line == 24
    message, line = refused(file, text.replace("files:", "<<<<<<< ours\nfiles:"))
    assert line in (21, 22)
    with pytest.raises(ConfigError) as caught:
        lock.read(file)
    assert "git checkout --ours" in caught.value.fix
    readme = text[text.index('  "README.md"') :].partition("\n")[0]
    message, line = refused(file, text.replace(readme, f"{readme}\n{readme}"))
    assert "already on line 22" in message
    assert line == 23
    assert refused(file, text.replace('"rows": 12', '"rows": .nan'))[1] == 10
    file.write_bytes(b"\xff" + text.encode())
    with pytest.raises(ConfigError, match="UTF-8"):
        lock.read(file)
