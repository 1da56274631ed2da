"""What is special to the ``openai`` client."""

import openai
import pytest

from conversations import CHINESE, MODEL, PERSON


@pytest.fixture
def client(target):
    with openai.OpenAI(api_key=target.place.key, base_url=target.place.openai) as client:
        yield client


def test_a_stream_without_usage_asked_for_tells_none(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=CHINESE, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_one_chunk_for_usage(client):
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=CHINESE, stream=True, stream_options={"include_usage": True}
        )
    )
    assert [bool(chunk.choices) for chunk in chunks[-2:]] == [True, False]
    assert chunks[-1].usage.total_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_short_path_of_the_gateway_serves_as_well(target):
    # Only the gateway has it; everything else is asked on the service's own path.
    short = target.place.url + "/v1" if target.kind == "gateway" else target.place.openai
    with openai.OpenAI(api_key=target.place.key, base_url=short) as client:
        completion = client.chat.completions.create(model=MODEL, messages=CHINESE)
    assert completion.choices[0].message.content.strip()


def test_models_are_listed(client):
    assert MODEL in {model.id for model in client.models.list()}


def test_an_answer_is_parsed_into_a_type(client):
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int
        languages: list[str]

    completion = client.chat.completions.parse(
        model=MODEL, messages=PERSON, response_format=Person
    )
    assert isinstance(completion.choices[0].message.parsed, Person)


def test_raw_responses_carry_a_request_id(client):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=CHINESE)
    assert raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content.strip()


@pytest.mark.simulated
def test_a_throttled_call_is_retried_as_often_as_the_client_says(target, simulator):
    place = target.troubled("limited")
    with openai.OpenAI(api_key=place.key, base_url=place.openai, max_retries=1) as client:
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=MODEL, messages=CHINESE)
    assert len(simulator.journal()) >= 2
