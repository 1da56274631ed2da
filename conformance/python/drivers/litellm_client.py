"""LiteLLM as a client: its ``openai``, ``dashscope`` and ``anthropic`` providers."""

import asyncio
import json
import os

# Prices come with the package; else it asks the network for them when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402
import openai  # noqa: E402

from answers import Answer, CallFailed, Embedded, Joiner, Ranked, ToolCall, Usage  # noqa: E402

litellm.telemetry = False
litellm.suppress_debug_info = True

# It keeps connections, and those belong to the loop in which they were made.
_run = asyncio.new_event_loop().run_until_complete

# All that it raises are kinds of this.
_FAILURES = openai.APIError


class _LiteLlm:
    dialect = "openai"
    kinds = {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "APIError",
        404: "NotFoundError",
        429: "RateLimitError",
    }
    # It keeps the code of these to itself, and so that of an error within a stream.
    codeless = frozenset({401, 403, 404, 500})

    def __init__(self, place):
        self._place = place

    def _address(self):
        return {"api_base": self._place.openai, "api_key": self._place.key}

    def _arguments(self, messages, options, stream=False):
        arguments = {
            **options,
            **self._address(),
            "model": f"{self.provider}/{options['model']}",
            "messages": messages,
            "num_retries": 0,
            "max_retries": 0,
        }
        if stream:
            arguments.update(stream=True, stream_options={"include_usage": True})
        return arguments

    def _embedding(self, texts, options):
        model = f"{self.provider}/{options['model']}"
        # It asks for figures as the service answers: in no other way can it read them.
        return {
            **self._address(),
            "model": model,
            "input": texts,
            "encoding_format": "float",
            "max_retries": 0,
        }


class _Sync(_LiteLlm):
    def chat(self, messages, **options) -> Answer:
        try:
            return _answer(litellm.completion(**self._arguments(messages, options)))
        except _FAILURES as error:
            raise _failure(error) from error

    def stream(self, messages, **options) -> Answer:
        joiner = Joiner()
        try:
            for chunk in litellm.completion(**self._arguments(messages, options, stream=True)):
                _join(joiner, chunk)
        except _FAILURES as error:
            raise _failure(error) from error
        return joiner.answer()

    def abandon(self, messages, **options):
        chunks = litellm.completion(**self._arguments(messages, options, stream=True))
        next(chunks)
        chunks.completion_stream.close()

    def embed(self, texts, **options) -> Embedded:
        try:
            return _embedded(litellm.embedding(**self._embedding(texts, options)))
        except _FAILURES as error:
            raise _failure(error) from error


class _Async(_LiteLlm):
    def chat(self, messages, **options) -> Answer:
        try:
            return _answer(_run(litellm.acompletion(**self._arguments(messages, options))))
        except _FAILURES as error:
            raise _failure(error) from error

    def stream(self, messages, **options) -> Answer:
        joiner = Joiner()

        async def run():
            arguments = self._arguments(messages, options, stream=True)
            async for chunk in await litellm.acompletion(**arguments):
                _join(joiner, chunk)

        try:
            _run(run())
        except _FAILURES as error:
            raise _failure(error) from error
        return joiner.answer()

    def abandon(self, messages, **options):
        async def run():
            arguments = self._arguments(messages, options, stream=True)
            chunks = await litellm.acompletion(**arguments)
            await anext(chunks)
            await chunks.aclose()

        _run(run())

    def give_up(self, seconds, messages, **options):
        async def run():
            call = litellm.acompletion(**self._arguments(messages, options))
            await asyncio.wait_for(call, seconds)

        _run(run())

    def embed(self, texts, **options) -> Embedded:
        try:
            return _embedded(_run(litellm.aembedding(**self._embedding(texts, options))))
        except _FAILURES as error:
            raise _failure(error) from error


class _OpenAi:
    provider = "openai"
    # In a stream it forgets how all but one of several answers ended.
    cannot = frozenset({"n", "rerank"})


