"""Provide what the rules use: the checked config, the plan that follows from it, and the path of every file."""
