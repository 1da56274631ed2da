"""The ``openai`` client on the compatible address."""

import asyncio

import openai

from answers import Answer, CallFailed, Embedded, Joiner, ToolCall, Usage

# Parameters of the service that OpenAI does not have.
_EXTRA = {"enable_thinking", "thinking_budget", "top_k", "enable_search"}

KINDS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}


class _OpenAi:
    dialect = "openai"
    kinds = KINDS
    cannot = frozenset({"rerank"})

    def __init__(self, place, max_retries=0):
        self._options = {
            "api_key": place.key,
            "base_url": place.openai,
            "max_retries": max_retries,
        }

    @staticmethod
    def _arguments(messages, options, stream):
        arguments = {name: value for name, value in options.items() if name not in _EXTRA}
        extra = {name: value for name, value in options.items() if name in _EXTRA}
        arguments["messages"] = messages
        if extra:
            arguments["extra_body"] = extra
        if stream:
            arguments["stream"] = True
            arguments["stream_options"] = {"include_usage": True}
        return arguments


class Sync(_OpenAi):
    name = "OpenAI"

    def chat(self, messages, **options) -> Answer:
        with openai.OpenAI(**self._options) as client:
            try:
                completion = client.chat.completions.create(
                    **self._arguments(messages, options, False)
                )
            except openai.APIError as error:
                raise failure(error) from error
            return _answer(completion)

    def stream(self, messages, **options) -> Answer:
        with openai.OpenAI(**self._options) as client:
            joiner = Joiner()
            try:
                chunks = client.chat.completions.create(**self._arguments(messages, options, True))
                for chunk in chunks:
                    _join(joiner, chunk)
            except openai.APIError as error:
                raise failure(error) from error
            return joiner.answer()

    def abandon(self, messages, **options):
        with openai.OpenAI(**self._options) as client:
            chunks = client.chat.completions.create(**self._arguments(messages, options, True))
            next(iter(chunks))
            chunks.close()

    def embed(self, texts, **options) -> Embedded:
        with openai.OpenAI(**self._options) as client:
            try:
                return _embedded(client.embeddings.create(input=texts, **options))
            except openai.APIError as error:
                raise failure(error) from error


class Async(_OpenAi):
    name = "AsyncOpenAI"

    def chat(self, messages, **options) -> Answer:
        async def run():
            async with openai.AsyncOpenAI(**self._options) as client:
                try:
                    completion = await client.chat.completions.create(
                        **self._arguments(messages, options, False)
                    )
                except openai.APIError as error:
                    raise failure(error) from error
                return _answer(completion)

        return asyncio.run(run())

    def stream(self, messages, **options) -> Answer:
        async def run():
            async with openai.AsyncOpenAI(**self._options) as client:
                joiner = Joiner()
                try:
                    chunks = await client.chat.completions.create(
                        **self._arguments(messages, options, True)
                    )
                    async for chunk in chunks:
                        _join(joiner, chunk)
                except openai.APIError as error:
                    raise failure(error) from error
                return joiner.answer()

        return asyncio.run(run())

    def abandon(self, messages, **options):
        async def run():
            async with openai.AsyncOpenAI(**self._options) as client:
                chunks = await client.chat.completions.create(
                    **self._arguments(messages, options, True)
                )
                async for _ in chunks:
                    break
                await chunks.close()

        asyncio.run(run())

    def give_up(self, seconds, messages, **options):
        async def run():
            async with openai.AsyncOpenAI(**self._options) as client:
                call = client.chat.completions.create(**self._arguments(messages, options, False))
                await asyncio.wait_for(call, seconds)

        asyncio.run(run())

    def embed(self, texts, **options) -> Embedded:
        async def run():
            async with openai.AsyncOpenAI(**self._options) as client:
                try:
                    return _embedded(await client.embeddings.create(input=texts, **options))
                except openai.APIError as error:
                    raise failure(error) from error

        return asyncio.run(run())


def failure(error) -> CallFailed:
    body = error.body if isinstance(error.body, dict) else {}
    return CallFailed(
        type(error).__name__,
        getattr(error, "status_code", None),
        error.code,
        body.get("message"),
        getattr(error, "request_id", None),
    )


def _answer(completion) -> Answer:
    message = completion.choices[0].message
    assert completion._request_id, "the answer has no x-request-id"
    return Answer(
        texts=[choice.message.content or "" for choice in completion.choices],
        reasoning=(message.model_extra or {}).get("reasoning_content") or "",
        tool_calls=[
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or []
        ],
        finish_reasons=[choice.finish_reason for choice in completion.choices],
        usage=_usage(completion.usage),
        request_id=completion.id,
    )


def _embedded(response) -> Embedded:
    assert [item.index for item in response.data] == list(range(len(response.data)))
    return Embedded([item.embedding for item in response.data], response.usage.total_tokens)


def _join(joiner, chunk):
    for choice in chunk.choices:
        delta = choice.delta
        calls = [
            (call.index, call.id, call.function.name, call.function.arguments)
            for call in delta.tool_calls or []
        ]
        reasoning = (delta.model_extra or {}).get("reasoning_content")
        joiner.choice(choice.index, delta.content, reasoning, calls, choice.finish_reason)
    if chunk.usage is not None:
        joiner.usage = _usage(chunk.usage)
    joiner.request_id = chunk.id


def _usage(usage) -> Usage:
    details = usage.completion_tokens_details
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        (details.reasoning_tokens or 0) if details else 0,
    )


DRIVERS = [Sync, Async]
