"""What a caller gets from a chat, whichever client and whichever way."""

import asyncio
import json
import re

import pytest

from conversations import (
    CHINESE,
    FAMILY,
    FORECAST,
    HISTORY,
    LONG,
    MODEL,
    PERSON,
    SCHEMA,
    THINKING_MODEL,
    TOOLS,
    UNICODE,
    user,
)

WAYS = ["chat", "stream"]


@pytest.fixture(params=WAYS)
def way(request):
    """Asked at once, and as a stream."""
    return request.param


def ask(driver, way, messages, **options):
    options.setdefault("model", MODEL)
    return getattr(driver, way)(messages, **options)


def has_sound_usage(answer):
    usage = answer.usage
    assert usage.input > 0
    assert usage.output > 0
    assert usage.total == usage.input + usage.output


def test_a_prompt_is_answered(driver, way):
    answer = ask(driver, way, CHINESE)
    assert answer.text.strip()
    assert answer.finish_reason == "stop"
    assert answer.request_id
    assert not answer.tool_calls
    has_sound_usage(answer)


def test_a_stream_arrives_in_pieces(driver):
    answer = ask(driver, "stream", LONG)
    assert answer.pieces >= 5
    assert answer.finish_reason == "stop"


@pytest.mark.simulated
def test_the_answer_is_what_upstream_gave(driver, direct, way):
    assert ask(driver, way, CHINESE).content() == ask(direct, way, CHINESE).content()


@pytest.mark.simulated
def test_a_stream_joins_to_the_answer_without_stream(driver):
    assert ask(driver, "stream", LONG).content() == ask(driver, "chat", LONG).content()


@pytest.mark.simulated
def test_usage_is_what_upstream_counted(driver, simulator, way):
    answer = ask(driver, way, CHINESE)
    entry = simulator.wait_for(lambda entry: entry["verdict"] == "ok")
    assert entry["model"] == MODEL
    assert (entry["input_tokens"], entry["output_tokens"]) == (
        answer.usage.input,
        answer.usage.output,
    )
    assert len(simulator.journal()) == 1


def test_a_system_message_and_history_are_accepted(driver, way):
    answer = ask(driver, way, HISTORY)
    assert answer.text.strip()
    has_sound_usage(answer)


@pytest.mark.simulated
def test_every_turn_reaches_upstream(driver, direct, way):
    answer = ask(driver, way, HISTORY)
    assert answer.content() == ask(direct, way, HISTORY).content()
    assert answer.usage.input > ask(driver, way, HISTORY[-1:]).usage.input


def test_text_of_all_planes_survives(driver, way):
    answer = ask(driver, way, UNICODE)
    assert answer.text.strip()
    assert "\ufffd" not in answer.text


@pytest.mark.simulated
def test_text_of_all_planes_reaches_upstream(driver, direct, way):
    answer = ask(driver, way, UNICODE)
    assert answer.content() == ask(direct, way, UNICODE).content()
    # The simulator draws its answer from the prompt's bytes: another family, another answer.
    other = user(UNICODE[0]["content"].replace(FAMILY, FAMILY[:-1]))
    assert ask(direct, way, other).content() != answer.content()


def test_a_tool_call_makes_a_round_trip(driver, way):
    first = ask(driver, way, FORECAST, tools=TOOLS)
    assert first.finish_reason == "tool_calls"
    (call,) = first.tool_calls
    assert call.id
    assert call.name == "get_weather"
    assert isinstance(json.loads(call.arguments)["city"], str)
    has_sound_usage(first)
    asked = {
        "role": "assistant",
        "content": first.text,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
        ],
    }
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"sky":"晴","celsius":21}'}
    second = ask(driver, way, [*FORECAST, asked, result], tools=TOOLS)
    assert second.finish_reason == "stop"
    assert second.text.strip()
    assert not second.tool_calls


@pytest.mark.simulated
def test_tool_calls_are_what_upstream_gave(driver, direct, way):
    answer = ask(driver, way, FORECAST, tools=TOOLS)
    assert answer.content() == ask(direct, way, FORECAST, tools=TOOLS).content()


