"""Fixtures shared by all suites."""

import functools
import ssl

import pytest

import drivers
from target import Simulator, Target

# A test makes clients of its own, and each would read all certificates of the machine again, which
# takes longer than the rest of the test. Loopback needs none.
ssl.create_default_context = functools.lru_cache(ssl.create_default_context)

TARGET = Target.from_environment()
DRIVERS = drivers.installed()


def pytest_report_header():
    names = ", ".join(driver.name for driver in DRIVERS)
    return f"target: {TARGET.kind}, clients: {names}"


def pytest_ignore_collect(collection_path):
    """Leaves out the tests of clients that are not in this environment."""
    names = {driver.__module__ for driver in DRIVERS}
    needs = {
        "test_dashscope_modules.py": "drivers.dashscope_modules",
        "test_dashscope_client.py": "drivers.dashscope_client",
        "test_openai_client.py": "drivers.openai_client",
        # It uses no client, so it runs beside one that many have.
        "test_plain_http.py": "drivers.openai_client",
        "test_langchain.py": "drivers.langchain_client",
    }.get(collection_path.name)
    return True if needs and needs not in names else None


def pytest_collection_modifyitems(config, items):
    """Leaves out what a client's protocol has no word for: it does not apply."""
    left = []
    for item in list(items):
        needed = {name for marker in item.iter_markers("needs") for name in marker.args}
        driver = getattr(item, "callspec", None) and item.callspec.params.get("driver_type")
        cannot = getattr(driver, "cannot", frozenset())
        if driver and not hasattr(driver, "give_up"):
            cannot |= {"give_up"}
        if needed & cannot:
            items.remove(item)
            left.append(item)
    config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="session")
def target():
    return TARGET


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver_type(request):
    """Each client in turn, not yet made for a place."""
    return request.param


@pytest.fixture
def driver(driver_type, target):
    """Each client in turn, made for the place under test."""
    return driver_type(target.place)


@pytest.fixture
def direct(driver_type, target):
    """The same client at the simulator without a gateway, as the truth to compare with."""
    return driver_type(target.direct())


@pytest.fixture(scope="session", autouse=True)
def fast(target):
    """Lets the simulator answer at once instead of at a model's speed."""
    if target.simulator_url:
        Simulator(target.simulator_url).configure({"speed": None})


@pytest.fixture
def simulator(target):
    """The simulator's control interface, with an empty journal."""
    simulator = Simulator(target.simulator_url)
    simulator.reset()
    return simulator


@pytest.fixture
def slow(simulator):
    """Lets the simulator take seconds for an answer, so that a caller can leave before its end."""
    simulator.configure({"speed": {"tokens_per_second": 20}})
    yield
    simulator.configure({"speed": None})


@pytest.fixture
def faults(simulator):
    """A function that lets these things go wrong in streams from now on."""
    yield lambda *names: simulator.configure({"faults": [{"faults": names, "stream": True}]})
    simulator.configure({"faults": None})
