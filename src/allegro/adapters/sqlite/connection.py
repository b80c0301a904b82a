"""One SQLite database, one thread, group commit: whatever gathered is one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from allegro.core.base.errors import EdgeError, Unholdable

_log = structlog.get_logger()
MAX_JOBS = 512
BUSY_MS = 5_000

T = TypeVar("T")
Job = tuple[Callable[[sqlite3.Connection], object], "asyncio.Future[object]"]
_Done = list[tuple["asyncio.Future[object]", object, BaseException | None]]


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open or make a database that loses nothing it has committed, even at power loss.

    WAL with synchronous=FULL; on macOS also fullfsync, without which the drive's cache lies.
    The file is readable by its owner only. Raises EdgeError when it cannot be opened.
    """
    try:
        path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if sys.platform == "darwin":
            connection.execute("PRAGMA fullfsync=1")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.executescript(schema)
    except (sqlite3.Error, OSError) as error:
        raise unopened(path, error) from error
    return connection


def unopened(path: Path, error: Exception) -> EdgeError:
    """Return why a database cannot be opened, and what to do about a damaged one."""
    message = f"cannot open {path.name}: {error}"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        message += (
            f". The file is damaged: put a copy back, or move {path.name}, its -wal and its -shm"
            " away and start again. What is lost by that is told after the start"
        )
    return EdgeError(message, transient=False)


class Worker:
    """The thread that owns a connection. `run` returns when the job's transaction is on disk.

    Jobs that wait while a commit is in flight share the next one. A job that raises is undone
    alone. Call `close` once; it finishes what was queued.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        on_undo: Callable[[sqlite3.Connection], None] | None = None,
        between: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """`on_undo` runs in the thread after any rollback, to re-read what jobs keep in memory.

        `between` runs there after every transaction, outside of any; it raises nothing.
        """
        self._connection = connection
        self._on_undo = on_undo
        self._between = between
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._closed = False
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue a job; the future holds its result once it is durable."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(EdgeError("the database is closed", transient=False))
            return future
        self._jobs.put((job, future))  # type: ignore[arg-type]
        return future

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in the writer thread.

        Raises EdgeError when the disk refuses, or whatever the job raised.
        """
        return await asyncio.shield(self.submit(job))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _work(self) -> None:
        while True:
            first = self._jobs.get()
            if first is None:
                return
            jobs, last = self._gather(first)
            done = self._done(jobs)
            try:
                self._loop.call_soon_threadsafe(_resolve, done)
            except RuntimeError:  # the loop is gone: a stopping process no longer waits
                return
            if last:
                return

    def _gather(self, first: Job) -> tuple[list[Job], bool]:
        jobs = [first]
        while len(jobs) < MAX_JOBS:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _done(self, jobs: list[Job]) -> _Done:
        """Commit. Whatever goes wrong is each caller's error: a thread that died would answer none."""
        try:
            done = self._commit(jobs)
        except Exception as error:  # noqa: BLE001 (a thread that died would answer nobody)
            _log.error("database.not_committed", error=repr(error), trace=_trace(error))
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            failure = EdgeError(f"database: {error!r}", transient=True, kind="database")
            return [(future, None, failure) for _, future in jobs]
        try:
            if self._between is not None:
                self._between(self._connection)
        except Exception as error:  # noqa: BLE001 (what was committed is committed)
            _log.error("database.not_tended", error=repr(error), trace=_trace(error))
        return done

    def _commit(self, jobs: list[Job]) -> _Done:
        done: _Done = []
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job, future in jobs:
                done.append(self._one(job, future))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._undone()
            edge = EdgeError(f"database: {error}", transient=True, kind=_kind(error))
            return [(future, None, edge) for _, future in jobs]
        return done

    def _one(
        self, job: Callable[[sqlite3.Connection], object], future: asyncio.Future[object]
    ) -> tuple[asyncio.Future[object], object, BaseException | None]:
        self._connection.execute("SAVEPOINT job")
        try:
            result = job(self._connection)
        except sqlite3.OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 (the job's own error travels to its caller)
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            self._undone()
            return future, None, _held(error)
        self._connection.execute("RELEASE job")
        return future, result, None

    def _undone(self) -> None:
        if self._on_undo is not None:
            self._on_undo(self._connection)


def _held(error: Exception) -> Exception:
    """Return the caller's error; what SQLite cannot hold becomes Unholdable."""
    if isinstance(error, sqlite3.Error | OverflowError | UnicodeError):
        return Unholdable(f"no row can hold this: {error}")
    return error


def _trace(error: Exception) -> str:
    return "".join(traceback.format_tb(error.__traceback__))[-4_000:]


def _kind(error: sqlite3.Error) -> str:
    return "disk_full" if "full" in str(error) else "database"


def _resolve(done: _Done) -> None:
    for future, result, error in done:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
