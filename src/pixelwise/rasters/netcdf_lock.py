"""One lock for all that calls the NetCDF library."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

__all__ = ["NETCDF", "lock_of"]

#: libhdf5, as netCDF4's wheels have it, is not safe for threads, and netCDF4 does not lock it. xarray locks reading,
#: but not the attributes that it reads while it opens a file: a thread that opens and one that reads crash the process.
NETCDF = threading.RLock()


def lock_of(driver: str) -> AbstractContextManager[object]:
    """Return what to hold while a file of a driver is opened, read or closed."""
    return NETCDF if driver == "NetCDF" else nullcontext()
