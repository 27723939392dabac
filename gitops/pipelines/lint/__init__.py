"""`gitops lint`: what no other tool says of GitHub's and Azure's workflow files."""

from gitops.pipelines.lint.model import Finding as Finding
from gitops.pipelines.lint.model import Known as Known
from gitops.pipelines.lint.rules import RULES as RULES
from gitops.pipelines.lint.run import Linted as Linted
from gitops.pipelines.lint.run import lint as lint
