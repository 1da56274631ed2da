"""Vectors, also of more texts than a model embeds at once."""

import pytest

from answers import CallFailed
from conversations import EMBEDDING_MODEL, TEXTS

pytestmark = pytest.mark.needs("embeddings")


def embed(driver, texts):
    return driver.embed(texts, model=EMBEDDING_MODEL)


def test_as_many_texts_as_a_model_takes_are_embedded(driver):
    embedded = embed(driver, TEXTS[:10])
    assert [len(vector) for vector in embedded.vectors] == [1024] * 10
    assert embedded.tokens is None or embedded.tokens > 0


def test_more_texts_than_a_model_takes_come_back_as_one_answer(driver, target):
    if target.kind != "gateway" and not getattr(driver, "splits_texts", False):
        # So says the service itself.
        with pytest.raises(CallFailed, match="batch size is invalid") as caught:
            embed(driver, TEXTS)
        assert caught.value.status == 400
        return
    embedded = embed(driver, TEXTS)
    assert [len(vector) for vector in embedded.vectors] == [1024] * len(TEXTS)


@pytest.mark.simulated
def test_every_vector_stands_in_the_place_of_its_text(driver, direct, target, simulator):
    if target.kind != "gateway":
        return
    embedded = embed(driver, TEXTS)
    # 33 texts are four requests upstream, and the caller is told the tokens of all of them.
    entries = simulator.journal()
    assert [entry["verdict"] for entry in entries] == ["ok"] * 4
    assert embedded.tokens in (None, sum(entry["input_tokens"] for entry in entries))
    straight = [
        vector
        for start in range(0, len(TEXTS), 10)
        for vector in embed(direct, TEXTS[start : start + 10]).vectors
    ]
    assert embedded.vectors == straight


def test_an_unknown_embedding_model_is_refused(driver):
    with pytest.raises(CallFailed) as caught:
        driver.embed(TEXTS[:2], model="no-such-model")
    assert caught.value.status == 404
    assert caught.value.message.strip()
