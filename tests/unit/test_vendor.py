"""The wheel in the user's repository: the running tool's own files, installable by hash only."""

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path

import pytest

from gitops import content, uv
from gitops.errors import ToolError
from gitops.scaffold import vendor

PACK = """
import sys
from gitops.scaffold import vendor
name, data = vendor.wheel()
open(sys.argv[1] + "/" + name, "wb").write(data)
print(name)
"""


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def built() -> tuple[str, bytes]:
    """The wheel of this checkout, which the tests run in as an editable install."""
    return vendor.wheel()


def install(folder: Path, wheel: Path, *options: str) -> Path:
    """A new environment with just the wheel; returns its Python."""
    python = folder / "bin" / "python"
    assert run(uv.binary(), "venv", "-q", folder).returncode == 0
    fixed = ("-q", "--offline", "--no-deps", "--python", python)
    done = run(uv.binary(), "pip", "install", *fixed, *options, wheel)
    assert done.returncode == 0, done.stderr
    return python


def pack(python: Path, folder: Path) -> Path:
    """The wheel as the tool in that environment packs itself."""
    folder.mkdir()
    done = run(python, "-c", PACK, folder)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.strip()


def members(wheel: bytes) -> dict[str, tuple[bytes, bool]]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return {
            info.filename: (archive.read(info), bool(info.external_attr >> 16 & 0o100))
            for info in archive.infolist()
        }


def write(folder: Path, wheel: tuple[str, bytes]) -> Path:
    (folder / wheel[0]).write_bytes(wheel[1])
    return folder / wheel[0]


def test_a_checkout_is_built(built: tuple[str, bytes]) -> None:
    name, data = built
    assert name.startswith("gitops_ml-")
    assert name.endswith("-py3-none-any.whl")
    found = members(data)
    assert found["gitops/errors.py"][0] == (content.root() / "gitops" / "errors.py").read_bytes()
    assert "gitops/_content/requirements/tool.txt" in found


def test_an_installed_wheel_is_packed_again(built: tuple[str, bytes], tmp_path: Path) -> None:
    wheel = write(tmp_path, built)
    again = pack(install(tmp_path / "one", wheel), tmp_path / "1")
    assert again.name == wheel.name
    found, expected = members(again.read_bytes()), members(built[1])
    record = next(name for name in expected if name.endswith("/RECORD"))
    assert sorted(found.pop(record)[0].splitlines()) == sorted(expected.pop(record)[0].splitlines())
    assert found == expected

    other = install(tmp_path / "two", again, "--compile-bytecode", "--link-mode", "copy")
    assert pack(other, tmp_path / "2").read_bytes() == again.read_bytes(), "installed once more"


def test_a_damaged_installation_is_not_passed_on(built: tuple[str, bytes], tmp_path: Path) -> None:
    python = install(tmp_path / "env", write(tmp_path, built), "--link-mode", "copy")
    (file,) = (tmp_path / "env").glob("lib/*/site-packages/gitops/dvc.py")
    file.write_text(file.read_text() + "\n# changed\n")
    done = run(python, "-c", PACK, tmp_path)
    assert "ToolError" in done.stderr
    assert "dvc.py is not as it was installed" in done.stderr
    file.unlink()
    done = run(python, "-c", PACK, tmp_path)
    assert "dvc.py is missing from the installation" in done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the tool in it, and a list of dependencies without any."""
    listing = tmp_path / "tool.txt"
    listing.write_text("# none")
    made = vendor.vendored(listing)
    assert [(file.owner, file.executable) for file in made] == [("tool", False)] * 2
    for file in made:
        at = tmp_path / "repo" / file.path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(file.content)
    return tmp_path / "repo"


def install_tool(repository: Path) -> subprocess.CompletedProcess[str]:
    """What CI does, but for the dependencies."""
    assert run(uv.binary(), "venv", "-q", "env", cwd=repository).returncode == 0
    options = ["-q", "--offline", "--no-deps", "--require-hashes", "--python", "env/bin/python"]
    listing = ".gitops/tool/requirements.txt"
    return run(uv.binary(), "pip", "install", *options, "-r", listing, cwd=repository)


def test_the_tool_is_installed_by_its_hash(repository: Path) -> None:
    text = (repository / ".gitops/tool/requirements.txt").read_text()
    wheel = next((repository / ".gitops/tool").glob("*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert text == f"# none\n./.gitops/tool/{wheel.name} --hash=sha256:{digest}\n"
    done = install_tool(repository)
    assert done.returncode == 0, done.stderr
    asked = run(
        "env/bin/python", "-I", "-c", "import gitops; print(gitops.__file__)", cwd=repository
    )
    assert asked.stdout.startswith(str(repository / "env"))


def test_a_tampered_tool_is_refused(repository: Path) -> None:
    wheel = next((repository / ".gitops/tool").glob("*.whl"))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("gitops/extra.py", "print('hello')\n")
    done = install_tool(repository)
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert not list((repository / "env").glob("lib/*/site-packages/gitops"))


def test_every_dependency_that_we_carry_has_a_hash() -> None:
    text = next(file for file in vendor.vendored() if file.path.suffix == ".txt").content.decode()
    joined = text.replace("\\\n", " ").splitlines()
    wanted = [line for line in joined if line.strip() and not line.strip().startswith("#")]
    assert len(wanted) > 20
    assert [line for line in wanted if "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("there", [True, False])
def test_without_a_list_of_dependencies(tmp_path: Path, *, there: bool) -> None:
    listing = tmp_path / "tool.txt"
    if there:
        listing.write_text("\n")
    with pytest.raises(ToolError, match=r"tool\.txt is missing or empty"):
        vendor.vendored(listing)
