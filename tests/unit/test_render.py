"""Rendering: what comes out byte for byte, and what the sandbox and the strictness refuse."""

from pathlib import Path, PurePosixPath

import pytest
import yaml

from gitops.errors import ConfigError
from gitops.scaffold import generator
from gitops.scaffold.render import Rendered, render, tool_file

CONTEXT: dict[str, object] = {
    "project": "flights",
    "package": "flights",
    "task": "binary",
    "positive": None,
    "rows": 12,
    "slices": ["carrier", "a b", "true"],
    "data": {"file": "data/flights.csv"},
}


def make(
    top: Path,
    template: dict[str, bytes],
    files: list[dict[str, str]] | None = None,
    name: str = "one",
) -> Path:
    folder = top / name
    for path, data in template.items():
        at = folder / "template" / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)
    settings = {"version": 1, "name": name, "description": "a test", "files": files or []}
    (folder / "generator.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


def rendered(top: Path, files: dict[str, bytes], **more: object) -> dict[str, bytes]:
    made = render([generator.load(make(top, files))], {**CONTEXT, **more})
    return {str(file.path): file.content for file in made}


def refused(top: Path, text: bytes, **more: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        rendered(top, {"ok.txt.j2": b"fine\n", "sub/bad.txt.j2": text}, **more)
    assert caught.value.fix
    assert caught.value.where is not None
    assert caught.value.where.file is not None
    assert str(caught.value.where.file).endswith("template/sub/bad.txt.j2")
    return caught.value


def line(error: ConfigError) -> int | None:
    assert error.where is not None
    return error.where.line


def test_templates_are_rendered_and_named(tmp_path: Path) -> None:
    made = rendered(
        tmp_path,
        {
            "src/@{ package }@/x.py.j2": b"@# not a word #@\nmodel = @{ project | topython }@\n",
            "loop.yaml.j2": b"""
@% for s in slices %@
  - @{ s | toyaml }@
@% endfor %@
end: ${{ x }}
""",
            "x.json.j2": b"@{ data | tojson }@",
        },
    )
    assert made == {
        "src/flights/x.py": b'model = "flights"\n',
        "loop.yaml": b'\n  - carrier\n  - "a b"\n  - "true"\nend: ${{ x }}\n',
        "x.json": b'{"file": "data/flights.csv"}',
    }


def test_what_is_no_template_is_copied_byte_for_byte(tmp_path: Path) -> None:
    files = {
        "a.bin": bytes(range(256)) * 40000,
        "crlf.txt": b"a\r\nb\n@{ x }@\r",
        "@{ package }@.bin": b"\xff\xfe",
    }
    made = rendered(tmp_path, files)
    assert made == {
        "a.bin": files["a.bin"],
        "crlf.txt": files["crlf.txt"],
        "flights.bin": b"\xff\xfe",
    }


def test_line_ends_and_final_newlines_are_kept(tmp_path: Path) -> None:
    made = rendered(
        tmp_path,
        {
            "crlf.txt.j2": b"a\r\n@% if rows %@\r\n@{ project }@\r\n@% endif %@\r\nb\r\n\r\n",
            "none.txt.j2": b"@{ project }@",
            "bom.txt.j2": b"\xef\xbb\xbfx\n",
        },
    )
    assert made == {
        "crlf.txt": b"a\r\nflights\r\nb\r\n\r\n",
        "none.txt": b"flights",
        "bom.txt": b"\xef\xbb\xbfx\n",
    }


@pytest.mark.parametrize(
    ("text", "number"), [(b"a\r\nb\nc\r\n", 2), (b"a\nb\r\n", 1), (b"a\rb", 1)]
)
def test_mixed_line_ends_would_not_survive(tmp_path: Path, text: bytes, number: int) -> None:
    error = refused(tmp_path, text)
    assert "mixes line ends" in error.message
    assert line(error) == number


def test_owner_generator_and_executable_bit(tmp_path: Path) -> None:
    folder = make(
        tmp_path,
        {"run.sh.j2": b"#!\n", "mine.txt": b""},
        [{"path": "*.sh", "owner": "tool"}],
    )
    (folder / "template" / "run.sh.j2").chmod(0o755)
    assert render([generator.load(folder)], CONTEXT) == (
        Rendered(PurePosixPath("mine.txt"), b"", False, "user", "one"),
        Rendered(PurePosixPath("run.sh"), b"#!\n", True, "tool", "one"),
    )


def test_when_leaves_files_out(tmp_path: Path) -> None:
    rules = [
        {"path": "a.txt", "when": "task == 'regression'"},
        {"path": "b.txt", "when": "positive"},
        {"path": "parts/**", "when": "false"},
        {"path": "c.txt", "when": "'carrier' in slices"},
    ]
    folder = make(
        tmp_path,
        {
            "a.txt": b"",
            "b.txt": b"",
            "c.txt.j2": b"@% include 'parts/p.j2' %@",
            "parts/p.j2": b"part of @{ project }@",
        },
        rules,
    )
    made = render([generator.load(folder)], CONTEXT)
    assert [(str(file.path), file.content) for file in made] == [("c.txt", b"part of flights")]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("tsk == 'binary'", "`tsk` is undefined; did you mean `task`?"),
        ("task ==", "template syntax"),
        ("''.__class__", "unsafe"),
    ],
)
def test_a_wrong_when_is_named_where_it_stands(tmp_path: Path, when: str, message: str) -> None:
    folder = make(tmp_path, {"a": b""}, [{"path": "a", "when": when}])
    with pytest.raises(ConfigError) as caught:
        render([generator.load(folder)], CONTEXT)
    assert message in caught.value.message
    assert caught.value.where is not None
    assert caught.value.where.file == folder / "generator.yaml"
    assert line(caught.value) == 6


