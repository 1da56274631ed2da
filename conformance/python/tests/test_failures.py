"""How failures reach the caller: the client's own exception, with status, code and request id."""

import pytest

from answers import CallFailed
from conversations import CHINESE, MODEL
from target import Place

WAYS = ["chat", "stream"]


@pytest.fixture(params=WAYS)
def way(request):
    """Asked at once, and as a stream."""
    return request.param


def failure(driver, way, model=MODEL, **options):
    with pytest.raises(CallFailed) as caught:
        getattr(driver, way)(CHINESE, model=model, **options)
    return caught.value


# What Anthropic's protocol, which has types instead of codes, calls them (compat.md §7.2).
ANTHROPIC = {
    "InvalidApiKey": "authentication_error",
    "ModelNotFound": "not_found_error",
    "InvalidParameter": "invalid_request_error",
    "Throttling.RateQuota": "rate_limit_error",
    "Arrearage": "billing_error",
    "Model.AccessDenied": "permission_error",
}


def is_as_expected(driver, failed, status, native, openai):
    """Checks what the caller sees; ``native`` and ``openai`` are the dialects' codes."""
    code = {"native": native, "openai": openai, "anthropic": ANTHROPIC[native]}[driver.dialect]
    if driver.dialect == "anthropic" and status == 401:
        # A bad key is 403 on this surface only.
        status = 403
    kinds = driver.kinds
    kind = kinds.get((status, code)) or kinds.get(status, "GenerationResponse")
    if status in getattr(driver, "codeless", ()):
        code = None
    assert (failed.status, failed.code, failed.kind) == (status, code, kind)
    assert failed.message.strip()
    # What LiteLLM has no class for has no place for a request id.
    assert failed.request_id or kind == "APIError"


def test_a_wrong_key_is_refused(driver_type, target, way):
    driver = driver_type(Place(target.place.url, "not-a-key-of-anyone"))
    failed = failure(driver, way)
    is_as_expected(driver, failed, 401, "InvalidApiKey", "invalid_api_key")
    assert "not-a-key-of-anyone" not in failed.message


def test_an_unknown_model_is_refused(driver, way):
    failed = failure(driver, way, model="no-such-model")
    is_as_expected(driver, failed, 404, "ModelNotFound", "model_not_found")


def test_a_parameter_out_of_range_is_refused(driver, way):
    failed = failure(driver, way, top_p=7.0)
    assert failed.message.strip()
    assert failed.request_id
    if driver.dialect != "native" or way == "chat":
        is_as_expected(driver, failed, 400, "InvalidParameter", "invalid_parameter_error")
    else:
        assert failed.code == "InvalidParameter"


@pytest.mark.simulated
@pytest.mark.parametrize(
    ("trouble", "status", "native", "openai"),
    [
        ("limited", 429, "Throttling.RateQuota", "limit_requests"),
        ("arrears", 400, "Arrearage", "Arrearage"),
        ("denied", 403, "Model.AccessDenied", "model_access_denied"),
        ("expired", 401, "InvalidApiKey", "invalid_api_key"),
    ],
)
def test_trouble_of_the_account_is_told(
    driver_type, target, way, trouble, status, native, openai
):
    driver = driver_type(target.troubled(trouble))
    is_as_expected(driver, failure(driver, way), status, native, openai)


@pytest.mark.simulated
def test_an_error_is_worded_as_upstream_words_it(driver, direct, way):
    through, straight = (failure(each, way, model="no-such-model") for each in (driver, direct))
    assert through.message == straight.message


@pytest.mark.simulated
def test_an_error_in_the_middle_of_a_stream_is_told(driver, direct, faults):
    faults("error-frame=3")
    through, straight = (failure(each, "stream") for each in (driver, direct))
    assert (through.kind, through.status, through.code, through.message) == (
        straight.kind,
        straight.status,
        straight.code,
        straight.message,
    )
    assert through.code or through.status in getattr(driver, "codeless", ())
    assert through.message.strip()
    # The errors that `openai` and LiteLLM raise inside a stream have no place for a request id.
    assert through.request_id or through.kind in ("APIError", "MidStreamFallbackError")


@pytest.mark.simulated
def test_a_stream_that_breaks_off_is_not_taken_for_complete(driver, direct, faults, target):
    whole = driver.stream(CHINESE, model=MODEL)
    faults("cut-after-bytes=900")
    # Inside an event nothing can be said any more but by breaking the connection off, and each
    # client shows that as whatever its own transport raises.
    with pytest.raises(Exception):
        direct.stream(CHINESE, model=MODEL)
    if target.kind != "gateway":
        return
    # The gateway goes on where the stream broke off, or says that it cannot.
    try:
        answer = driver.stream(CHINESE, model=MODEL)
    except Exception:
        return
    assert (answer.texts, answer.finish_reasons) == (whole.texts, whole.finish_reasons)
