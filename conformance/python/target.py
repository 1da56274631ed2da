"""Where the suites send their requests, and the simulator's own count of what arrived."""

import json
import os
import time
import urllib.request
from dataclasses import dataclass
from typing import Optional

# Environment variables that name the gateway whose account is in this trouble.
TROUBLES = ("limited", "arrears", "denied", "expired")


@dataclass(frozen=True)
class Place:
    """One address and the key to use there."""

    url: str
    key: str

    @property
    def native(self) -> str:
        return self.url + "/api/v1"

    @property
    def openai(self) -> str:
        return self.url + "/compatible-mode/v1"

    @property
    def anthropic(self) -> str:
        return self.url + "/apps/anthropic"


@dataclass(frozen=True)
class Target:
    """What is tested: ``gateway``, ``simulator`` or ``live``."""

    kind: str
    place: Place
    simulator_url: Optional[str]

    @classmethod
    def from_environment(cls) -> "Target":
        return cls(
            kind=os.environ["CONFORMANCE_TARGET"],
            place=Place(os.environ["CONFORMANCE_URL"], os.environ["CONFORMANCE_API_KEY"]),
            simulator_url=os.environ.get("CONFORMANCE_SIMULATOR_URL"),
        )

    def troubled(self, trouble: str) -> Place:
        """A place whose account is limited, in arrears, denied or expired."""
        assert trouble in TROUBLES
        if self.kind == "simulator":
            return Place(self.place.url, f"sk-{trouble}-conformance")
        url = os.environ[f"CONFORMANCE_{trouble.upper()}_URL"]
        return Place(url, os.environ["CONFORMANCE_TROUBLED_KEY"])

    def direct(self) -> Place:
        """The simulator without a gateway in between."""
        assert self.simulator_url
        return Place(self.simulator_url, "sk-reference")


class Simulator:
    """The simulator's control interface."""

    def __init__(self, url: str):
        self._url = url

    def journal(self):
        """One entry for each request served since the last reset."""
        return self._call("GET", "/__sim/journal")

    def reset(self):
        self._call("POST", "/__sim/reset")

    def configure(self, settings):
        """Changes these settings; ``None`` resets one."""
        self._call("PUT", "/__sim/config", settings)

    def wait_for(self, wanted, seconds: float = 10.0):
        """The first journal entry for which ``wanted`` is true."""
        deadline = time.monotonic() + seconds
        while True:
            entries = self.journal()
            for entry in entries:
                if wanted(entry):
                    return entry
            assert time.monotonic() < deadline, f"no such journal entry in {entries}"
            time.sleep(0.01)

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, method=method, data=data)
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as response:
            body = response.read()
        return json.loads(body) if body else None
