"""Documents in the order of their nearness to a question."""

import pytest

from answers import CallFailed
from conversations import DOCUMENTS, QUERY

pytestmark = pytest.mark.needs("rerank")


def rank(driver, top_n, model=None):
    return driver.rerank(QUERY, DOCUMENTS, model=model or _model(driver), top_n=top_n)


def _model(driver):
    # Of the models of the native call, the flat one takes this one only.
    return getattr(driver, "rerank_model", "gte-rerank-v2")


def test_the_nearest_documents_come_first(driver):
    ranked = rank(driver, 3)
    assert len(ranked.order) == 3
    assert ranked.order[0][0] == 1
    scores = [score for _, score in ranked.order]
    assert scores == sorted(scores, reverse=True)
    assert ranked.tokens is None or ranked.tokens > 0


@pytest.mark.simulated
def test_the_order_is_what_upstream_gave(driver, direct):
    assert rank(driver, len(DOCUMENTS)) == rank(direct, len(DOCUMENTS))


@pytest.mark.needs("rerank_errors")
def test_an_unknown_rerank_model_is_refused(driver):
    with pytest.raises(CallFailed) as caught:
        rank(driver, 3, model="no-such-model")
    assert caught.value.status == 404
    assert caught.value.message.strip()
