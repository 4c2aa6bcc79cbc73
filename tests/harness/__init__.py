"""Real processes for end-to-end tests: Glassline itself and the simulated provider, started and always ended again."""

from tests.harness.glassline import Glassline
from tests.harness.process import DeadlineError, Process, wait_until
from tests.harness.simulator import Simulator

__all__ = ["DeadlineError", "Glassline", "Process", "Simulator", "wait_until"]
