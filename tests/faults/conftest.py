"""What faults are injected into."""

from tests.unit.promote.conftest import better, good, plain, promoted, running, worse

__all__ = ["better", "good", "plain", "promoted", "running", "worse"]