class _DashScope:
    provider = "dashscope"
    cannot = frozenset({"n"})
    # It calls the flat path.
    rerank_model = "qwen3-rerank"

    def _ranking(self, query, documents, model, top_n):
        return {
            "model": f"dashscope/{model}",
            "query": query,
            "documents": documents,
            "top_n": top_n,
            "api_base": self._place.url + "/compatible-api/v1/reranks",
            "api_key": self._place.key,
        }


class _Anthropic:
    provider = "anthropic"
    dialect = "anthropic"
    kinds = {**_LiteLlm.kinds, 403: "PermissionDeniedError"}
    codeless = frozenset({500})
    cannot = frozenset({"n", "json_object", "embeddings", "rerank"})

    def _address(self):
        return {"api_base": self._place.anthropic, "api_key": self._place.key}

    def _arguments(self, messages, options, stream=False):
        options = dict(options)
        # Anthropic's protocol has no seed; the simulator needs none to say the same again.
        options.pop("seed", None)
        # Its default is more than the service allows.
        options.setdefault("max_tokens", 2048)
        thinking = options.pop("enable_thinking", None)
        if thinking:
            options["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        elif thinking is not None:
            options["thinking"] = {"type": "disabled"}
        # Of a model that it does not know it does not believe that it thinks.
        options["allowed_openai_params"] = ["thinking"]
        return super()._arguments(messages, options, stream)


class OpenAiSync(_OpenAi, _Sync):
    name = "LiteLLM(openai)"


class OpenAiAsync(_OpenAi, _Async):
    name = "LiteLLM(openai, async)"


class DashScopeSync(_DashScope, _Sync):
    name = "LiteLLM(dashscope)"

    def rerank(self, query, documents, model, top_n) -> Ranked:
        try:
            return _ranked(litellm.rerank(**self._ranking(query, documents, model, top_n)))
        except _FAILURES as error:
            raise _failure(error) from error


class AnthropicAsync(_Anthropic, _Async):
    name = "LiteLLM(anthropic, async)"


def _failure(error) -> CallFailed:
    told = getattr(error, "body", None) or {}
    request_id = getattr(error, "request_id", None)
    text = str(error)
    if "AnthropicException - " in text and '"request_id":' in text:
        # For this provider the body of the answer is in the text only.
        body = json.loads(text[text.index("{") : text.rindex("}") + 1])
        told, request_id = {**body["error"], "code": body["error"]["type"]}, body["request_id"]
    return CallFailed(
        type(error).__name__,
        error.status_code,
        told.get("code"),
        told.get("message") or text,
        request_id,
    )


def _answer(response) -> Answer:
    message = response.choices[0].message
    return Answer(
        texts=[choice.message.content or "" for choice in response.choices],
        reasoning=getattr(message, "reasoning_content", None) or "",
        tool_calls=[
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or []
        ],
        finish_reasons=[choice.finish_reason for choice in response.choices],
        usage=_usage(response.usage),
        request_id=response.id,
    )


def _join(joiner, chunk):
    for choice in chunk.choices:
        delta = choice.delta
        calls = [
            (call.index, call.id, call.function.name, call.function.arguments)
            for call in delta.tool_calls or []
        ]
        reasoning = getattr(delta, "reasoning_content", None)
        joiner.choice(choice.index, delta.content, reasoning, calls, choice.finish_reason)
    usage = getattr(chunk, "usage", None)
    if usage is not None:
        joiner.usage = _usage(usage)
    joiner.request_id = chunk.id


def _usage(usage) -> Usage:
    details = usage.completion_tokens_details
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        (details.reasoning_tokens or 0) if details else 0,
    )


def _embedded(response) -> Embedded:
    assert [item["index"] for item in response.data] == list(range(len(response.data)))
    return Embedded([item["embedding"] for item in response.data], response.usage.total_tokens)


def _ranked(response) -> Ranked:
    order = [(result["index"], result["relevance_score"]) for result in response.results]
    return Ranked(order, response.meta["billed_units"]["total_tokens"])


# Sync and async differ below the providers, so not every pair is needed.
DRIVERS = [OpenAiSync, OpenAiAsync, DashScopeSync, AnthropicAsync]
