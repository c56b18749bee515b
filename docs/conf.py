"""Settings of the documentation site, which `make docs` builds."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

from primus_proto import __version__  # noqa: E402

project = "primus-proto"
author = "primus-proto contributors"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "primus_diagrams",
    "primus_matrix",
    "primus_pages",
    "primus_reference",
]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = f"primus-proto {release}"
html_show_sphinx = False
html_copy_source = False

# Links to headings work as on the usual forges.
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
myst_url_schemes = ["http", "https"]

default_role = "literal"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": True, "exclude-members": "NAMES"}
# Signatures as they are written, not what they evaluate to.
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries = False
nitpicky = False
