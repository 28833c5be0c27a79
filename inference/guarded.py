"""Starting and ending a guarded process: an engine, or an operation's work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from inference.engine_output import EngineOutput

GUARDIAN = Path(__file__).parent / "guardian.py"
MAX_LOG_BYTES, KEPT_LOG_BYTES = 20 * 1024 * 1024, 1024 * 1024
STOP_TIMEOUT_S = 20.0


class Guarded:
    """One guardian and what it guards; what it writes goes to the file `log`, or to `output`."""

    def __init__(
        self, command: list[str], *, environment: dict[str, str], log: Path | EngineOutput
    ) -> None:
        self.log = log
        line = [sys.executable, str(GUARDIAN), *command]
        if isinstance(log, EngineOutput):
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
            assert self._process.stdout is not None  # noqa: S101  # both are pipes
            assert self._process.stderr is not None  # noqa: S101
            log.follow(self._process.stdout, self._process.stderr)
            return
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the whole tree and wait until it is empty."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if isinstance(self.log, EngineOutput):
            self.log.finish()

    def last_lines(self, n_bytes: int = 8192) -> list[str]:
        """The end of its log."""
        if isinstance(self.log, EngineOutput):
            self.log.finish()
            return self.log.last_texts()
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - n_bytes))
                return file.read().decode(errors="replace").splitlines()
        except OSError:
            return []

    def trim_log(self) -> None:
        """Keep the end of a log that grew too long; the writer appends, so nothing moves under it.

        Nothing where it goes to an `EngineOutput`, whose writer keeps it short.
        """
        if isinstance(self.log, EngineOutput):
            return
        try:
            if self.log.stat().st_size <= MAX_LOG_BYTES:
                return
            with self.log.open("r+b") as file:
                file.seek(-KEPT_LOG_BYTES, os.SEEK_END)
                kept = file.read()
                file.seek(0)
                file.write(kept)
                file.truncate()
        except OSError:
            return
