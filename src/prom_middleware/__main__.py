"""Run the command line."""

import sys

from prom_middleware.cli import main

sys.exit(main())
