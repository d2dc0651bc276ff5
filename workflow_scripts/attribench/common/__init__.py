"""Hold what every part of the library uses: errors, files, progress, reading ahead, typed settings."""
