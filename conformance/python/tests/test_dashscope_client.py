"""What is special to the client object of ``dashscope`` 2.0."""

import pytest

import dashscope
from conversations import CHINESE, FORECAST, LONG, MODEL, TOOLS
from drivers.dashscope_client import NativeSync, OpenAiSync


@pytest.fixture(params=[NativeSync, OpenAiSync], ids=lambda driver: driver.name)
def client(request, target):
    return request.param(target.place)


def test_the_clients_own_joining_gives_the_whole_answer(client):
    answer = client.final_message(LONG, model=MODEL)
    assert answer.text.strip()
    assert answer.finish_reason == "stop"
    assert answer.usage.output > 0


@pytest.mark.simulated
@pytest.mark.parametrize("options", [{}, {"tools": TOOLS}], ids=["text", "tools"])
def test_the_clients_own_joining_gives_the_answer_without_stream(client, options):
    joined = client.final_message(FORECAST, model=MODEL, **options)
    assert joined.content() == client.chat(FORECAST, model=MODEL, **options).content()


def test_a_failure_can_be_asked_for_as_a_value(target):
    with dashscope.Client(
        api_key="not-a-key-of-anyone",
        base_url=target.place.native,
        max_retries=0,
        raise_on_error=False,
    ) as client:
        completion = client.chat.completions.create(model=MODEL, messages=CHINESE)
    assert completion.is_error
    assert (completion.status_code, completion.code) == (401, "InvalidApiKey")
    assert completion.request_id


@pytest.mark.simulated
def test_a_throttled_call_is_retried_as_often_as_the_client_says(target, simulator):
    limited = NativeSync(target.troubled("limited"), max_retries=1)
    with pytest.raises(Exception, match="429|RateQuota|limit"):
        limited.chat(CHINESE, model=MODEL)
    assert len(simulator.journal()) >= 2
