"""JUnit XML: a suite for each model, a case for each check.

Written so that both schemas in use accept it: Jenkins' junit-10.xsd (xUnit plugin) and the one of
Apache Ant, which wants the time and the host of a run. A verdict has neither: the same evidence
gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from gitops.validate.model import Check, Verdict
from gitops.validate.reports import numbers, words
from gitops.validate.reports.text import SENTENCE, clean

# What XML 1.0 can't hold, not even escaped (https://www.w3.org/TR/xml/#charsets).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_TIME = "1970-01-01T00:00:00"


def render(verdicts: Sequence[Verdict]) -> str:
    """The document; inconclusive checks that don't block, and waived ones, are skipped tests."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for number, verdict in enumerate(verdicts):
        lines += _suite(verdict, number)
    return "\n".join([*lines, "</testsuites>", ""])


def _suite(verdict: Verdict, number: int) -> list[str]:
    name = f"{clean(verdict.model)} {clean(verdict.environment)}"
    usual = numbers.usual_level(verdict)
    cases = [_case(check, verdict, name, usual) for check in verdict.checks]
    # A gate that says no has a failure, whatever the reason (an expired waiver has no check).
    if not verdict.passed and not any(failed for _, failed, _ in cases):
        why = _xml(words.headline(verdict).why)
        line = f"<testcase{_attributes(name='verdict', classname=name, time='0')}>"
        cases.append((f'{line}<failure type="verdict" message={why}/></testcase>', True, False))
    head = _attributes(
        name=name,
        package=clean(verdict.model),
        id=str(number),
        tests=str(len(cases)),
        failures=str(sum(failed for _, failed, _ in cases)),
        errors="0",
        skipped=str(sum(skipped for _, _, skipped in cases)),
        time="0",
        timestamp=_NO_TIME,
        hostname="localhost",
    )
    answer = words.headline(verdict)
    text = _legal(escape(f"{answer.answer}: {answer.why}\n{words.compared(verdict)}"))
    out = ["<properties>", *_properties(verdict), "</properties>", *(line for line, _, _ in cases)]
    out += [f"<system-out>{text}</system-out>", "<system-err/>"]
    return [f"<testsuite{head}>", *out, "</testsuite>"]


def _properties(verdict: Verdict) -> list[str]:
    pairs = [
        ("state", verdict.state),
        ("policy", verdict.policy),
        ("policy.digest", verdict.policy_digest),
        ("base", verdict.base[0]),
        ("candidate", verdict.candidate.commit),
        ("champion", verdict.champion.commit if verdict.champion else "none: first model"),
        ("test-set", verdict.test_set.identity),
        ("test-set.rows", str(verdict.test_set.rows)),
        ("digest", verdict.digest),
    ]
    pairs += [(f"waiver.{clean(one.check)}", words.waiver(one)) for one in verdict.waivers]
    pairs += [(f"note.{clean(one.kind)}", one.text) for one in verdict.notes]
    return [f"<property{_attributes(name=k, value=clean(v, SENTENCE))}/>" for k, v in pairs]


def _case(check: Check, verdict: Verdict, suite: str, usual: float) -> tuple[str, bool, bool]:
    """The element, whether it is a failure, and whether it is skipped."""
    text = words.sentence(check, usual)
    blocks = check.stops
    inner = ""
    if blocks:
        short = _xml(f"{words.state(check)}: {words.reason(check)}")
        inner = f"<failure type={_xml(check.kind)} message={short}>{_legal(escape(text))}</failure>"
    elif check.state != "PASS":
        inner = f"<skipped message={_xml(text)}/>"
    head = _attributes(name=clean(check.id), classname=suite, time="0")
    line = f"<testcase{head}>{inner}</testcase>" if inner else f"<testcase{head}/>"
    return line, blocks, bool(inner) and not blocks


def _attributes(**values: str) -> str:
    return "".join(f" {name}={_xml(value)}" for name, value in values.items())


def _xml(value: str) -> str:
    return quoteattr(_legal(value))


def _legal(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
