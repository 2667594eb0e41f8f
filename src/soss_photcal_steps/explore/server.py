"""The web server of the explorer: on this machine only, and for who has the token only."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Sequence

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import Server
from bokeh.util.token import generate_session_id
from tornado.platform.asyncio import BaseAsyncIOLoop

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.explore.page import ExplorerPage
from soss_photcal_steps.explore.save import Saved
from soss_photcal_steps.explore.state import ExplorerState

__all__ = ["ExplorerServer"]

_HOST = "127.0.0.1"
_TRIES = 5


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((_HOST, 0))
        return int(one.getsockname()[1])


class ExplorerServer:
    """The server.

    It listens on the loopback address.  A page is given only to a request that has the token,
    which is new at each start and part of `url`; its connection is taken only from a page of
    this server, as the header ``Origin`` tells.

    Parameters
    ----------
    exposures : sequence of tuple of str
        Exposures to choose from, each a file or its segments.
    opener : callable
        Makes the state of an exposure.  States are kept, so that a page that is loaded again shows
        what was chosen.
    saver : callable
        Writes what was chosen.
    port : int, optional
        Port; 0 takes a free one.

    Raises
    ------
    SossInputError
        If the port cannot be used.
    """

    def __init__(
        self,
        exposures: Sequence[tuple[str, ...]],
        opener: Callable[[tuple[str, ...]], ExplorerState],
        saver: Callable[[ExplorerState], Saved],
        port: int = 0,
    ) -> None:
        self._exposures, self._saver = list(exposures), saver
        self._opener = opener
        self._states: dict[tuple[str, ...], ExplorerState] = {}
        self._shown = 0
        secret = secrets.token_urlsafe(32)
        # Bokeh says at each start that it has started, with addresses that need the token.
        logging.getLogger("bokeh").setLevel(logging.ERROR)
        self._server, self.port = self._start(port, secret)
        self.url = (
            f"http://{_HOST}:{self.port}/"
            f"?bokeh-session-id={generate_session_id(secret_key=secret.encode(), signed=True)}"
        )

    def _start(self, port: int, secret: str) -> tuple[Server, int]:
        reason = ""
        for _ in range(1 if port else _TRIES):
            number = port or _free_port()
            try:
                server = Server(
                    {"/": Application(FunctionHandler(self._fill))},
                    address=_HOST,
                    port=number,
                    allow_websocket_origin=[f"{_HOST}:{number}"],
                    sign_sessions=True,
                    secret_key=secret.encode(),
                    generate_session_ids=False,
                    # A ping that meets a page that is being closed takes the page for lost;
                    # Bokeh then fails when it hears of the closing.  Pings keep proxies from
                    # closing a connection, and there is none on this address.
                    keep_alive_milliseconds=0,
                )
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            return server, number
        raise SossInputError(f"Port {port or 'any'} of {_HOST} cannot be used: {reason}.")

    def state(self, exposure: tuple[str, ...]) -> ExplorerState:
        """Give the state of an exposure.

        Parameters
        ----------
        exposure : tuple of str
            Its files.

        Returns
        -------
        ExplorerState
            The same each time.

        Raises
        ------
        SossInputError
            If a file cannot be used.
        """
        if exposure not in self._states:
            self._states[exposure] = self._opener(exposure)
        # What is opened was asked for last, and is shown again when the page is loaded again.
        self._shown = self._exposures.index(exposure)
        return self._states[exposure]

    def _fill(self, document: Document) -> None:
        ExplorerPage(document, self._exposures, self.state, self._saver, self._shown)

    def run(self) -> None:
        """Serve until the process is interrupted."""
        self._server.start()
        loop = self._server.io_loop
        # An exception in the midst of a callback could be lost: the loop is told instead.
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and isinstance(loop, BaseAsyncIOLoop):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.asyncio_loop.add_signal_handler(number, loop.stop)
        try:
            loop.start()
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()
        self._server.io_loop.stop()
