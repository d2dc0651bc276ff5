"""Sphinx's settings: `make docs` builds the pages of this folder as a site that asks no other host."""

project = "attribench"
author = "attribench contributors"
copyright = author

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# Every heading is a target for links, so that a link to one that is not there is a warning, which ends the build.
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = "attribench"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
# A page that is opened from disk may not fetch others, from which the search would cut what stands around a hit.
html_show_search_summary = False
