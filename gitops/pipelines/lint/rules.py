"""All rules."""

from __future__ import annotations

from gitops.pipelines.lint import actions, jobs, parity, scripts, secrets
from gitops.pipelines.lint.model import BOTH, Rule

RULES = (
    Rule("syntax", "A file that can't be read, or whose YAML is ambiguous.", BOTH),
    Rule("timeout", "A job without a timeout.", BOTH, jobs.timeout),
    Rule("step-name", "A step without a name.", BOTH, jobs.step_name),
    Rule("permissions", "No permissions at the top of the file.", ("github",), jobs.permissions),
    Rule("cancel", "A new push to a pull request leaves the old run going.", BOTH, jobs.cancel),
    Rule("cancel-delivery", "A run that delivers may be cancelled.", BOTH, jobs.cancel_delivery),
    Rule("cron", "A schedule that is wrong, or never fires.", BOTH, jobs.schedule),
    Rule("matrix", "A matrix of more than 256 jobs.", BOTH, jobs.matrix),
    Rule("needs", "A job that needs one that isn't there, or itself.", BOTH, jobs.needs),
    Rule("pin", "An action that isn't pinned to a full commit.", ("github",), actions.pin),
    Rule(
        "pin-tag", "A commit without its exact tag beside it, or with another's.", ("github",),
        actions.pin_tag,
    ),
    Rule("install", "An installation that no lock fixes.", BOTH, scripts.install),
    Rule("injection", "Somebody else's text becomes part of a script.", BOTH, scripts.injection),
    Rule("secret", "A fork's pull request comes near a secret.", ("github",), secrets.secret),
    Rule(
        "check-name", "Two checks of one name on pull requests.", ("github",), all=jobs.check_name
    ),
    Rule("parity", "The GitHub and the Azure file of one name differ.", BOTH, all=parity.parity),
    Rule("drift", "A generated file isn't as gitops writes it.", BOTH),
    Rule("ignore", "An ignore without a reason, or one that ignores nothing.", BOTH),
)  # fmt: skip
