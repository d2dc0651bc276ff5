"""Where results come from: keys of jobs and files, fingerprints of given files, and what a script does around its work."""
