"""The module interface of ``dashscope`` 1.x, also shipped with 2.0: ``Generation`` and its twin.

It raises nothing for an error answer: the returned object holds status, code and message.
"""

import asyncio

import dashscope
from dashscope import (
    AioGeneration,
    AioMultiModalConversation,
    Generation,
    MultiModalConversation,
    TextEmbedding,
    TextReRank,
)

from answers import Answer, CallFailed, Embedded, Joiner, Ranked, ToolCall, Usage

_AioTextReRank = getattr(dashscope, "AioTextReRank", None)

# Kind of failure (status, code): what this client shows is always its response object.
KINDS = {}
DEFAULT_KIND = "GenerationResponse"


class _Modules:
    dialect = "native"
    kinds = KINDS

    def __init__(self, place, max_retries=0):
        self._place = place

    def _arguments(self, messages, options, stream):
        # The address is a module variable of this client, so it is set before every call.
        dashscope.base_http_api_url = self._place.native
        arguments = dict(options)
        arguments.update(messages=[_turn(message) for message in messages])
        arguments.update(api_key=self._place.key, result_format="message")
        if stream:
            arguments.setdefault("incremental_output", True)
            arguments["stream"] = True
        return arguments


def _turn(message):
    if not isinstance(message["content"], list):
        return message
    parts = [
        {"image": part["image_url"]["url"]} if part["type"] == "image_url" else {"text": part["text"]}
        for part in message["content"]
    ]
    return {**message, "content": parts}


def _has_media(messages):
    """Messages in parts go to another class of this client, and to another path."""
    return any(isinstance(message["content"], list) for message in messages)


class Sync(_Modules):
    name = "Generation"

    def chat(self, messages, **options) -> Answer:
        service = MultiModalConversation if _has_media(messages) else Generation
        return _answer(service.call(**self._arguments(messages, options, False)))

    def stream(self, messages, **options) -> Answer:
        service = MultiModalConversation if _has_media(messages) else Generation
        joiner = Joiner()
        for response in service.call(**self._arguments(messages, options, True)):
            _join(joiner, response)
        return joiner.answer()

    def raw_stream(self, messages, **options):
        return list(Generation.call(**self._arguments(messages, options, True)))

    def abandon(self, messages, **options):
        responses = Generation.call(**self._arguments(messages, options, True))
        _checked(next(responses))
        responses.close()

    def embed(self, texts, **options) -> Embedded:
        dashscope.base_http_api_url = self._place.native
        response = TextEmbedding.call(input=texts, api_key=self._place.key, **options)
        embeddings = _checked(response).output["embeddings"]
        assert [item["text_index"] for item in embeddings] == list(range(len(embeddings)))
        return Embedded([item["embedding"] for item in embeddings], response.usage["total_tokens"])

    def rerank(self, query, documents, **options) -> Ranked:
        dashscope.base_http_api_url = self._place.native
        return _ranked(
            TextReRank.call(query=query, documents=documents, api_key=self._place.key, **options)
        )


class Async(_Modules):
    name = "AioGeneration"
    # It has no asynchronous class for embeddings, and for rerank only in 2.0.
    cannot = frozenset({"embeddings", "rerank"} - ({"rerank"} if _AioTextReRank else set()))

    def chat(self, messages, **options) -> Answer:
        service = AioMultiModalConversation if _has_media(messages) else AioGeneration
        arguments = self._arguments(messages, options, False)
        return _answer(asyncio.run(service.call(**arguments)))

    def stream(self, messages, **options) -> Answer:
        async def run():
            service = AioMultiModalConversation if _has_media(messages) else AioGeneration
            joiner = Joiner()
            responses = await service.call(**self._arguments(messages, options, True))
            async for response in responses:
                _join(joiner, response)
            return joiner.answer()

        return asyncio.run(run())

    def abandon(self, messages, **options):
        async def run():
            responses = await AioGeneration.call(**self._arguments(messages, options, True))
            async for response in responses:
                _checked(response)
                break
            await responses.aclose()

        asyncio.run(run())

    def give_up(self, seconds, messages, **options):
        async def run():
            call = AioGeneration.call(**self._arguments(messages, options, False))
            await asyncio.wait_for(call, seconds)

        asyncio.run(run())

    def rerank(self, query, documents, **options) -> Ranked:
        dashscope.base_http_api_url = self._place.native
        call = _AioTextReRank.call(
            query=query, documents=documents, api_key=self._place.key, **options
        )
        return _ranked(asyncio.run(call))


def _checked(response):
    if response.status_code != 200:
        raise CallFailed(
            type(response).__name__,
            int(response.status_code),
            response.code,
            response.message,
            response.request_id,
        )
    return response


def _answer(response) -> Answer:
    _checked(response)
    choices = response.output.choices
    message = choices[0].message
    return Answer(
        texts=[_text(choice.message.content) for choice in choices],
        reasoning=message.get("reasoning_content") or "",
        tool_calls=[
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or []
        ],
        finish_reasons=[choice.finish_reason for choice in choices],
        usage=_usage(response.usage),
        request_id=response.request_id,
    )


def _join(joiner, response):
    _checked(response)
    for choice in response.output.choices:
        message = choice.message
        calls = [
            (
                call.get("index"),
                call.get("id"),
                call["function"].get("name"),
                call["function"].get("arguments"),
            )
            for call in message.get("tool_calls") or []
        ]
        index = choice.get("index") or 0
        reasoning = message.get("reasoning_content")
        joiner.choice(index, _text(message.content), reasoning, calls, choice.finish_reason)
    joiner.usage = _usage(response.usage)
    joiner.request_id = response.request_id


def _text(content):
    """Answers from the path for media come in parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return content


def _ranked(response) -> Ranked:
    results = _checked(response).output["results"]
    order = [(result["index"], result["relevance_score"]) for result in results]
    return Ranked(order, response.usage["total_tokens"])


def _usage(usage) -> Usage:
    details = usage.get("output_tokens_details") or {}
    return Usage(
        usage["input_tokens"],
        usage["output_tokens"],
        usage["total_tokens"],
        details.get("reasoning_tokens") or 0,
    )


DRIVERS = [Sync, Async]
