"""The site: `make docs`. The reference is written anew from the tool itself each time."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from docs import reference  # noqa: E402
from gitops import __version__  # noqa: E402

project = "gitops"
release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Pictures (mermaid) stay text here: forges draw them.
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "furo"
html_title = f"gitops {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path: list[str] = []

reference.write(HERE / "reference")
