"""Pictures, within the request and by address."""

import pytest

from conversations import PICTURES, VISION_MODEL, about_picture

WAYS = ["chat", "stream"]

# What the simulator counts: the least that a small one costs, and 1024 x 768 for what it cannot see.
TOKENS = {"data": 64, "https": 768}


@pytest.fixture(params=WAYS)
def way(request):
    """Asked at once, and as a stream."""
    return request.param


@pytest.fixture(params=PICTURES.keys())
def kind(request):
    """How a picture is named."""
    return request.param


@pytest.fixture
def picture(kind):
    return PICTURES[kind]


def ask(driver, way, messages):
    return getattr(driver, way)(messages, model=VISION_MODEL)


def test_a_picture_is_answered(driver, way, picture):
    answer = ask(driver, way, about_picture(picture))
    assert answer.text.strip()
    assert answer.finish_reason == "stop"
    assert answer.usage.input > 0


@pytest.mark.simulated
def test_a_picture_reaches_upstream_beside_the_text(driver, direct, way, kind, picture):
    answer = ask(driver, way, about_picture(picture))
    # The simulator says what it was sent.
    assert answer.text.startswith("I received: image.")
    assert TOKENS[kind] < answer.usage.input < TOKENS[kind] + 100
    assert answer.content() == ask(direct, way, about_picture(picture)).content()


@pytest.mark.simulated
def test_a_picture_reaches_upstream_as_it_is(driver, direct, way, picture):
    # The simulator draws its answer from the picture's name, too: another one, another answer.
    answer = ask(driver, way, about_picture(picture))
    assert answer.content() != ask(direct, way, about_picture(picture[:-1])).content()


@pytest.mark.simulated
def test_every_picture_of_a_turn_reaches_upstream(driver, way):
    messages = about_picture(PICTURES["data"])
    messages[0]["content"] += about_picture(PICTURES["https"], "And in this one?")[0]["content"]
    answer = ask(driver, way, messages)
    assert answer.text.startswith("I received: image, image.")
    assert answer.usage.input > sum(TOKENS.values())
