"""The HTML report in a real browser: Chromium, driven over the pipe of its DevTools protocol."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from gitops.validate import reports
from gitops.validate.model import Verdict
from tests.unit.validate import verdicts

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PROGRAM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.functional,
    pytest.mark.skipif(PROGRAM is None, reason=f"no browser on the PATH: {', '.join(NAMES)}"),
]
PHONE, DESK = 360, 1280


class Browser:
    """One page of a headless Chromium; `events` are those since the last `open`."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM
        to_it, ours = os.pipe()
        theirs, from_it = os.pipe()
        options = ["--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"]
        options += ["--no-first-run", f"--user-data-dir={profile}", "about:blank"]

        def descriptors() -> None:  # the browser reads commands from 3 and answers on 4
            low, high = os.dup(to_it), os.dup(from_it)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self.process = subprocess.Popen(
            [PROGRAM, *options],
            pass_fds=(3, 4),
            preexec_fn=descriptors,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self._out: IO[bytes] = os.fdopen(ours, "wb", 0)
        self._in: IO[bytes] = os.fdopen(theirs, "rb")
        self._number, self._session = 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        command: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._out.write(json.dumps(command).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, page: Path, width: int, *, dark: bool = False, script: bool = True) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def value(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """Dialogs, errors, violations of the page's policy, and requests beyond the file."""
        bad = ("Page.javascriptDialogOpening", "Runtime.exceptionThrown", "Log.entryAdded")
        found = [event for event in self.events if event.get("method") in bad]
        asked = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in asked]
        return found + [{"url": url} for url in urls[1:] if not url.startswith("data:")]

    def close(self) -> None:
        self._out.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._in.close()

    def _read(self) -> dict[str, Any]:
        message = b""
        while not message.endswith(b"\0"):
            byte = self._in.read(1)
            assert byte, "the browser ended"
            message += byte
        answer: dict[str, Any] = json.loads(message[:-1])
        return answer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def written(folder: Path, *shown: Verdict) -> Path:
    reports.write(shown, folder)
    return folder / "report.html"


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", ["failing", "hostile", "many_slices", "broken_numbers"])
def test_it_fits_any_width_without_a_complaint(
    browser: Browser, tmp_path: Path, name: str, width: int
) -> None:
    browser.open(written(tmp_path, getattr(verdicts, name)()), width)
    assert browser.value("document.documentElement.scrollWidth") <= width
    wide = """[...document.querySelectorAll("main *:not(svg *)")].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.width > 1 && box.right > innerWidth + 1;
    }).map((one) => one.outerHTML.slice(0, 80))"""
    assert browser.value(wide) == []
    assert browser.value("getComputedStyle(document.querySelector('h1')).fontWeight") == "700"
    assert browser.complaints() == []


def test_the_browser_complains_where_there_is_reason(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><script>throw 1</script><img src=missing.png>")
    browser.open(page, DESK)
    found = str(browser.complaints())
    assert "Runtime.exceptionThrown" in found and "missing.png" in found


def test_hostile_names_are_only_text(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, verdicts.hostile()), DESK)
    text = browser.value("document.body.innerText")
    assert "<img src=x onerror=alert(1)>" in text
    assert "</script><script>alert(1)</script>" in text
    assert browser.value("document.querySelectorAll('img, script').length") == 2
    assert browser.complaints() == []


def test_slices_are_picked_ordered_and_found(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, verdicts.many_slices(200)), DESK)
    shown = """[...document.querySelectorAll("#slice-table tbody:not([hidden]) tr:not([hidden])")]
        .filter((row) => row.checkVisibility()).map((row) => row.innerText)"""
    assert len(browser.value(shown)) == 201  # the metric's head, and its slices
    assert browser.value("document.querySelector('output').innerText") == "200 shown"
    pick = "(() => {{ const f = document.querySelector('form.tools').elements; {} ;"
    pick += "f.find.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
    browser.value(pick.format("f.find.value = 'STORE 0001'; f.order.value = 'rows'"))
    rows = browser.value(shown)
    assert len(rows) == 11 and rows[0].startswith("roc_auc")
    counts = [int(row.split()[-1].replace(",", "")) for row in rows[1:]]
    assert counts == sorted(counts, reverse=True)
    browser.value(pick.format("f.metric.selectedIndex = 2; f.find.value = ''"))
    assert browser.value(shown)[0].startswith("log_loss lower is better")


def test_a_plot_is_read_by_pointer_and_by_key(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, verdicts.rich()), DESK)
    box = browser.value(
        "(() => { const p = document.querySelector('svg.plot'); p.scrollIntoView();"
        "const b = p.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
    )
    place = {"x": box[0] + box[2] * 0.6, "y": box[1] + box[3] / 2}
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
    readout = "document.querySelector('.readout').innerText"
    text = browser.value(readout)
    assert re.match(r"false positive rate 0\.\d+ · candidate: true positive rate 0\.\d+", text)
    browser.value("document.querySelector('svg.plot').focus()")
    for _ in range(2):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight")
    assert browser.value(readout).startswith("false positive rate 0.01667")
    assert browser.complaints() == []


def test_without_script_all_text_is_there(browser: Browser, tmp_path: Path) -> None:
    page = written(tmp_path, verdicts.many_slices(50))
    browser.open(page, PHONE, script=False)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]

    def heights(selector: str) -> list[int]:
        found = browser.call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]
        return [browser.call("DOM.getBoxModel", nodeId=one)["model"]["height"] for one in found]

    groups = heights("#slice-table tbody")
    assert len(groups) == 3 and min(groups) > 1000
    assert len(heights("svg.plot")) == 4
    with pytest.raises(AssertionError, match="box model"):
        heights("form.tools")


def test_light_and_dark_follow_the_reader(browser: Browser, tmp_path: Path) -> None:
    page = written(tmp_path, verdicts.failing())
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open(page, PHONE)
    assert browser.value(ground) == "rgb(255, 255, 255)"
    browser.open(page, PHONE, dark=True)
    assert browser.value(ground) == "rgb(17, 21, 26)"


def test_paper_has_tables_and_all_of_them(browser: Browser, tmp_path: Path) -> None:
    paper = 717  # A4 and its usual edges
    browser.open(written(tmp_path, verdicts.rich()), paper)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.value("document.documentElement.scrollWidth") <= paper
    row = """[...document.querySelectorAll(".checks tr:first-child > *")]
        .map((cell) => cell.getBoundingClientRect().top)"""
    tops = browser.value(row)
    assert len(tops) == 14 and len(set(tops)) == 2  # the head, and a check beside its numbers


def test_the_overview_leads_to_the_pages(browser: Browser, tmp_path: Path) -> None:
    other = replace(verdicts.failing(), model="fare")
    browser.open(written(tmp_path, verdicts.rich(), other), PHONE)
    assert browser.value("document.documentElement.scrollWidth") <= PHONE
    link = browser.value("document.querySelector('a').href")
    assert link == (tmp_path / "fare" / "report.html").as_uri()
    assert browser.complaints() == []
