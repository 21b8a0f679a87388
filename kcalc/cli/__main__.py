"""``python -m kcalc.cli``."""

import sys

from kcalc.cli import main

sys.exit(main())
