"""LangChain's classes for OpenAI, as its users configure them."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from conversations import CHINESE, HISTORY, MODEL


class Person(BaseModel):
    """Someone."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Tells today's weather in a city."""
    return f"{city}: 晴"


@pytest.fixture
def chat(target):
    return ChatOpenAI(
        base_url=target.place.openai, api_key=target.place.key, model=MODEL, max_retries=0
    )


def test_a_question_is_answered_at_once_and_as_a_stream(chat):
    question = CHINESE[0]["content"]
    whole = chat.invoke(question)
    assert whole.content.strip()
    assert whole.usage_metadata["total_tokens"] > 0
    pieces = list(chat.stream(question))
    assert "".join(piece.content for piece in pieces) == whole.content
    assert len(pieces) > 3


def test_a_conversation_goes_on(chat):
    classes = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    turns = [classes[turn["role"]](turn["content"]) for turn in HISTORY]
    assert chat.invoke(turns).content.strip()


def test_a_tool_makes_a_round_trip(chat):
    armed = chat.bind_tools([get_weather])
    question = HumanMessage("What is the weather in Hangzhou today? Use the tool.")
    asked = armed.invoke([question])
    (call,) = asked.tool_calls
    assert call["name"] == "get_weather"
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    assert armed.invoke([question, asked, result]).content.strip()
    streamed = None
    for piece in armed.stream([question]):
        streamed = piece if streamed is None else streamed + piece
    assert [call["name"] for call in streamed.tool_calls] == ["get_weather"]


def test_an_answer_has_the_wanted_structure(chat):
    person = chat.with_structured_output(Person).invoke("Invent a person, as JSON.")
    assert isinstance(person, Person)


@pytest.mark.simulated
def test_more_texts_than_a_model_takes_are_embedded(target):
    if target.kind != "gateway":
        # The service itself refuses more than ten.
        sizes = [10]
    else:
        sizes = [10, 23]
    for size in sizes:
        embeddings = OpenAIEmbeddings(
            base_url=target.place.openai,
            api_key=target.place.key,
            model="text-embedding-v4",
            check_embedding_ctx_length=False,
        )
        vectors = embeddings.embed_documents([f"第{number}段" for number in range(size)])
        assert [len(vector) for vector in vectors] == [1024] * size
