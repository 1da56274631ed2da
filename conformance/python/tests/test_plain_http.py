"""Calls that need no client: rerank under each of its paths, as ``curl`` would make them."""

import json
import urllib.error
import urllib.request

import pytest

from conversations import CHINESE, DOCUMENTS, MODEL, QUERY

NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"
FLAT = "/compatible-api/v1/reranks"
# The gateway has shorter names for the flat call.
NAMES = ["/v1/rerank", "/v1/reranks", "/compatible-mode/v1/reranks"]


def post(target, path, body, key=None):
    """Status, request id and the text of the answer."""
    request = urllib.request.Request(target.place.url + path, json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {key or target.place.key}")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers["x-request-id"], response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-request-id"], error.read().decode()


def flat(model="qwen3-rerank"):
    return {"model": model, "query": QUERY, "documents": DOCUMENTS, "top_n": 2}


@pytest.mark.parametrize("path", [FLAT, *NAMES])
def test_documents_are_ranked_under_every_name(target, path):
    if path in NAMES and target.kind != "gateway":
        path = FLAT
    status, request_id, text = post(target, path, flat())
    answer = json.loads(text)
    assert status == 200, text
    assert request_id
    assert [result["index"] for result in answer["results"]][0] == 1
    assert len(answer["results"]) == 2
    assert answer["usage"]["total_tokens"] > 0


def test_documents_are_ranked_natively(target):
    body = {
        "model": "gte-rerank-v2",
        "input": {"query": QUERY, "documents": DOCUMENTS},
        "parameters": {"top_n": 2, "return_documents": True},
    }
    status, _, text = post(target, NATIVE, body)
    assert status == 200, text
    results = json.loads(text)["output"]["results"]
    assert results[0]["document"] == {"text": DOCUMENTS[1]}


@pytest.mark.parametrize(
    ("model", "key", "status", "code"),
    [
        ("no-such-model", None, 404, "ModelNotFound"),
        ("qwen3-rerank", "not-a-key-of-anyone", 401, "InvalidApiKey"),
    ],
)
def test_a_failed_rerank_is_told_in_the_native_form(target, model, key, status, code):
    told, _, text = post(target, FLAT, flat(model), key)
    answer = json.loads(text)
    assert (told, answer["code"]) == (status, code), text
    assert answer["message"] and answer["request_id"]


def test_a_stream_is_lines_of_data_with_a_last_word(target):
    body = {"model": MODEL, "messages": CHINESE, "stream": True}
    status, _, text = post(target, "/compatible-mode/v1/chat/completions", body)
    assert status == 200
    frames = [frame for frame in text.split("\n\n") if frame]
    assert all(frame.startswith("data: ") for frame in frames)
    assert frames[-1] == "data: [DONE]"
    pieces = [json.loads(frame[len("data: ") :]) for frame in frames[:-1]]
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
