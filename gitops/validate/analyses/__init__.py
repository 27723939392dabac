"""What the gate looks at beside the metrics: importance, leakage, data, drift and cost.

Each takes plain values (the judged `Table`, raw inputs in its row order, packages) and a seed, and
gives values of `gitops.validate.model`. Large tables are sampled; texts say from how many rows.
"""

from gitops.validate.analyses.cost import cost
from gitops.validate.analyses.data import data
from gitops.validate.analyses.drift import Drift, drift
from gitops.validate.analyses.importance import Explained, importance
from gitops.validate.analyses.leakage import leakage

__all__ = ["Drift", "Explained", "cost", "data", "drift", "importance", "leakage"]
