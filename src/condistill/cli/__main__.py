"""`python -m condistill.cli`."""

import sys

from condistill.cli.main import main

sys.exit(main())
