"""`snakemake --lint`, of which every finding is mended or argued away here."""

import re
import subprocess
import sys
from pathlib import Path

ARGUED_AWAY = {
    "Specify a conda environment or container for each rule.": (
        "All rules run in the one environment of envs/requirements.txt (envs/environment.yaml for conda), in which "
        "Snakemake itself runs: the library is shared by all of them, and one lock file is what a reader can check."
    ),
    "Mixed rules and functions in same snakefile.": (
        "A stage's key and inputs stand beside its rule, so that who changes the rule sees them; what several stages "
        "use is in rules/common.smk."
    ),
}


def main() -> int:
    repository = Path(__file__).parents[2]
    lint = [sys.executable, "-m", "snakemake", "--lint"]
    done = subprocess.run(lint, cwd=repository, capture_output=True, text=True, timeout=300)
    report = done.stdout + done.stderr
    findings = re.findall(r"^    \* (.*?):?$", report, re.MULTILINE)
    if not findings and "Congratulations" not in report:
        print(report)
        return 1
    open_findings = [finding for finding in findings if finding not in ARGUED_AWAY]
    if open_findings:
        print(report)
    print(f"snakemake --lint: {len(findings)} findings, {len(open_findings)} of them not argued away")
    return bool(open_findings)


if __name__ == "__main__":
    sys.exit(main())
