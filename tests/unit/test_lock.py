"""The scaffold lock: read back as written, the same bytes every time, git's own ids."""

import subprocess
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
    generators=(lock.GeneratorLock("core", "sha256:" + "0" * 64, "shipped"),),
    answers=ANSWERS,
    files={
        PurePosixPath("src/x.py"): lock.FileLock("tool", "core", "1234" * 10),
        PurePosixPath("README.md"): lock.FileLock("user", "core", BLOB),
        PurePosixPath("it's [odd].txt"): lock.FileLock("user", "core", BLOB),
    },
)


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "lock.yaml"
    file.write_bytes(lock.dump(LOCK))
    assert lock.read(file) == LOCK
    assert yaml.safe_load(file.read_bytes())["answers"] == ANSWERS


def test_it_is_readable_and_in_order() -> None:
    text = lock.dump(LOCK).decode()
    assert '  README.md: {owner: user, generator: core, blob: "e69de29' in text
    assert '    - {name: "a: b", type: number, calendar: []}' in text
    assert text.index("README.md") < text.index("src/x.py")
    other = lock.Lock(LOCK.tool, LOCK.generators, ANSWERS, dict(reversed(list(LOCK.files.items()))))
    assert lock.dump(other).decode() == text


def test_nothing_generated_is_a_lock_too(tmp_path: Path) -> None:
    file = tmp_path / "lock.yaml"
    file.write_bytes(lock.write([], {}, []))
    assert lock.read(file) == lock.Lock(__version__, (), {}, {})


def test_only_plain_answers() -> None:
    with pytest.raises(TypeError, match="not plain data"):
        lock.write([], {"x": object()}, [])


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
        ("version: 1", "version: 2", r"\$.version", 3),
        ('blob: "e69de29', 'blob: "E69de29', r"\.blob", 17),
        ("owner: tool", "owner: toll", "did you mean 'tool'", 19),
        ("source:", "sauce:", "'source' is missing", 6),
        ("sha256:0", "sha1:0", "digest", 6),
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


def test_broken_yaml_and_paths_that_lead_out(tmp_path: Path) -> None:
    file = tmp_path / "lock.yaml"
    with pytest.raises(ConfigError):
        lock.read(file)
    text = lock.dump(LOCK).decode()
    file.write_text(text.replace("src/x.py", "../x.py"))
    with pytest.raises(ConfigError, match=r"`\.\.`") as caught:
        lock.read(file)
    assert caught.value.where is not None
    assert caught.value.where.line == 19
    file.write_text(text.replace("files:", "<<<<<<< ours\nfiles:"))
    with pytest.raises(ConfigError) as caught:
        lock.read(file)
    assert caught.value.where is not None
    assert caught.value.where.line is not None
