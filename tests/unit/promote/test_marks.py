"""Freeze, holds, approvals and signatures: who may move what, and who may not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops.cli.hands import hands
from gitops.errors import AnswerNo, ConfigError
from gitops.promote import finish, marks, register, signatures
from gitops.promote.world import SIGNERS
from tests.programs import ssh_key
from tests.unit.promote.line import Line, remote_git
from tests.unit.validate.gate_repo import Made


@dataclass(frozen=True)
class Person:
    name: str
    key: Path

    @property
    def mail(self) -> str:
        return f"{self.name}@example.org"

    @property
    def public(self) -> str:
        return self.key.with_suffix(".pub").read_text().strip()

    def acts(self, monkeypatch: pytest.MonkeyPatch, line: Line, *, signing: bool = True) -> None:
        """From now on git thinks that it's this person's."""
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_NAME", self.name)
            monkeypatch.setenv(f"GIT_{role}_EMAIL", self.mail)
        line.git("config", "gpg.format", "ssh")
        line.git("config", "user.signingKey", f"{self.key}.pub" if signing else "")


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Person]:
    folder = tmp_path_factory.mktemp("keys")
    found = {name: Person(name, folder / name) for name in ("ada", "bob", "eve")}
    for one in found.values():
        ssh_key(one.key)
    return found


@pytest.fixture
def signed(
    line: Line, good: Made, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> Line:
    """Signatures of ada and bob are required; staging needs bob's approval; a model is on main."""
    known = "".join(f"{people[n].mail} {people[n].public}\n" for n in ("ada", "bob"))
    line.repo.write(SIGNERS, known)
    environments = (
        "environments:\n  - {name: dev, branch: main}\n"
        "  - {name: staging, branch: release/staging, approvers: [bob@example.org]}\n"
        "  - {name: production, branch: release/production}\n"
    )
    line.repo.settings(more=environments)
    line.repo.commit("Who may sign, and who approves")
    for branch in ("main", "release/staging", "release/production"):
        line.git("push", "-q", "origin", f"HEAD:{branch}")
    people["ada"].acts(monkeypatch, line)
    line.build(good)
    return line


def approve(line: Line) -> str:
    found = line.plan("dev", "staging")
    return marks.approve(line.world(), found.at, found.target, found.base, "looks right")


def test_an_approver_approves_and_somebody_else_promotes(
    signed: Line, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AnswerNo, match=r"needs the approval of one of bob@example\.org") as caught:
        signed.promote("dev", "staging")
    assert "gitops approve dev staging --reason" in caught.value.fix
    people["bob"].acts(monkeypatch, signed)
    assert approve(signed) == "approval/staging/1"
    assert "bob@example.org is the promoter" in stops(signed, "Bob <bob@example.org>")
    people["ada"].acts(monkeypatch, signed)
    done = signed.promote("dev", "staging")
    text = remote_git(signed.origin, "cat-file", "-p", "demo#staging#1")
    statement = json.loads(next(one for one in text.splitlines() if one.startswith("{")))
    assert statement["predicate"]["gitops"]["approvers"] == ["bob@example.org"]
    for tag in done.tags:
        object = remote_git(signed.origin, "rev-parse", f"refs/tags/{tag}")
        text = remote_git(signed.origin, "cat-file", "-p", tag)
        allowed = (signed.root / SIGNERS).read_bytes()
        found = signatures.check(signed.root, tag, object, text, allowed)
        assert (found.state, found.principals) == ("good", ("ada@example.org",))


def stops(line: Line, promoter: str) -> str:
    return "; ".join(one.text for one in line.plan("dev", "staging", promoter).stops)


