"""Runs inside an image, with nothing but its Python: starts the service as the entrypoint does, and asks it its golden request.

Its arguments are an address that must be out of reach, the service's port, the folder of the package, and the entrypoint.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

EDGE = "edge"


def body(golden: Path) -> bytes:
    """The golden request as a form: fields of its own, and one picture."""
    fields = json.loads((golden / "request.json").read_text())["fields"]
    parts = [part(f'name="{name}"', json.dumps(value).encode()) for name, value in fields.items()]
    parts.append(part('name="image"; filename="picture.png"', (golden / "picture.png").read_bytes()))
    return b"".join([*parts, f"--{EDGE}--\r\n".encode()])


def part(disposition: str, data: bytes) -> bytes:
    return f"--{EDGE}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data + b"\r\n"


def main(unreachable: str, port: str, home: str, *entrypoint: str) -> None:
    try:
        socket.create_connection((unreachable, 443), 5)
    except OSError:
        pass
    else:
        sys.exit(f"{unreachable} can be reached")
    url = f"http://127.0.0.1:{port}"
    service = subprocess.Popen(entrypoint, stdout=sys.stderr)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        form = {"Content-Type": f"multipart/form-data; boundary={EDGE}"}
        request = urllib.request.Request(f"{url}/predict", body(Path(home) / "src/golden"), form)
        print(urllib.request.urlopen(request, timeout=60).read().decode())
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
