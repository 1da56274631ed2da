"""The client object of ``dashscope`` 2.0, over its native and its OpenAI-compatible protocol."""

import asyncio

from dashscope import AsyncClient, Client
from dashscope.v2.errors import DashScopeError

from answers import Answer, CallFailed, Embedded, Joiner, Ranked, ToolCall, Usage

# Arguments that ``create`` names; all others travel in ``parameters``.
_NAMED = {
    "model", "tools", "tool_choice", "temperature", "top_p", "max_tokens", "stop", "seed", "n",
    "enable_thinking", "thinking_budget", "response_format", "parallel_tool_calls",
    "incremental_output",
}

# (status, code) -> exception; the compatible spellings of codes are unknown to this client, so it
# goes by status there.
KINDS = {
    (400, "Arrearage"): "PermissionDeniedError",
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}


class _Client:
    kinds = KINDS

    def __init__(self, place, max_retries=0):
        self._options = {
            "api_key": place.key,
            "base_url": place.native if self.dialect == "native" else place.openai,
            "protocol": self.dialect,
            "max_retries": max_retries,
        }

    @staticmethod
    def _arguments(messages, options, stream):
        named = {name: value for name, value in options.items() if name in _NAMED}
        others = {name: value for name, value in options.items() if name not in _NAMED}
        turns = [_turn(message) for message in messages]
        return {**named, "parameters": others or None, "messages": turns, "stream": stream}


def _turn(message):
    """A message whose parts are said as this client says them, for every protocol alike."""
    if not isinstance(message["content"], list):
        return message
    parts = [
        {"type": "image", "url": part["image_url"]["url"]} if part["type"] == "image_url" else part
        for part in message["content"]
    ]
    return {**message, "content": parts}


class _Sync(_Client):
    def chat(self, messages, **options) -> Answer:
        with Client(**self._options) as client:
            try:
                completion = client.chat.completions.create(
                    **self._arguments(messages, options, False)
                )
            except DashScopeError as error:
                raise _failure(error) from error
            return _answer(completion)

    def stream(self, messages, **options) -> Answer:
        with Client(**self._options) as client:
            joiner = Joiner()
            try:
                chunks = client.chat.completions.create(**self._arguments(messages, options, True))
                for chunk in chunks:
                    _join(joiner, chunk)
            except DashScopeError as error:
                raise _failure(error) from error
            return joiner.answer()

    def final_message(self, messages, **options) -> Answer:
        """The answer as the client itself joins its stream."""
        with Client(**self._options) as client:
            stream = client.chat.completions.create(**self._arguments(messages, options, True))
            return _answer(stream.get_final_message())

    def abandon(self, messages, **options):
        with Client(**self._options) as client:
            chunks = client.chat.completions.create(**self._arguments(messages, options, True))
            next(iter(chunks))
            chunks.close()

    def embed(self, texts, **options) -> Embedded:
        with Client(**self._options) as client:
            try:
                return _embedded(client.embeddings.create(input=texts, **options))
            except DashScopeError as error:
                raise _failure(error) from error

    def rerank(self, query, documents, **options) -> Ranked:
        with Client(**self._options) as client:
            try:
                answer = client.rerank.create(query=query, documents=documents, **options)
            except DashScopeError as error:
                raise _failure(error) from error
            return _ranked(answer)


class _Async(_Client):
    def chat(self, messages, **options) -> Answer:
        async def run():
            async with AsyncClient(**self._options) as client:
                try:
                    completion = await client.chat.completions.create(
                        **self._arguments(messages, options, False)
                    )
                except DashScopeError as error:
                    raise _failure(error) from error
                return _answer(completion)

        return asyncio.run(run())

    def stream(self, messages, **options) -> Answer:
        async def run():
            async with AsyncClient(**self._options) as client:
                joiner = Joiner()
                try:
                    chunks = await client.chat.completions.create(
                        **self._arguments(messages, options, True)
                    )
                    async for chunk in chunks:
                        _join(joiner, chunk)
                except DashScopeError as error:
                    raise _failure(error) from error
                return joiner.answer()

        return asyncio.run(run())

    def abandon(self, messages, **options):
        async def run():
            async with AsyncClient(**self._options) as client:
                chunks = await client.chat.completions.create(
                    **self._arguments(messages, options, True)
                )
                async for _ in chunks:
                    break
                await chunks.aclose()

        asyncio.run(run())

    def give_up(self, seconds, messages, **options):
        async def run():
            async with AsyncClient(**self._options) as client:
                call = client.chat.completions.create(**self._arguments(messages, options, False))
                await asyncio.wait_for(call, seconds)

        asyncio.run(run())

    def embed(self, texts, **options) -> Embedded:
        async def run():
            async with AsyncClient(**self._options) as client:
                try:
                    return _embedded(await client.embeddings.create(input=texts, **options))
                except DashScopeError as error:
                    raise _failure(error) from error

        return asyncio.run(run())

    def rerank(self, query, documents, **options) -> Ranked:
        async def run():
            async with AsyncClient(**self._options) as client:
                try:
                    answer = await client.rerank.create(
                        query=query, documents=documents, **options
                    )
                except DashScopeError as error:
                    raise _failure(error) from error
                return _ranked(answer)

        return asyncio.run(run())


class NativeSync(_Sync):
    name, dialect = "Client(native)", "native"


class NativeAsync(_Async):
    name, dialect = "AsyncClient(native)", "native"


# Embeddings and rerank of this client are native only, whichever protocol it chats in.
class OpenAiSync(_Sync):
    name, dialect = "Client(openai)", "openai"
    cannot = frozenset({"embeddings", "rerank"})


class OpenAiAsync(_Async):
    name, dialect = "AsyncClient(openai)", "openai"
    cannot = frozenset({"embeddings", "rerank"})


def _failure(error) -> CallFailed:
    kind = type(error).__name__
    return CallFailed(kind, error.status_code, error.code, error.message, error.request_id)


def _answer(completion) -> Answer:
    message = completion.choices[0].message
    return Answer(
        texts=[choice.message.content or "" for choice in completion.choices],
        reasoning=message.reasoning_content or "",
        tool_calls=[
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or []
        ],
        finish_reasons=[choice.finish_reason for choice in completion.choices],
        usage=_usage(completion.usage),
        request_id=completion.request_id,
    )


def _embedded(answer) -> Embedded:
    assert [item.index for item in answer.embeddings] == list(range(len(answer.embeddings)))
    return Embedded([item.embedding for item in answer.embeddings], answer.usage.total_tokens)


def _ranked(answer) -> Ranked:
    order = [(result.index, result.relevance_score) for result in answer.results]
    return Ranked(order, answer.usage.total_tokens)


def _join(joiner, chunk):
    for choice in chunk.choices:
        delta = choice.delta
        calls = [
            (call.index, call.id, call.function.name, call.function.arguments)
            for call in delta.tool_calls or []
        ]
        joiner.choice(
            choice.index, delta.content, delta.reasoning_content, calls, choice.finish_reason
        )
    if chunk.usage is not None:
        joiner.usage = _usage(chunk.usage)
    joiner.request_id = chunk.request_id or joiner.request_id


def _usage(usage) -> Usage:
    extra = usage.model_extra or {}
    details = extra.get("output_tokens_details") or extra.get("completion_tokens_details") or {}
    return Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        details.get("reasoning_tokens") or 0,
    )


DRIVERS = [NativeSync, NativeAsync, OpenAiSync, OpenAiAsync]
