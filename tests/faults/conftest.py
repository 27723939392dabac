"""What faults are injected into."""

from tests.unit.promote.conftest import better, good, plain, promoted, running, worse
from tests.unit.setup.conftest import azure, github

__all__ = ["azure", "better", "github", "good", "plain", "promoted", "running", "worse"]
