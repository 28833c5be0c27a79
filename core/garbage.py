"""How a process that serves for long collects garbage."""

import gc


def settle() -> None:
    """What is here now stays: no collection has to walk it again, and fewer of them come.

    Called once everything is imported. Without it a collection of the oldest generation stops a web
    worker for a tenth of a second.
    """
    gc.collect()
    gc.set_threshold(20_000, 20, 50)
    gc.freeze()
