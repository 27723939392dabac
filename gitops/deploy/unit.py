"""A systemd unit that keeps a machine what the branch says (systemd.service(5))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

_UNIT = """\
# ~/.config/systemd/user/{name}.service, then:
#   systemctl --user daemon-reload && systemctl --user enable --now {name}
#   loginctl enable-linger   (so that it runs from the boot on, without anybody logged in)
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
WorkingDirectory={folder}
{environment}ExecStart={command}
Restart=always
RestartSec=5
# The server goes on answering while the reconciler is restarted or upgraded.
KillMode=process
SuccessExitStatus=130

[Install]
WantedBy=default.target
"""


def unit(
    project: str,
    environment: str,
    folder: Path,
    command: Sequence[str],
    variables: Mapping[str, str],
) -> str:
    """The text of a user unit that runs `command` in `folder`."""
    lines = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in variables.items()
    )
    return _UNIT.format(
        name=f"gitops-{project}-{environment}",
        description=f"{project}: what {environment} runs, as its branch says",
        folder=_escaped(str(folder)),
        environment=lines,
        command=" ".join(_quoted(word).replace("$", "$$") for word in command),
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) reads it."""
    text = _escaped(word).replace("\\", "\\\\").replace('"', '\\"')
    plain = text and not set(text) & set(" \t'\"\\;")
    return text if plain else f'"{text}"'
