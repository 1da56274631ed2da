"""What is special to the module interface of ``dashscope``."""

import pytest

from conversations import CHINESE, LONG, MODEL
from drivers.dashscope_modules import Sync


@pytest.fixture
def modules(target):
    return Sync(target.place)


def test_cumulative_pieces_grow_to_the_whole_answer(modules):
    pieces = modules.raw_stream(LONG, model=MODEL, incremental_output=False)
    texts = [piece.output.choices[0].message.content for piece in pieces]
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:]))
    assert len(set(texts)) >= 5


@pytest.mark.simulated
def test_cumulative_pieces_end_with_the_answer_without_stream(modules):
    pieces = modules.raw_stream(LONG, model=MODEL, incremental_output=False)
    assert pieces[-1].output.choices[0].message.content == modules.chat(LONG, model=MODEL).text


def test_usage_of_a_stream_is_a_running_total(modules):
    pieces = modules.raw_stream(LONG, model=MODEL)
    outputs = [piece.usage["output_tokens"] for piece in pieces]
    assert outputs == sorted(outputs)
    assert len({piece.usage["input_tokens"] for piece in pieces}) == 1


def test_all_pieces_of_a_stream_have_the_same_request_id(modules):
    pieces = modules.raw_stream(CHINESE, model=MODEL)
    assert len({piece.request_id for piece in pieces}) == 1
    assert all(piece.output.choices[0].finish_reason == "null" for piece in pieces[:-1])
    assert pieces[-1].output.choices[0].finish_reason == "stop"


def test_a_single_prompt_answers_as_text(target):
    import dashscope

    dashscope.base_http_api_url = target.place.native
    response = dashscope.Generation.call(
        model=MODEL, prompt=CHINESE[0]["content"], result_format="text", api_key=target.place.key
    )
    assert response.status_code == 200
    assert response.output.text.strip()
    assert response.output.finish_reason == "stop"