@pytest.mark.parametrize(
    ("text", "message", "number"),
    [
        (b"a\n@{ projet }@\n", "`projet` is undefined; did you mean `project`?", 2),
        (b"\n\n@{ data.fil }@", "`fil` is no key of a mapping; did you mean `file`?", 3),
        (b"@{ project.nme }@", "str has no 'nme'", 1),
        (b"@% if projet %@x@% endif %@", "`projet` is undefined", 1),
        (b"@{ [projet] | tojson }@", "`projet` is undefined", 1),
        (b"@{ projet | topython }@", "`projet` is undefined", 1),
        (b"@{ projet | toyaml }@", "`projet` is undefined", 1),
        (b"@{ 'a' ~ projet }@", "`projet` is undefined", 1),
        (b"\n@% if %@", "template syntax", 2),
        (b"\n\n@{ x", "template syntax", 3),
        (b"@{ project | nofilter }@", "template syntax", 1),
        (b"\n@{ positive }@", "None cannot be printed as it is", 2),
        (b"@{ rows == 12 }@", "True cannot be printed", 1),
        (b"@{ slices }@", "cannot be printed", 1),
        (b"@{ namespace }@", "cannot be printed", 1),
        (b"\n@{ 1 / 0 }@", "ZeroDivisionError", 2),
        (b"@{ rows + project }@", "TypeError", 1),
        (b"\n@{ '\\ud800' }@", "UnicodeEncodeError", None),
        (b"x\n\xff\n", "not UTF-8", 2),
        (b"@% include 'sub/bad.txt.j2' %@", "RecursionError", 1),
        (b"\n@% include 'ok.txt' %@", "did you mean `ok.txt.j2`?", 2),
    ],
)
def test_mistakes_are_named_with_file_and_line(
    tmp_path: Path, text: bytes, message: str, number: int | None
) -> None:
    error = refused(tmp_path, text)
    assert message in error.message
    assert line(error) == number


@pytest.mark.parametrize(
    "text",
    [
        b"@{ ''.__class__ }@",
        b"@{ project.__class__.__mro__ }@",
        b"@{ project | attr('__class__') }@",
        b"@{ '{0.__class__}'.format(project) }@",
        b"@{ cycler.__init__.__globals__ }@",
        b"@{ self._TemplateReference__context }@",
        b"@{ slices.append('x') }@",
        b"@{ data.update(file='x') }@",
        b"@{ range(10000000) | list | tojson }@",
        b"@% include '../generator.yaml' %@",
        b"@% include '/etc/passwd' %@",
        b"@% include 'sub/../ok.txt.j2' %@",
        b"@% import 'os' as os %@",
        b"@{ lipsum() }@",
        b"@{ slices | random }@",
    ],
)
def test_the_sandbox_holds(tmp_path: Path, text: bytes) -> None:
    assert line(refused(tmp_path, text)) == 1


def test_an_answer_is_never_a_template(tmp_path: Path) -> None:
    made = rendered(tmp_path, {"a.j2": b"@{ project }@"}, project="@{ rows }@")
    assert made == {"a": b"@{ rows }@"}


@pytest.mark.parametrize("value", ["a/../../b", "..", "", "a/b", "CON", ".git", "a\\b", "a\0"])
def test_an_answer_in_a_path_stays_a_name(tmp_path: Path, value: str) -> None:
    files = {"src/@{ package }@/x.py.j2": b""}
    with pytest.raises(ConfigError, match=r"cannot be a path") as caught:
        rendered(tmp_path, files, package=value)
    assert caught.value.where is not None
    assert str(caught.value.where.file).endswith("src/@{ package }@/x.py.j2")


@pytest.mark.parametrize("name", ["CON", "nul.txt.j2", "a:b", "@{ pakage }@/x", "@% if %@", ".j2"])
def test_a_bad_name_of_a_template_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rendered(tmp_path, {name: b""})
    assert caught.value.where is not None
    assert str(caught.value.where.file).endswith(name)


def test_two_generators_do_not_write_one_file(tmp_path: Path) -> None:
    one = make(tmp_path, {"a/@{ package }@.txt.j2": b""}, name="one")
    two = make(tmp_path, {"a/flights.txt": b""}, name="two")
    with pytest.raises(ConfigError, match=r"'one' and 'two' both write a/flights\.txt"):
        render([generator.load(one), generator.load(two)], CONTEXT)


def test_one_generator_does_not_write_one_file_twice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'one' has two templates for a\.txt"):
        rendered(tmp_path, {"a.txt": b"", "a.txt.j2": b""})
    with pytest.raises(ConfigError, match="'b' and 'B' are one file"):
        rendered(tmp_path / "case", {"B": b"", "b": b""})


def test_rendering_is_repeatable(tmp_path: Path) -> None:
    folder = make(tmp_path, {"b.j2": b"@{ data | tojson }@", "a": b"", "c/d.j2": b"x"})
    first = render([generator.load(folder)], CONTEXT)
    assert first == render([generator.load(folder)], CONTEXT)
    assert [str(file.path) for file in first] == ["a", "b", "c/d"]


def test_files_of_the_tool_itself() -> None:
    made = tool_file(".gitops/lock.yaml", b"x")
    assert (made.owner, made.generator, made.executable) == ("tool", "gitops", False)
    with pytest.raises(ConfigError):
        tool_file("../x", b"")
