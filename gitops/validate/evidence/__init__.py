"""The evidence of a verdict: `with gather(root, model, say=say) as evidence: ...`."""

from gitops.validate.evidence.gather import Evidence as Evidence
from gitops.validate.evidence.gather import gather as gather
from gitops.validate.evidence.gather import text_at as text_at
from gitops.validate.evidence.revisions import target as target
from gitops.validate.evidence.sides import Commands as Commands
