"""A certificate for the TLS servers, signed by itself, made when it is needed."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def make(path: Path) -> bool:
    """Write certificate and key, P-256, to one PEM file; false where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return False
    key = path.with_suffix(".key")
    request = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    about = ("-days", "30", "-subj", "/CN=localhost", "-keyout", key, "-out", path)
    subprocess.run([openssl, *request, *about], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    key.unlink()
    return True
