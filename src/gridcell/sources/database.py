"""The database engine that reads tables: DuckDB, in memory, without the network, and silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridcell.errors import MissingExtraError
from gridcell.process import cores

if TYPE_CHECKING:
    import duckdb


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection of its own.

    Raises   MissingExtraError where DuckDB is not installed
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError(
            "Tables are read with DuckDB, which is not installed.", fix="pip install duckdb"
        ) from error
    # Nothing is fetched from the network because a table asks for it.
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "threads": cores(),
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    # A bar of its own would run into what we print.
    connection.execute("SET enable_progress_bar = false")
    return connection
