"""Sphinx's settings: `make docs` builds the pages of this folder as a site that asks no other host."""

project = "attribench"
author = "attribench contributors"
copyright = author

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
smartquotes = False  # `--` of a command is no dash
# Every heading is a target for links. A link to one that is not there is a warning, which ends the build.
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = "attribench"
html_static_path = ["static"]
html_favicon = "static/favicon.svg"
html_css_files = ["site.css"]
html_copy_source = False
# A page that is opened from disk may not fetch others, from which the search would quote.
html_show_search_summary = False


def setup(app):
    """Mend what the theme lacks for keyboards and screen readers, after it has made its part of a page."""
    app.connect("html-page-context", _make_accessible, priority=900)


def _make_accessible(app, page, template, context, doctree):
    navigation = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = navigation.replace('role="heading"', 'role="heading" aria-level="2"')
    # What is too wide is scrolled, by the keyboard too.
    for element in ("<pre", '<div class="table-wrapper'):
        tag, *attributes = element.split(" ", 1)
        focusable = " ".join([tag, 'tabindex="0"', *attributes])
        context["body"] = context.get("body", "").replace(element, focusable)
