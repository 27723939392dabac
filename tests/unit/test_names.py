"""Names: what is refused and why, and that a suggestion always works."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops import names
from gitops.errors import ConfigError, Where

KINDS: tuple[names.Kind, ...] = ("project", "model", "environment")


@pytest.mark.parametrize("name", ["a", "late", "late-flights", "x2", "a-1-b", "index", "a" * 32])
def test_a_good_name_passes_everywhere(name: str) -> None:
    names.check("project", name)
    names.check("model", name)
    names.check("environment", name)
    assert names.suggest(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "at least one letter"),
        ("a" * 33, "33 characters"),
        ("flüge", "without accents"),
        ("1late", "starts with a digit"),
        ("late flights", "single hyphens"),
        ("late_flights", "single hyphens"),
        ("late.flights", "single hyphens"),
        ("late--flights", "single hyphens"),
        ("-late", "single hyphens"),
        ("late-", "single hyphens"),
        ("Late", "single hyphens"),
        ("late/x", "single hyphens"),
        ("late\n", "single hyphens"),
        ("../etc", "single hyphens"),
        ("con", "Windows"),
        ("nul", "Windows"),
        ("com1", "Windows"),
        ("lpt9", "Windows"),
        ("no", "YAML"),
        ("on", "YAML"),
        ("null", "YAML"),
    ],
)
def test_refused_for_everything(name: str, reason: str) -> None:
    for kind in KINDS:
        with pytest.raises(ConfigError, match=reason):
            names.check(kind, name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "keyword"),
        ("lambda", "keyword"),
        ("statistics", "standard library"),
        ("test", "dependency"),
        ("sklearn", "dependency"),
        ("yaml", "dependency"),
        ("data", "dependency"),
        ("models", "dependency"),
    ],
)
def test_what_python_would_hide_is_refused_where_it_is_imported(name: str, reason: str) -> None:
    for kind in KINDS[:2]:
        with pytest.raises(ConfigError, match=reason):
            names.check(kind, name)
    names.check("environment", name)


def test_a_refusal_says_where_and_what_to_write() -> None:
    with pytest.raises(ConfigError) as caught:
        names.check("model", "1 Späte Flüge", Where("gitops.yaml", 3, 5))
    assert str(caught.value).startswith("gitops.yaml:3:5: the model cannot be called")
    assert caught.value.fix == "call it 'ml-1-spate-fluge'"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Late Flights", "late-flights"),
        ("late_flights.v2", "late-flights-v2"),
        ("Straße Øst", "strasse-ost"),
        ("2013 flights", "ml-2013-flights"),
        ("sklearn", "sklearn-ml"),
        ("test", "test-ml"),
        ("日本", "project"),
        ("", "project"),
        ("a" * 31 + "-b", "a" * 31),
    ],
)
def test_suggestions(text: str, name: str) -> None:
    assert names.suggest(text) == name


@given(st.text(max_size=60) | st.sampled_from(sorted(sys.stdlib_module_names)))
def test_a_suggestion_is_always_a_name(text: str) -> None:
    suggestion = names.suggest(text)
    assert names.problem("project", suggestion) is None
    assert names.package_name(suggestion).isidentifier()


def test_package_name() -> None:
    assert names.package_name("late-flights-2") == "late_flights_2"


def test_names_is_cheap_to_import() -> None:
    code = "import sys, gitops.names; print({'pydantic', 'yaml', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
