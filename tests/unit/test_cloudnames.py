"""Names of cloud resources at every limit of the services that take them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops import cloudnames, config, names
from gitops.cloudnames import RULES, derive

# What the services themselves say (the page that cloudnames names), written down independently.
GRAMMARS = {
    "resource_group": r"[-\w._()]{0,89}[-\w_()]",
    "storage": r"[a-z0-9]{3,24}",
    "registry": r"[a-zA-Z0-9]{5,50}",
    "vault": r"(?!.*--)[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
    "logs": r"[a-zA-Z0-9][a-zA-Z0-9-]{2,61}[a-zA-Z0-9]",
    "insights": r"[^%&\\?/]{0,259}[^%&\\?/ .]",
    "identity": r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}",
    "network": r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9_]",
    "machine_learning": r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}",
    "kubernetes": r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?",
    "kubernetes_dns": r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,52}[a-zA-Z0-9])?",
    "iot_hub": r"[a-zA-Z0-9-]{2,49}[a-zA-Z0-9]",
    "provisioning": r"[a-zA-Z0-9-]{2,63}[a-zA-Z0-9]",
    "sql_server": r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    "data_factory": r"[a-zA-Z0-9][a-zA-Z0-9-]{1,61}[a-zA-Z0-9]",
    "databricks": r"[a-zA-Z0-9_-]{3,64}",
    "grafana": r"[a-zA-Z][a-zA-Z0-9-]{0,21}[a-zA-Z0-9]",
    "budget": r"[a-zA-Z0-9_-]{1,63}",
    "online_endpoint": r"(?!.*--)[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]",
    "alerts": r"[^<>*%&:\\?+/]{0,259}[^<>*%&:\\?+/ .]",
    "bucket": r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(?:--|-s3alias$|[.]mrap$))"
    r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "repository": r"(?=.{2,256}$)[a-z0-9]+([._/-][a-z0-9]+)*",
    "role": r"[\w+=,.@-]{1,64}",
    "log_group": r"(?!aws/)[.\-_/#A-Za-z0-9]{1,512}",
    "alarm": r"[\x20-\x7e]{1,255}",
    "topic": r"[A-Za-z0-9_-]{1,256}",
    "cost_budget": r"(?!.*/action/)[^:\\]{1,100}",
    "cluster": r"[0-9A-Za-z][A-Za-z0-9\-_]{0,99}",
    "endpoint": r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
    "vpc": r"[\w .:/=+@-]{0,256}",
}
# What is put around a name, and must fit the service's grammar with it.
AROUND = {
    "repository": "{}/" + "p" * names.LENGTH + "/" + "m" * names.LENGTH,
    "role": "{}-workload",
    "log_group": "/gitops/{}",
    "alarm": "{}-" + "a" * 31,
    "endpoint": "{}-" + "m" * names.LENGTH,
}
REFUSED = "microsoft|windows|login|sthree-|amzn-s3-demo-"
IDS = st.text("bcdfghjkmnpqrstvwxz23456789", min_size=4, max_size=16)
NAMES = st.from_regex(names.PATTERN, fullmatch=True).filter(lambda one: len(one) <= names.LENGTH)


def test_every_service_has_a_grammar() -> None:
    assert GRAMMARS.keys() == RULES.keys()


@given(st.sampled_from(sorted(RULES)), st.text(max_size=80), NAMES, IDS)
def test_a_name_is_within_the_limits_or_refused_for_a_word(
    kind: str, prefix: str, environment: str, identity: str
) -> None:
    try:
        name = derive(kind, prefix, environment, identity)
    except ValueError as error:
        assert re.search(REFUSED, str(error))
        return
    assert re.fullmatch(GRAMMARS[kind], AROUND.get(kind, "{}").format(name))
    assert RULES[kind].shortest <= len(name) <= RULES[kind].longest
    assert name == derive(kind, prefix, environment, identity)


@pytest.mark.parametrize("kind", sorted(RULES))
@pytest.mark.parametrize("length", range(1, names.LENGTH + 1))
def test_the_longest_names_of_ours_fit_at_every_length(kind: str, length: int) -> None:
    for prefix, environment in (("p" * length, "e" * 32), ("p" * 32, "e" * length)):
        name = derive(kind, prefix, environment, "k7q2m9xd")
        assert re.fullmatch(GRAMMARS[kind], AROUND.get(kind, "{}").format(name))
    # What is cut is filled up to the limit: nothing is thrown away for nothing.
    full = derive(kind, "p" * 300, "e" * 300, "k7q2m9xd")
    assert len(full) == RULES[kind].longest


@given(st.sampled_from(sorted(RULES)), NAMES, NAMES, NAMES, IDS)
def test_two_environments_never_share_a_name(
    kind: str, prefix: str, one: str, other: str, identity: str
) -> None:
    if one != other and not re.search(REFUSED, prefix + one + other):
        first, second = (derive(kind, prefix, each, identity) for each in (one, other))
        assert first.casefold() != second.casefold()


def test_environments_that_are_cut_alike_differ() -> None:
    long = "a-very-long-environment-name-of"
    assert derive("storage", "flights", long, "k7q2m9xd") != derive(
        "storage", "flights", long + "x", "k7q2m9xd"
    )


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("Flüge", "flugedevzxhzf6"),
        ("Straße", "strassedevzxhzf6"),
        ("日本", "mldevzxhzf6"),
        ("2fast", "ml2fastdevzxhzf6"),
        ("", "mldevzxhzf6"),
    ],
)
def test_any_text_makes_a_name(prefix: str, name: str) -> None:
    assert derive("storage", prefix, "dev", "k7q2m9xd") == name


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("Flüge", "fluge-dev-zxhzf6"),
        ("日本", "ml-dev-zxhzf6"),
        ("a..b--c", "a-b-c-dev-zxhzf6"),
        ("xn--80ak6aa92e", "xn-80ak6aa92e-dev-zxhzf6"),
        ("windows-login", "windows-login-dev-zxhzf6"),
    ],
)
def test_any_text_makes_a_bucket(prefix: str, name: str) -> None:
    assert derive("bucket", prefix, "dev", "k7q2m9xd") == name


@pytest.mark.parametrize(
    ("prefix", "kind", "cloud"),
    [
        ("micro-soft", "storage", "Azure"),
        ("windows-sales", "vault", "Azure"),
        ("login", "registry", "Azure"),
        ("sthree", "bucket", "AWS"),
        ("amzn-s3-demo", "bucket", "AWS"),
    ],
)
def test_a_word_that_a_cloud_keeps_is_refused(prefix: str, kind: str, cloud: str) -> None:
    with pytest.raises(ValueError, match=f"which {cloud} refuses"):
        derive(kind, prefix, "dev", "k7q2m9xd")


@pytest.mark.parametrize("provider", ["azure", "aws"])
def test_a_provider_has_its_own_names(provider: str) -> None:
    declared = config.Config.model_validate(
        {
            "version": 1,
            "project": "flights",
            "infrastructure": {"provider": provider, "id": "k7q2m9xd"},
            "models": {"late": {"task": "binary"}},
        }
    )
    kinds = {kind for kind, rule in RULES.items() if rule.provider == provider}
    assert cloudnames.of(declared, "dev").keys() == kinds - {*cloudnames.SEVERAL}


def test_a_collision_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a broken hash to see one."""
    monkeypatch.setattr(cloudnames, "_told_apart", lambda *_: "bbbbbb")
    infrastructure = {"provider": "azure", "id": "k7q2m9xd"}
    environments = [{"name": f"{'e' * 20}-{end}", "branch": end} for end in ("one", "two")]
    declared = config.Config.model_validate(
        {
            "version": 1,
            "project": "flights",
            "environments": environments,
            "infrastructure": infrastructure,
            "models": {"late": {"task": "binary"}},
        }
    )
    (found,) = cloudnames.problems(declared)
    assert "has the same name for its storage" in found[1]
