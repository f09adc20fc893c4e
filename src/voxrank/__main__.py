"""`python -m voxrank`, and where the command `voxrank` begins."""

import signal
import sys


def run() -> None:
    """Run the command line and exit; an interrupt while packages are still being imported is one line as well."""
    try:
        from voxrank.cli.main import exit_code

        sys.exit(exit_code())
    except KeyboardInterrupt:
        sys.stderr.write("voxrank: stopped\n")
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    run()