def test_an_approval_is_of_this_tree_alone(
    signed: Line, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    people["bob"].acts(monkeypatch, signed)
    approve(signed)
    signed.repo.write("notes.md", "one more thing\n")
    signed.repo.commit("One more thing")
    signed.git("push", "-q", "origin", "main")
    assert "needs the approval" in stops(signed, "Ada <ada@example.org>")


@pytest.mark.parametrize(
    ("who", "signing", "reason"),
    [
        ("ada", True, "ada@example.org may not approve"),
        ("eve", True, "doesn't count"),
        ("bob", False, "it is not signed"),
    ],
)
def test_approvals_that_do_not_count(
    signed: Line,
    people: dict[str, Person],
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    signing: bool,
    reason: str,
) -> None:
    people[who].acts(monkeypatch, signed, signing=signing)
    before = signed.refs()
    with pytest.raises((AnswerNo, ConfigError)):
        approve(signed)
    assert signed.refs() == before
    text = json.dumps(
        {
            "version": 1,
            "kind": "approval",
            "who": who,
            "why": "",
            "at": "",
            "tree": signed.tree("main"),
        }
    )
    words = ["tag", "-s" if signing else "-a", "approval/staging/1", "-m", "ok", "-m", text]
    signed.git(*words, "origin/main")
    signed.git("push", "-q", "origin", "approval/staging/1")
    assert reason in stops(signed, "Test <test@example.org>")


def test_where_signatures_are_required_nothing_is_promoted_without(
    signed: Line, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    people["bob"].acts(monkeypatch, signed)
    approve(signed)
    people["ada"].acts(monkeypatch, signed, signing=False)
    with pytest.raises(ConfigError, match="must be signed, and git has no key") as caught:
        signed.promote("dev", "staging")
    assert "user.signingKey" in caught.value.fix


def test_a_key_that_is_no_signers_promotes_nothing(
    signed: Line, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    people["bob"].acts(monkeypatch, signed)
    approve(signed)
    before, tags = signed.refs(), signed.git("tag", "--list")
    people["eve"].acts(monkeypatch, signed)
    with pytest.raises(ConfigError, match="would not count, so nothing was pushed"):
        signed.promote("dev", "staging")
    # Whoever approved can't promote by saying that they are somebody else.
    signed.git("config", "user.signingKey", f"{people['bob'].key}.pub")
    with pytest.raises(AnswerNo, match=r"bob@example\.org approved it, and can't be who promotes"):
        signed.promote("dev", "staging")
    assert (signed.refs(), signed.git("tag", "--list")) == (before, tags)


def test_a_version_that_a_stranger_registered_does_not_count(
    signed: Line, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    people["bob"].acts(monkeypatch, signed)
    approve(signed)
    people["eve"].acts(monkeypatch, signed)
    signed.git("tag", "-s", "demo@v1.0.0", "-m", "trust me", "origin/main")
    signed.git("push", "-q", "origin", "demo@v1.0.0")
    people["ada"].acts(monkeypatch, signed)
    with pytest.raises(AnswerNo, match=r"the tag demo@v1\.0\.0 doesn't count") as caught:
        signed.promote("dev", "staging")
    assert "gitops build --register" in caught.value.fix
    tip = remote_git(signed.origin, "rev-parse", "main")
    there = signed.world()
    found = register.register(there, signed.config, tip, ["demo"], hands(signed.root))
    assert found["demo"][0] == "v1.1.0"
    assert signed.promote("dev", "staging").versions == {"demo": "v1.1.0"}


def test_a_stranger_cannot_lift_a_hold(
    signed: Line, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (who, kind) in enumerate([("ada", "hold"), ("eve", "release")], start=1):
        people[who].acts(monkeypatch, signed)
        text = json.dumps({"version": 1, "kind": kind, "who": who, "why": "x", "at": "now"})
        name = f"hold/staging/{number}"
        signed.git("tag", "-s", name, "-m", kind, "-m", text, "origin/main")
        signed.git("push", "-q", "origin", name)
    assert "staging is held since now by ada: x" in stops(signed, "Test <test@example.org>")
    people["eve"].acts(monkeypatch, signed)
    with pytest.raises(ConfigError, match=r"the tag hold/staging/3 would not count"):
        signed.release_hold("staging")
    people["bob"].acts(monkeypatch, signed)
    assert signed.release_hold("staging") == "hold/staging/3"
    assert "held" not in stops(signed, "Test <test@example.org>")


def test_what_was_signed_under_another_name_counts_for_nothing(
    signed: Line, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    people["bob"].acts(monkeypatch, signed)
    document = {"version": 1, "kind": "hold", "who": "bob", "why": "x", "at": "now"}
    for name, kind in (("hold/staging/1", "hold"), ("hold/staging/2", "release")):
        text = json.dumps({**document, "kind": kind})
        signed.git("tag", "-s", name, "-m", kind, "-m", text, "origin/main")
        signed.git("push", "-q", "origin", name)
    approval = json.dumps({**document, "kind": "approval", "tree": signed.tree("main")})
    name = "approval/production/1"
    signed.git("tag", "-s", name, "-m", "ok", "-m", approval, "origin/main")
    people["eve"].acts(monkeypatch, signed)
    signed.git("push", "-q", "origin", f"{name}:refs/tags/approval/staging/1")
    found = stops(signed, "Test <test@example.org>")
    assert f"approval/staging/1 doesn't count: what was signed is the tag {name}" in found
    assert "held" not in found
    text = json.dumps({**document, "who": "ada"})
    signed.git("tag", "-a", "hold/staging/3", "-m", "hold", "-m", text, "origin/main")
    signed.git("push", "-q", "origin", "hold/staging/3", "hold/staging/2:refs/tags/hold/staging/4")
    assert "staging is held since now by ada" in stops(signed, "Test <test@example.org>")


def test_a_stranger_cannot_say_that_it_was_in_staging(
    signed: Line, people: dict[str, Person], better: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forged(counter: int, commit: str) -> None:
        people["eve"].acts(monkeypatch, signed)
        signed.git("tag", "-s", f"demo#staging#{counter}", "-m", "trust me", commit)
        signed.git("push", "-q", "origin", f"demo#staging#{counter}")
        people["ada"].acts(monkeypatch, signed)

    def told() -> str:
        (stop,) = signed.plan("staging", "production").stops
        return stop.text

    tip = signed.build(better, depth=4)
    signed.git("push", "-q", "origin", f"{tip}:release/staging")
    world, config = signed.world(), signed.config
    register.register(world, config, tip, ["demo"], hands(signed.root))
    forged(1, tip)
    assert "the tag demo#staging#1, which doesn't count: No principal matched" in told()
    people["bob"].acts(monkeypatch, signed)
    there = signed.world()
    found = finish.plan(there, config, "staging", promoter="Ada <ada@example.org>")
    marks.approve(there, found.at, found.target, found.base, "looks right")
    people["ada"].acts(monkeypatch, signed)
    assert signed.finish("staging").tags == ("demo#staging#2",)  # as the fix says
    forged(3, f"{tip}~1")  # and a stranger's tag on top takes nothing back
    assert signed.promote("staging", "production").tags == ("demo#production#4",)


def test_a_hold_tag_that_cannot_be_read_holds(running: Line) -> None:
    remote_git(running.origin, "tag", "-a", "hold/staging/1", "-m", "what is this?", "main")
    running.repo.commit("More")
    running.git("push", "-q", "origin", "main")
    assert "staging is held" in stops(running, "Test <test@example.org>")


def test_a_freeze_stops_promotions_and_not_rollbacks(running: Line, better: Made) -> None:
    running.build(better, depth=4)
    running.promote("dev", "staging")
    now = datetime.now(UTC)
    days = [(now + timedelta(days=shift)).strftime("%a") for shift in (-1, 1)]
    window = f"{days[0]} 00:00 - {days[1]} 23:59 UTC"
    running.at("release/staging")
    running.repo.settings(
        more="environments:\n  - {name: dev, branch: main}\n"
        f'  - {{name: staging, branch: release/staging, freeze: ["{window}"]}}\n'
        "  - {name: production, branch: release/production}\n"
    )
    running.repo.commit("Freeze")
    running.git("push", "-q", "origin", "HEAD:release/staging")
    with pytest.raises(AnswerNo, match=f"staging is frozen: {window}"):
        running.promote("dev", "staging")
    assert running.rollback("staging", to="v1.0.0").versions == {"demo": "v1.0.0"}


def test_a_hotfix_is_approved_as_it_is(
    signed: Line, better: Made, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    people["bob"].acts(monkeypatch, signed)
    approve(signed)
    people["ada"].acts(monkeypatch, signed)
    signed.promote("dev", "staging")
    signed.at("release/staging")
    signed.build(better, depth=7, push=False)
    signed.git("push", "-q", "origin", "HEAD:release/staging")
    with pytest.raises(AnswerNo, match="needs the approval"):
        signed.finish("staging")
    people["bob"].acts(monkeypatch, signed)
    found = finish.plan(signed.world(), signed.config, "staging", promoter="Bob <bob@example.org>")
    marks.approve(signed.world(), found.at, found.target, found.base, "needed tonight")
    people["ada"].acts(monkeypatch, signed)
    done = signed.finish("staging")
    assert (done.kind, done.versions) == ("hotfix", {"demo": "v1.1.0"})
