"""``lime-tuner dashboard``: optuna-dashboard on the studies, while they run and afterwards."""

from __future__ import annotations

import ipaddress
import logging
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from studies.dashboard import dashboard_app
from studies.storage import check_storage, describe
from studies.web.listener import bound_socket
from tuner.cli.options import StorageOptions, takes_groups
from tuner.cli.output import errors
from tuner.cli.servers.serving import address_of, check_installed
from tuner.options import SERVER

if TYPE_CHECKING:
    from socket import socket

__all__ = ["dashboard"]

_NEEDED = {"optuna_dashboard": "optuna-dashboard", "waitress": "waitress"}
_THREADS = 8  # a browser opens six connections


@takes_groups
def dashboard(
    where: StorageOptions,
    host: Annotated[
        str, typer.Option(help="Address to listen on.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", rich_help_panel=SERVER)] = 8080,
    open_browser: Annotated[
        bool,
        typer.Option("--open/--no-open", help="Show it in the browser.", rich_help_panel=SERVER),
    ] = False,
) -> None:
    """Serve optuna-dashboard on the storage.

    Studies, trials, pictures, notes and plots. It may run beside tune, on the same database.
    """
    check_installed("dashboard", _NEEDED)
    url = where.storage
    check_storage(url, write=False)
    with bound_socket(host, port) as bound:
        _serve(url, bound, open_browser=open_browser)


def _serve(url: str, bound: socket, *, open_browser: bool) -> None:
    import waitress

    app = dashboard_app(url)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # requests may have to wait
    server = waitress.create_server(app, sockets=[bound], threads=_THREADS)
    host, address = bound.getsockname()[0], address_of(bound)
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        errors.print(
            f"warning: whoever reaches {host} can see, change and delete these studies: "
            "optuna-dashboard has no login", markup=False,
        )  # fmt: skip
    errors.print(f"{describe(url)} on {address}; Ctrl-C ends it", markup=False)
    if open_browser:
        webbrowser.open(address)
    server.run()
    raise KeyboardInterrupt  # the server has caught it and returned
