"""What is special to LangChain's chat models: its own tools, types and messages."""

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from conversations import CHINESE, FORECAST, MODEL, THINKING_MODEL
from drivers import langchain_client


class Person(BaseModel):
    """Someone."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Tells today's weather in a city."""
    return f"{city}: 晴"


SYNC = [driver for driver in langchain_client.DRIVERS if "async" not in driver.name]


@pytest.fixture(params=SYNC, ids=lambda driver: driver.name)
def client(request, target):
    return request.param(target.place)


def test_a_tool_of_langchain_makes_a_round_trip(client):
    armed = client.model({"model": MODEL}).bind_tools([get_weather])
    question = HumanMessage(FORECAST[0]["content"])
    asked = armed.invoke([question])
    (call,) = asked.tool_calls
    assert call["name"] == "get_weather"
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    answer = armed.invoke([question, asked, result]).content
    assert answer.strip()


def test_a_streamed_tool_call_joins_to_one(client):
    armed = client.model({"model": MODEL}).bind_tools([get_weather])
    streamed = None
    for piece in armed.stream(FORECAST[0]["content"]):
        streamed = piece if streamed is None else streamed + piece
    assert [call["name"] for call in streamed.tool_calls] == ["get_weather"]
    assert isinstance(streamed.tool_calls[0]["args"]["city"], str)


def test_an_answer_has_the_wanted_structure(client):
    model = client.model({"model": MODEL}).with_structured_output(Person)
    assert isinstance(model.invoke("Invent a person, as JSON."), Person)


def test_thinking_is_counted_where_it_is_left_out(client):
    answer = client.stream(CHINESE, model=THINKING_MODEL, enable_thinking=True)
    assert answer.text.strip()
    assert 0 < answer.usage.reasoning < answer.usage.output


@pytest.mark.simulated
def test_questions_of_a_batch_are_answered_in_order(client):
    questions = ["1 + 1?", "2 + 2?", "3 + 3?"]
    model = client.model({"model": MODEL})
    together = [answer.content for answer in model.batch(questions)]
    assert together == [model.invoke(question).content for question in questions]
