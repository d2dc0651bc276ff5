"""Download: given files that are not there yet, from the table of sources, into the benchmark root.

`table` says what a source is, `choice` which ones a run needs, `space` whether they fit; `run` carries one out with `http`,
`hub` or `drive`, `archives` and `place`. What it knows is kept below `ROOT/.downloads` (docs/formats.md).
"""
