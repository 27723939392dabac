"""Progressive delivery's verdict: evidence in, verdict out; nothing of HTTP, files or git.

`rows_of` turns answers and labels into rows with outcomes, `gather` rows into independent units,
and `judge` units into a verdict. All is recomputed at each look: 20,000 units take 0.05 s.
"""

from gitops.rollout.answers import rows_of as rows_of
from gitops.rollout.model import Bound as Bound
from gitops.rollout.model import Check as Check
from gitops.rollout.model import Evidence as Evidence
from gitops.rollout.model import Pairs as Pairs
from gitops.rollout.model import Rows as Rows
from gitops.rollout.model import Split as Split
from gitops.rollout.model import Verdict as Verdict
from gitops.rollout.outcome import Outcomes as Outcomes
from gitops.rollout.outcome import metric_of as metric_of
from gitops.rollout.outcome import outcomes as outcomes
from gitops.rollout.outcome import span as span
from gitops.rollout.units import gather as gather
from gitops.rollout.verdict import judge as judge
from gitops.rollout.words import record as record
from gitops.rollout.words import words as words
