"""`make serve`: the processes of one machine, started together and stopped together."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

from django.conf import settings
from django.db import DatabaseError, close_old_connections

from accounts.models import User
from accounts.registration import needs_setup_token
from accounts.runtime import env
from core.stopping import Stop
from inference.guardian import PR_SET_PDEATHSIG
from inference.hardware import host_environment
from inference.setup_steps import Step, setup_steps
from inference.web_server import gunicorn_command

LOOK_S, SAY_EVERY_S, STOP_S, RESTART_S = 0.5, 5.0, 40.0, 2.0
Say = Callable[[str], None]


class ServeError(Exception):
    """One line that says what is in the way and what to do."""


def listening_socket() -> socket.socket:
    """The socket the web processes will accept on, taken before anything else is done.

    Raises ServeError where the port is taken or the address is not ours.
    """
    host, port = env().listen
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and not host:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        taken.bind((host or "::", port))
    except PermissionError as exc:
        raise ServeError(f"port {port} needs more rights; choose one above 1023") from exc
    except OSError as exc:
        if exc.errno == 98:
            raise ServeError(
                f"port {port} is taken; stop the other program or set LOCALAI_ADDRESS=127.0.0.1:8081"
            ) from exc
        raise ServeError(f"cannot listen on {env().address}: {exc.strerror}") from exc
    taken.listen(2048)
    taken.set_inheritable(True)
    return taken


def _end_with_us() -> None:
    """In a child: be told to stop when this process ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One of our long-lived processes, started again when it falls (the web processes excepted)."""

    def __init__(self, name: str, command: list[str], *, fds: tuple[int, ...] = ()) -> None:
        self.name = name
        self._command = command
        self._fds = fds
        self._process: subprocess.Popen[bytes] | None = None
        self._again_at = 0.0

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=host_environment(),
            pass_fds=self._fds,
            stdin=subprocess.DEVNULL,
            preexec_fn=_end_with_us,
            start_new_session=True,  # Ctrl-C is ours to pass on, in order
        )

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def start_again(self, say: Say) -> None:
        now = time.monotonic()
        if not self._again_at:
            say(f"{self.name} ended; starting it again")
            self._again_at = now + RESTART_S
        elif now >= self._again_at:
            self._again_at = 0.0
            self.start()

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Server:
    """Everything `make serve` starts. `run` returns the exit status; `stop` may come from a signal."""

    def __init__(self, listening: socket.socket, *, with_engines: bool, say: Say) -> None:
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
        fd = listening.fileno()
        self._web = Child("web", gunicorn_command(fd=fd), fds=(fd,))
        self._others = [Child("background", [*manage, "runbackground"])]
        if with_engines:
            self._others.append(Child("engine", [*manage, "runengine"]))
        self._say = say
        self._stop = Stop()
        self._said: dict[str, tuple[str, float, str]] = {}

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> int:
        started = time.monotonic()
        for child in (self._web, *self._others):
            child.start()
        try:
            if not self._wait_for_page(started):
                return 1 if not self._stop.is_set() else 0
            self._greet()
            return self._watch()
        finally:
            self._end()

    def _wait_for_page(self, started: float) -> bool:
        """Until `/healthz` answers; False where the web processes ended first."""
        while not self._stop.is_set():
            if self._web.has_ended():
                return False
            if page_answers():
                self._say(f"web is up after {time.monotonic() - started:.1f} s")
                return True
            self._stop.wait(0.1)
        return False

    def _greet(self) -> None:
        self._say(f"Gatehouse listens on {env().public_url}")
        if not env().auth:
            return
        if User.objects.exists():
            self._say(f"Sign in at {env().public_url}/login")
        else:
            self._say(f"Next: create the admin account at {env().public_url}/register")
            if needs_setup_token():
                self._say(
                    "It asks for the token that `.venv/bin/python manage.py setuptoken` shows"
                )

    def _watch(self) -> int:
        while not self._stop.wait(LOOK_S):
            if self._web.has_ended():
                self._say("the web processes ended; stopping")
                return 1
            for child in self._others:
                if child.has_ended():
                    child.start_again(self._say)
            self._tell_progress()
        self._say("stopping")
        return 0

    def _tell_progress(self) -> None:
        """A line when a step changes, and every few seconds while one moves."""
        close_old_connections()
        try:
            steps = setup_steps()
        except DatabaseError:
            return
        for step in steps:
            self._tell(step)
        if steps and "ready" not in self._said and all(step.state == "done" for step in steps):
            self._said["ready"] = ("done", 0.0, "")
            self._say(f"Ready. Make a key and ask a first question at {env().public_url}/app")

    def _tell(self, step: Step) -> None:
        state, at, text = self._said.get(step.name, ("", 0.0, ""))
        now = time.monotonic()
        line = _line(step)
        moved = step.state == "now" and line != text and now - at >= SAY_EVERY_S
        if step.state != state or moved:
            self._said[step.name] = (step.state, now, line)
            if step.state != "waiting":
                self._say(line)

    def _end(self) -> None:
        deadline = time.monotonic() + STOP_S
        for child in (self._web, *self._others):
            child.ask_to_stop()
        for child in (self._web, *self._others):
            child.wait(deadline)


def _line(step: Step) -> str:
    if step.state == "done":
        return f"{step.title}: ready"
    if step.state == "failed":
        return f"{step.title}: failed. {step.message}"
    share = f" {step.progress} %" if step.progress else ""
    return f"{step.title}:{share} {step.message}".rstrip()


def page_answers() -> bool:
    """Whether the web process answers on the address it was given."""
    host, port = env().listen
    local = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host
    connection = HTTPConnection(local, port, timeout=1)
    try:
        connection.request("GET", "/healthz", headers={"host": "localhost"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
