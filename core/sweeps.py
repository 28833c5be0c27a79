"""What the background process sweeps now and then, for apps that it does not know."""

from collections.abc import Callable

# Each deletes or ends what is over; it may raise what the database raises.
SWEEPS: list[Callable[[], object]] = []
