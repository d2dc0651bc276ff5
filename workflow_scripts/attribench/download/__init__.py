"""Download the given files that the benchmark root lacks, from the table of sources.

table     what a source is, and the settings of downloads
choice    which sources a run needs, and what stands for their content in keys
space     how much a run downloads, and whether it fits on the disk
download  one source's job: fetch its files, unpack them, move what it provides into the root, record it
address   where a source's file is: below a URL, on the Hugging Face hub, on Google Drive
http      fetch one file: resume it, try again, verify it
partial   what has come of a source's files, below `ROOT/.downloads/NAME/`
archives  unpack 7z and tar archives, safely
install   find the provided paths in an unpacked archive, and move them into the root

docs/formats.md describes the files below `ROOT/.downloads/`.
"""
