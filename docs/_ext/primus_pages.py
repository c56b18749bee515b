"""Fits pages that are also read in the repository into the site: links out of `docs/`, and the navigation.

The navigation has the sections of `index.md` and the pages that it links to, so there is one list of them.
"""

import re

from sphinx.application import Sphinx

OUTSIDE = {
    "README.md": "readme",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "SECURITY.md": "security",
}
LINK = re.compile(r"\]\((?:\.\./)*([A-Z]+\.md)(#[\w-]+)?\)")
SECTION = re.compile(r"^## (.+)\n", re.MULTILINE)
TARGET = re.compile(r"^- \[.*?\]\((?:/?)([\w/-]+)\.md\)", re.MULTILINE)


def rewrite(app: Sphinx, docname: str, source: list[str]) -> None:
    text = LINK.sub(lambda match: f"](/{OUTSIDE[match[1]]}.md{match[2] or ''})", source[0])
    if docname == app.config.root_doc:
        text += navigation(text)
    source[0] = text


def navigation(index: str) -> str:
    parts = SECTION.split(index)
    trees = []
    for caption, body in zip(parts[1::2], parts[2::2], strict=True):
        pages = "\n".join(TARGET.findall(body))
        trees.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n")
    return "".join(trees)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", rewrite)
    app.connect("include-read", lambda app, path, docname, source: rewrite(app, docname, source))
    return {"parallel_read_safe": True}
