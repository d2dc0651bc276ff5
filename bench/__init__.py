"""`make bench`: what the machine at hand reaches, beside what it could reach. A tool; no stage of the workflow uses it."""
