"""The statistics of the gate: numbers in, numbers out; nothing of git, files or policies."""

from gitops.validate.stats.curves import curves as curves
from gitops.validate.stats.deciding import Sense as Sense
from gitops.validate.stats.deciding import decided as decided
from gitops.validate.stats.deciding import needed_rows as needed_rows
from gitops.validate.stats.fairness import fairness as fairness
from gitops.validate.stats.holm import holm as holm
from gitops.validate.stats.measure import Estimated as Estimated
from gitops.validate.stats.measure import measure as measure
from gitops.validate.stats.metrics import METRICS as METRICS
from gitops.validate.stats.metrics import names_of as names_of
from gitops.validate.stats.metrics import nearest as nearest
from gitops.validate.stats.slicing import Sized as Sized
from gitops.validate.stats.slicing import slices_of as slices_of
from gitops.validate.stats.slicing import worst_slices as worst_slices
