"""`main`: one command line, one exit code. Every error a user can cause ends as one line here."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from typer.exceptions import Exit, TyperException

from condistill.cli.app import build, verb_names
from condistill.cli.stopping import Stopped
from condistill.errors import Remark, UserError, nearest, one_line, panics_said
from condistill.files import FULL
from condistill.memory import advising
from condistill.stopping import interrupting

DONE, BUG, MISTAKE, STOPPED = 0, 1, 2, 130
_AS_PYTHON = warnings.formatwarning


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command line: 0 done, 1 a bug (traceback), 2 a user's mistake (one line), 130 stopped.

    Args:
        argv: the arguments after the program's name; those of the process where not given.
    """
    _quiet_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a prompt may hold what the locale cannot show
    try:
        with interrupting() as asked:
            try:
                with (
                    advising("ask for less at once: a smaller batch, fewer items or a smaller size"),
                    panics_said("damaged files, most likely of a tokenizer"),
                ):
                    return _run(list(sys.argv[1:] if argv is None else argv))
            except Exception as error:
                if asked.is_set() and not isinstance(error, Stopped):
                    raise KeyboardInterrupt from error
                raise
    except Stopped as stopped:
        return _fail(f"stopped; {stopped}", STOPPED)
    except KeyboardInterrupt:
        return _fail("stopped; everything written before is kept", STOPPED)
    except UserError as error:
        return _fail(str(error), MISTAKE)
    except TyperException as error:
        return _fail(_usage(error), MISTAKE)
    except (BrokenPipeError, SystemExit):
        # typer exits after shell completion, and when the reader of our output has gone (`condistill ls | head -1`)
        return _leave_quietly()
    except OSError as error:
        message = _of_the_system(error)
        if message is None:
            return _bug()
        return _fail(message, MISTAKE)
    except Exception:
        return _bug()


def _run(argv: list[str]) -> int:
    if not argv:
        argv = ["--help"]
    try:
        code = build()(argv, prog_name="condistill", standalone_mode=False)
    except Exit as finished:
        code = finished.exit_code
    if code == STOPPED:  # typer turns a KeyboardInterrupt into this code
        raise KeyboardInterrupt
    sys.stdout.flush()
    return code if isinstance(code, int) else DONE


def _fail(message: str, code: int) -> int:
    if code == STOPPED:
        # an interruption that fell into a library's exec of a text would end a process started by -m with SIGINT in
        # place of this code (CPython 3.11, unhandled_keyboard_interrupt); the next exec of a text forgets it
        exec("")
    with contextlib.suppress(OSError, ValueError):
        print(f"condistill: {'' if code == STOPPED else 'error: '}{' '.join(message.split())}", file=sys.stderr)
    return code


def _leave_quietly() -> int:
    try:
        sys.stdout.flush()
    except OSError:
        # no second complaint when Python flushes at its own end
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _bug() -> int:
    traceback.print_exc()
    return BUG


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "condistill"
    said = error.format_message() if hasattr(error, "format_message") else str(error)  # type: ignore[attr-defined]
    got = _unknown_verb(said)
    if got is not None:
        guess = nearest(got, verb_names())
        hint = f"did you mean {guess!r}? " if guess else ""
        return f"no such command {got!r}; {hint}known: {', '.join(verb_names())}"
    return f"{said[:1].lower()}{said[1:].rstrip('.')}; see {path} --help"


def _unknown_verb(said: str) -> str | None:
    start = "No such command '"
    return said.removeprefix(start).partition("'")[0] if said.startswith(start) else None


def _of_the_system(error: OSError) -> str | None:
    """What the system refused, in one line; None where it is no mistake of the user."""
    place = f": {error.filename}" if error.filename else ""
    if error.errno in FULL:
        return f"no space left on the disk{place}; nothing written before is lost: free some and run the same again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"not permitted to read or write{place}; choose another folder or change its permissions"
    if error.errno == errno.ENAMETOOLONG:
        return "a file name is too long; choose a shorter one"
    return None


def _quiet_libraries() -> None:
    """Progress and advice of the libraries below us are off unless the user asked for them in the environment."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY", "HF_HUB_VERBOSITY"):
        os.environ.setdefault(name, "error")
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY", "TQDM_DISABLE"):
        os.environ.setdefault(name, "1")
    if not sys.warnoptions:
        # what libraries will change one day is for developers; python -W default shows it
        warnings.simplefilter("ignore", FutureWarning)
    warnings.formatwarning = _remarked


def _remarked(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A remark of ours in one line; any other warning as Python writes it."""
    if issubclass(category, Remark):
        return f"condistill: {one_line(str(message))}\n"
    return _AS_PYTHON(message, category, filename, lineno, line)
