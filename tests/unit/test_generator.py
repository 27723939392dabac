"""Reading generators: what is refused and where, who owns what, in which order they come."""

from pathlib import Path

import pytest
import yaml

from gitops import content, contracts
from gitops.errors import ConfigError, EvidenceError, Where
from gitops.scaffold import generator

GOOD = {"version": 1, "name": "one", "description": "a test"}


def make(
    top: Path, name: str = "one", template: dict[str, bytes] | None = None, **settings: object
) -> Path:
    folder = top / name
    (folder / "template").mkdir(parents=True)
    for path, data in (template or {}).items():
        at = folder / "template" / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)
    chosen = {**GOOD, "name": name, **settings}
    (folder / "generator.yaml").write_text(yaml.safe_dump(chosen, sort_keys=False))
    return folder


def test_a_generator_is_read_whole(tmp_path: Path) -> None:
    folder = make(tmp_path, template={"a/b.txt.j2": b"x\r\n", "z.bin": b"\0"}, requires=["core"])
    (folder / "template" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "template" / "run.sh").chmod(0o755)
    found = generator.load(folder)
    assert (found.name, found.description, found.requires) == ("one", "a test", ("core",))
    assert found.source == str(folder)
    assert found.files == (
        generator.TemplateFile("a/b.txt.j2", b"x\r\n", False),
        generator.TemplateFile("run.sh", b"#!/bin/sh\n", True),
        generator.TemplateFile("z.bin", b"\0", False),
    )


def test_the_digest_sees_every_change(tmp_path: Path) -> None:
    folder = make(tmp_path, template={"a": b"1", "b": b"2"})
    first = generator.load(folder).digest
    assert first == generator.load(folder).digest
    assert first.startswith("sha256:")
    seen = {first}
    (folder / "template" / "a").chmod(0o755)
    seen.add(generator.load(folder).digest)
    (folder / "template" / "a").write_bytes(b"3")
    seen.add(generator.load(folder).digest)
    (folder / "template" / "b").rename(folder / "template" / "c")
    seen.add(generator.load(folder).digest)
    with (folder / "generator.yaml").open("a") as file:
        file.write("# more\n")
    seen.add(generator.load(folder).digest)
    assert len(seen) == 5


def test_ownership_is_by_the_first_match(tmp_path: Path) -> None:
    rules = [
        {"path": "src/*/gitops_package/**", "owner": "tool"},
        {"path": "src/*/gitops_package/mine.py", "owner": "user"},
        {"path": "notes/**", "when": "task == 'binary'"},
        {"path": "*.md", "owner": "tool"},
        {"path": "notes/**", "owner": "tool", "when": "id"},
    ]
    found = generator.load(make(tmp_path, files=rules))
    owners = {
        "src/flights/gitops_package/deep/er.py": "tool",
        "src/flights/gitops_package/mine.py": "tool",
        "src/a/b/gitops_package/x.py": "user",
        "README.md": "tool",
        "docs/README.md": "user",
        "notes/a": "tool",
    }
    assert {path: found.owner(path) for path in owners} == owners
    condition = found.condition("notes/a")
    assert condition is not None
    assert condition.when == "task == 'binary'"
    assert found.condition("README.md") is None


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("**", "a/b/c", True),
        ("**", "a", True),
        ("*", "a/b", False),
        ("**/x.py", "x.py", True),
        ("**/x.py", "a/b/x.py", True),
        ("**/x.py", "a/ax.py", False),
        ("a/**", "a/b/c", True),
        ("a/**", "ab/c", False),
        ("a/**/z", "a/z", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "a.txt", False),
        ("[ab].txt", "[ab].txt", True),
        ("a.c", "abc", False),
    ],
)
def test_globs(glob: str, path: str, *, fits: bool) -> None:
    assert generator.matches(glob, path) is fits


WRONG: list[tuple[dict[str, object], str, int]] = [
    ({"version": 2}, "`version` is 2", 1),
    ({"version": True}, "`version` is True", 1),
    ({"name": "Not Good"}, "`name` is 'Not Good'", 2),
    ({"name": None}, "`name` is missing", 2),
    ({"description": "two\nlines"}, "`description`", 3),
    ({"description": ""}, "`description`", 3),
    ({"requires": "core"}, "`requires` is 'core'", 4),
    ({"requires": ["../core"]}, "`requires`", 5),
    ({"require": []}, "unknown key 'require'; did you mean `requires`?", 4),
    ({"files": {}}, "`files`", 4),
    ({"files": ["x"]}, "`files.0` is 'x'", 5),
    ({"files": [{"path": "**", "ower": "tool"}]}, "'ower'; did you mean `owner`?", 6),
    ({"files": [{"path": "**", "owner": "me"}]}, "`files.0.owner` is 'me'", 6),
    ({"files": [{"owner": "tool"}]}, "`files.0.path` is missing", 5),
    ({"files": [{"path": "**"}]}, "`files.0`", 5),
    ({"files": [{"path": "**", "when": True}]}, "`files.0.when` is True", 6),
    ({"files": [{"path": "**", "when": " "}]}, "`files.0.when`", 6),
    ({"revision": 0}, "`revision` is 0", 4),
    ({"revision": True}, "`revision` is True", 4),
    ({"migrations": {}}, "`migrations` is {}", 4),
    ({"migrations": [5]}, "`migrations.0` is 5", 5),
    ({"revision": 2, "migrations": [{"too": 2}]}, "'too'; did you mean `to`?", 6),
    ({"revision": 2, "migrations": [{"to": 1}]}, "`migrations.0.to` is 1", 6),
    ({"revision": 2, "migrations": [{"to": 2, "move": 1}]}, "`migrations.0.move` is 1", 7),
    ({"revision": 2, "migrations": [{"to": 2, "move": [{"from": "a"}]}]}, "migrations.0.move", 8),
    ({"revision": 2, "migrations": [{"to": 2, "delete": [""]}]}, "migrations.0.delete", 8),
    ({"revision": 2, "migrations": [{"to": 2, "answers": []}]}, "migrations.0.answers", 7),
    ({"revision": 2, "migrations": [{"to": 2, "answers": {"st": {}}}]}, "'st'", 8),
    (
        {"revision": 2, "migrations": [{"to": 2, "answers": {"rename": {"a": 1}}}]},
        "migrations.0.answers.rename",
        9,
    ),
    ({"revision": 2, "migrations": [{"to": 2, "answers": {"set": 1}}]}, "answers.set", 8),
]