@pytest.mark.needs("thinking")
def test_thinking_comes_beside_the_answer(driver):
    answer = ask(driver, "stream", CHINESE, model=THINKING_MODEL, enable_thinking=True)
    assert answer.reasoning.strip()
    assert answer.text.strip()
    assert answer.finish_reason == "stop"
    has_sound_usage(answer)
    # One protocol does not count thinking apart.
    if driver.dialect != "anthropic":
        assert 0 < answer.usage.reasoning < answer.usage.output


def test_thinking_can_be_switched_off(driver, way):
    answer = ask(driver, way, CHINESE, model=THINKING_MODEL, enable_thinking=False)
    assert answer.reasoning == ""
    assert answer.text.strip()


@pytest.mark.simulated
@pytest.mark.needs("thinking")
def test_thinking_is_what_upstream_gave(driver, direct):
    options = {"model": THINKING_MODEL, "enable_thinking": True}
    answer = ask(driver, "stream", CHINESE, **options)
    assert answer.content() == ask(direct, "stream", CHINESE, **options).content()


@pytest.mark.needs("json_object")
def test_json_mode_gives_json(driver, way):
    answer = ask(driver, way, PERSON, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.text), dict)
    assert answer.finish_reason == "stop"


def test_a_json_schema_is_kept(driver, way):
    answer = ask(driver, way, PERSON, response_format={"type": "json_schema", "json_schema": SCHEMA})
    person = json.loads(answer.text)
    assert sorted(person) == ["age", "languages", "name"]
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)
    assert all(isinstance(language, str) for language in person["languages"])


def test_max_tokens_cuts_the_answer(driver, way):
    answer = ask(driver, way, LONG, max_tokens=8)
    assert answer.finish_reason == "length"
    assert answer.text
    assert 0 < answer.usage.output <= 8


def test_stop_ends_the_answer_before_the_word(driver, way):
    whole = ask(driver, "chat", LONG, seed=7).text
    word = re.findall(r"\w{2,}", whole)[-1]
    answer = ask(driver, way, LONG, stop=[word], seed=7)
    assert word not in answer.text
    assert answer.finish_reason == "stop"


@pytest.mark.simulated
def test_stop_leaves_the_text_before_the_word_as_it_was(driver, way):
    whole = ask(driver, "chat", LONG).text
    word = re.findall(r"\w{2,}", whole)[-1]
    assert ask(driver, way, LONG, stop=[word]).text == whole[: whole.index(word)]


@pytest.mark.needs("n")
def test_several_answers_come_to_one_request(driver, way):
    answer = ask(driver, way, CHINESE, n=2, enable_thinking=False)
    assert len(answer.texts) == 2
    assert all(text.strip() for text in answer.texts)
    assert answer.finish_reasons == ["stop", "stop"]


@pytest.mark.simulated
@pytest.mark.needs("n")
def test_several_answers_are_what_upstream_gave(driver, direct, way):
    answer = ask(driver, way, CHINESE, n=2)
    assert answer.content() == ask(direct, way, CHINESE, n=2).content()


@pytest.mark.simulated
@pytest.mark.usefixtures("slow")
def test_a_caller_that_leaves_ends_the_work_upstream(driver, simulator):
    driver.abandon(LONG, model=MODEL)
    entry = simulator.wait_for(lambda entry: entry["verdict"] != "open")
    assert (entry["model"], entry["verdict"]) == (MODEL, "client_left")


@pytest.mark.simulated
@pytest.mark.usefixtures("slow")
@pytest.mark.needs("give_up")
def test_a_caller_that_waits_no_longer_ends_the_work_upstream(driver, simulator):
    with pytest.raises((asyncio.TimeoutError, TimeoutError)):
        driver.give_up(0.3, LONG, model=MODEL)
    entry = simulator.wait_for(lambda entry: entry["verdict"] != "open")
    assert (entry["model"], entry["verdict"]) == (MODEL, "client_left")
