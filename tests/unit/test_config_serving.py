"""How models are served and released, as gitops.yaml says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops import config
from gitops.config import Config
from gitops.errors import ConfigError

MODEL = "version: 1\nproject: flights\nmodels: {late: {task: binary}}\n"


def parse(text: str) -> Config:
    return config.parse(text.encode(), Path("gitops.yaml"))


def environments(*more: str) -> Config:
    """Two environments, each with what `more` says."""
    lines = [
        f"  - {{name: e{at}, branch: b{at}{', ' if one else ''}{one}}}\n"
        for at, one in enumerate(more)
    ]
    return parse(MODEL + "environments:\n" + "".join(lines))


def refused(*more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        environments(*more)
    return str(caught.value)


def test_environments_answer_on_this_machine_one_port_after_the_other() -> None:
    found = parse(MODEL)
    assert [found.listen(one.name) for one in found.environments] == [
        ("127.0.0.1", 8080),
        ("127.0.0.1", 8081),
        ("127.0.0.1", 8082),
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("'[::1]:9000'", ("::1", 9000)),
        ("models.example.org:65535", ("models.example.org", 65535)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert environments("", f"listen: {text}").listen("e1") == address


@pytest.mark.parametrize(
    "text", ["8080", "localhost", "'localhost:0'", "'localhost:65536'", "'::1:80'", "'a b:80'"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert "listen" in refused("", f"listen: {text}")


@pytest.mark.parametrize(
    ("one", "other", "wrong"),
    [
        ("", "listen: 127.0.0.1:8080", 1),
        ("listen: 127.0.0.1:8081", "", 0),
        ("listen: 10.0.0.1:9000", "listen: 10.0.0.1:9000", 1),
        ("listen: 0.0.0.0:9000", "listen: 10.0.0.1:9000", 1),
        ("listen: 127.0.0.1:9000", "listen: '[::]:9000'", 1),
    ],
)
def test_two_environments_at_one_address_are_refused(one: str, other: str, wrong: int) -> None:
    said = refused(one, other)
    assert f"environments[{wrong}].listen" in said
    assert f"gitops.yaml:{5 + wrong}" in said
    assert "such as 127.0.0.1:8082" in said


def test_one_port_at_two_addresses_is_fine() -> None:
    found = environments("listen: 10.0.0.1:9000", "listen: 10.0.0.2:9000")
    assert found.listen("e0") != found.listen("e1")


def test_by_default_a_release_is_taken_at_once() -> None:
    assert environments("", "").environment("e1").rollout.steps == ()


def test_steps_are_shadow_and_growing_shares() -> None:
    found = environments("", "rollout: {steps: [shadow, 5, 50], key: carrier}")
    assert found.environment("e1").rollout.steps == ("shadow", 5, 50)
    assert found.environment("e1").rollout.key == "carrier"


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        ("steps: [50, 5]", "doesn't grow"),
        ("steps: [5, 5]", "doesn't grow"),
        ("steps: [5, shadow]", "shadow after another step"),
        ("steps: [0]", "no step"),
        ("steps: [100]", "no step"),
        ("steps: [5.5]", "no step"),
        ("steps: [true]", "no step"),
        ("steps: [mirror]", "no step"),
        ("steps: [5, 50], each: 100, until: 150", "write 200 or more"),
        ("each: 0", "each"),
        ("alpha: 0", "alpha"),
        ("alpha: 0.5", "alpha"),
        ("margin: -1", "margin"),
        ("metric: f1", "metric"),
        ("undecided: wait", "undecided"),
        ("guardrails: {errors: 0}", "errors"),
        ("guardrails: {errors: 1}", "errors"),
        ("guardrails: {slow_ms: 0}", "slow_ms"),
        ("guardrails: {latency: 3}", "unknown key"),
    ],
)
def test_a_rollout_that_can_t_be_is_refused(rollout: str, said: str) -> None:
    assert said in refused("", f"rollout: {{{rollout}}}")


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        ("unknown_category: ignore", "unknown_category"),
        ("out_of_range: clip", "out_of_range"),
        ("log: {sample: 1.5}", "sample"),
        ("log: {sync_seconds: 3601}", "sync_seconds"),
        ("log: {segment_mb: 64, keep_mb: 63}", "write 64 or more"),
        ("log: {redact: [age, age]}", "redact"),
        ("script: ../scoring.py", "script"),
        ("workers: 3", "unknown key"),
    ],
)
def test_serving_that_can_t_be_is_refused(serve: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(MODEL.replace("task: binary", f"task: binary, serve: {{{serve}}}"))
    assert said in str(caught.value)
