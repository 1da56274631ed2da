"""Several tools called in one turn, and their results given back together."""

import json

import pytest

from conversations import BOTH_TOOLS, ERRANDS, MODEL

WAYS = ["chat", "stream"]


@pytest.fixture(params=WAYS)
def way(request):
    """Asked at once, and as a stream."""
    return request.param


def ask(driver, way, messages, **options):
    return getattr(driver, way)(messages, model=MODEL, tools=BOTH_TOOLS, **options)


def test_parallel_tool_calls_make_a_round_trip(driver, way):
    first = ask(driver, way, ERRANDS, parallel_tool_calls=True)
    assert first.finish_reason == "tool_calls"
    calls = {call.name: call for call in first.tool_calls}
    assert sorted(calls) == ["get_time", "get_weather"]
    assert len({call.id for call in first.tool_calls} - {""}) == 2
    assert all(isinstance(json.loads(call.arguments)["city"], str) for call in first.tool_calls)
    asked = {
        "role": "assistant",
        "content": first.text,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in first.tool_calls
        ],
    }
    said = {"get_weather": "晴，21 度", "get_time": "10:45"}
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": said[call.name]}
        for call in first.tool_calls
    ]
    second = ask(driver, way, [*ERRANDS, asked, *results], parallel_tool_calls=True)
    assert second.finish_reason == "stop"
    assert not second.tool_calls
    assert all(word in second.text for word in ("21", "10:45"))


@pytest.mark.simulated
def test_parallel_tool_calls_are_what_upstream_gave(driver, direct, way):
    through, straight = (
        ask(each, way, ERRANDS, parallel_tool_calls=True) for each in (driver, direct)
    )
    assert through.content() == straight.content()


@pytest.mark.simulated
def test_without_parallel_calls_one_tool_is_called_at_a_time(driver, way):
    (call,) = ask(driver, way, ERRANDS, parallel_tool_calls=False).tool_calls
    assert call.name == "get_weather"