@pytest.mark.parametrize(("change", "message", "line"), WRONG)
def test_wrong_settings_are_named_with_file_and_line(
    tmp_path: Path, change: dict[str, object], message: str, line: int
) -> None:
    folder = make(tmp_path)
    file = folder / "generator.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **change}, sort_keys=False))
    with pytest.raises(ConfigError) as caught:
        generator.load(folder)
    assert message in caught.value.message
    assert caught.value.fix
    assert caught.value.where is not None
    assert caught.value.where.file == file
    assert caught.value.where.line == line


@pytest.mark.parametrize(("change", "message", "line"), WRONG)
def test_the_schema_refuses_the_same(change: dict[str, object], message: str, line: int) -> None:
    with pytest.raises(EvidenceError):
        contracts.validate("generator", {**GOOD, **change}, Where("generator.yaml"))


@pytest.mark.parametrize(
    "migrations",
    [
        [{"to": 3}],
        [{"to": 2}, {"to": 2}],
        [{"to": 2, "move": [{"from": "a/", "to": "b"}]}],
    ],
)
def test_what_only_the_reader_refuses_of_migrations(
    tmp_path: Path, migrations: list[object]
) -> None:
    with pytest.raises(ConfigError, match=r"migrations\.\d\.(to|move)"):
        generator.load(make(tmp_path, revision=2, migrations=migrations))


def test_migrations_are_read(tmp_path: Path) -> None:
    steps = [
        {"to": 2, "move": [{"from": "a/", "to": "b/"}], "delete": ["c"]},
        {"to": 4, "answers": {"rename": {"x": "y"}, "set": {"z": [1]}}},
    ]
    found = generator.load(make(tmp_path, revision=4, migrations=steps))
    assert found.revision == 4
    assert found.migrations == (
        generator.Migration(2, (("a/", "b/"),), {}, {}, ("c",)),
        generator.Migration(4, (), {"x": "y"}, {"z": [1]}, ()),
    )
    contracts.validate(
        "generator", {**GOOD, "revision": 4, "migrations": steps}, Where("generator.yaml")
    )


def test_the_schema_accepts_the_same() -> None:
    rules = [{"path": "a", "owner": "tool", "when": "x"}, {"path": "**", "owner": "user"}]
    full = {**GOOD, "files": rules, "requires": ["core"]}
    for good in (GOOD, full):
        contracts.validate("generator", good, Where("generator.yaml"))


def test_what_is_no_generator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no generator\.yaml"):
        generator.load(tmp_path)
    with pytest.raises(ConfigError, match="there is no generator 'nothing-like-it'"):
        generator.load("nothing-like-it")
    folder = make(tmp_path)
    (folder / "template").rmdir()
    with pytest.raises(ConfigError, match="template is not a folder"):
        generator.load(folder)


@pytest.mark.parametrize("to", ["/etc/passwd", "/etc", "missing", "real.txt"])
def test_no_symlink_gets_in(tmp_path: Path, to: str) -> None:
    folder = make(tmp_path, template={"sub/real.txt": b""})
    (folder / "template" / "sub" / "link").symlink_to(to)
    with pytest.raises(ConfigError, match="template/sub/link is a symlink"):
        generator.load(folder)


def test_the_template_folder_is_no_symlink(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "template").rmdir()
    (folder / "template").symlink_to("/etc")
    with pytest.raises(ConfigError, match="template is a symlink"):
        generator.load(folder)


def test_requirements_come_first_and_once(tmp_path: Path) -> None:
    make(tmp_path, "core")
    make(tmp_path, "base", requires=["core"])
    a = make(tmp_path, "a", requires=["base", "core"])
    b = make(tmp_path, "b", requires=["core"])
    assert [g.name for g in generator.compose([b, a, a])] == ["core", "b", "base", "a"]


def test_a_circle_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a", requires=["b"])
    make(tmp_path, "b", requires=["c"])
    make(tmp_path, "c", requires=["b"])
    with pytest.raises(ConfigError, match="in a circle: b -> c -> b"):
        generator.compose([tmp_path / "a"])


def test_a_name_is_had_once(tmp_path: Path) -> None:
    one, two = make(tmp_path / "x", "same"), make(tmp_path / "y", "same")
    with pytest.raises(ConfigError, match=r"two are named 'same': .*x/same and .*y/same"):
        generator.compose([one, two])


def test_every_shipped_generator_is_sound() -> None:
    for file in content.folder("generators").glob("*/generator.yaml"):
        assert generator.compose([file.parent.name])[-1].name == file.parent.name
