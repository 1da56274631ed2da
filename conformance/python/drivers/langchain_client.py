"""LangChain's chat models, as its users configure them.

Both take OpenAI's messages; what a driver adds is what LangChain has no word for in them.
"""

import asyncio
import json
import re

from langchain_core.messages import AIMessage, convert_to_messages

from answers import Answer, CallFailed, Embedded, Ranked, ToolCall, Usage
from drivers import version


# The connections that LangChain keeps belong to the loop in which they were made.
_run = asyncio.new_event_loop().run_until_complete


class _Sync:
    def chat(self, messages, **options) -> Answer:
        with self._told():
            return self._answer(self.model(options).invoke(self._turns(messages)))

    def stream(self, messages, **options) -> Answer:
        joined = _Joined()
        with self._told():
            for piece in self.model(options, stream=True).stream(self._turns(messages)):
                joined.take(piece)
        return self._answer(joined.message, joined.pieces)

    def abandon(self, messages, **options):
        pieces = self.model(options, stream=True).stream(self._turns(messages))
        next(pieces)
        pieces.close()


class _Async:
    def chat(self, messages, **options) -> Answer:
        async def run():
            return await self.model(options).ainvoke(self._turns(messages))

        with self._told():
            return self._answer(_run(run()))

    def stream(self, messages, **options) -> Answer:
        joined = _Joined()

        async def run():
            model = self.model(options, stream=True)
            async for piece in model.astream(self._turns(messages)):
                joined.take(piece)

        with self._told():
            _run(run())
        return self._answer(joined.message, joined.pieces)

    def abandon(self, messages, **options):
        async def run():
            arrived = asyncio.Event()

            async def read():
                model = self.model(options, stream=True)
                count = 0
                async for _ in model.astream(self._turns(messages)):
                    count += 1
                    # The first ones come together, and Python before 3.12 forgets a cancellation
                    # when the next one is there already.
                    if count == 3:
                        arrived.set()

            reading = asyncio.ensure_future(read())
            await arrived.wait()
            reading.cancel()
            await asyncio.wait([reading])

        _run(run())


class _Joined:
    """Joins pieces by LangChain's own addition."""

    def __init__(self):
        self.message = None
        self.pieces = 0

    def take(self, piece):
        self.message = piece if self.message is None else self.message + piece
        if piece.content or piece.additional_kwargs or piece.tool_call_chunks:
            self.pieces += 1


def _calls(message):
    return [
        ToolCall(call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False))
        for call in message.tool_calls
    ]


class _Raised:
    """Turns what a call raises into ``CallFailed``."""

    def __init__(self, kinds, failure):
        self._kinds, self._failure = kinds, failure

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _trace):
        if isinstance(error, self._kinds):
            raise self._failure(error) from error


DRIVERS = []

if version("langchain-openai"):
    import openai
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    from drivers import openai_client

    class _OpenAi:
        dialect = "openai"
        kinds = {
            400: "OpenAIInvalidRequestError",
            401: "OpenAIAuthenticationError",
            403: "OpenAIPermissionDeniedError",
            404: "OpenAIModelNotFoundError",
            429: "OpenAIRateLimitError",
        }
        # Of several answers it gives the first, and it leaves out thinking.
        cannot = frozenset({"n", "thinking", "rerank"})

        def __init__(self, place):
            self._options = {"base_url": place.openai, "api_key": place.key, "max_retries": 0}

        def model(self, options, stream=False):
            options = dict(options)
            bound = {
                name: options.pop(name)
                for name in ("parallel_tool_calls", "response_format")
                if name in options
            }
            tools = options.pop("tools", None)
            extra = {name: options.pop(name) for name in ["enable_thinking"] if name in options}
            model = ChatOpenAI(
                **self._options, **options, extra_body=extra or None, stream_usage=stream
            )
            return model.bind_tools(tools, **bound) if tools else model.bind(**bound)

        @staticmethod
        def _turns(messages):
            return convert_to_messages(messages)

        @staticmethod
        def _told():
            return _Raised(openai.APIError, openai_client.failure)

        @staticmethod
        def _answer(message, pieces=1) -> Answer:
            usage = message.usage_metadata
            details = usage.get("output_token_details") or {}
            return Answer(
                texts=[message.content],
                tool_calls=_calls(message),
                finish_reasons=[message.response_metadata["finish_reason"]],
                usage=Usage(
                    usage["input_tokens"],
                    usage["output_tokens"],
                    usage["total_tokens"],
                    details.get("reasoning") or 0,
                ),
                request_id=message.id,
                pieces=pieces,
            )

        def _embeddings(self, options):
            return OpenAIEmbeddings(
                **self._options, **options, check_embedding_ctx_length=False
            )

    class OpenAiSync(_OpenAi, _Sync):
        name = "ChatOpenAI"

        def embed(self, texts, **options) -> Embedded:
            with self._told():
                return Embedded(self._embeddings(options).embed_documents(texts))

    class OpenAiAsync(_OpenAi, _Async):
        name = "ChatOpenAI(async)"

        def give_up(self, seconds, messages, **options):
            async def run():
                call = self.model(options).ainvoke(self._turns(messages))
                await asyncio.wait_for(call, seconds)

            _run(run())

        def embed(self, texts, **options) -> Embedded:
            async def run():
                return await self._embeddings(options).aembed_documents(texts)

            with self._told():
                return Embedded(_run(run()))

    DRIVERS += [OpenAiSync, OpenAiAsync]

if version("langchain-community"):
    import dashscope
    from langchain_community.chat_models import ChatTongyi
    from langchain_community.document_compressors.dashscope_rerank import DashScopeRerank
    from langchain_community.embeddings import DashScopeEmbeddings
    from requests.exceptions import HTTPError

    # What it raises has the status and the code in its text only.
    _FAILURE = re.compile(
        r"(?:request_id: (?P<request_id>\S*) \n )?.*?status_code: (?P<status>\d+) \n "
        r"code: (?P<code>\S*) \n message: (?P<message>.*)",
        re.DOTALL,
    )

    class _Tongyi:
        dialect = "native"
        kinds = {400: "ValueError", 401: "ValueError"} | dict.fromkeys((403, 404, 429), "HTTPError")
        # Its class for rerank does not look whether it got an answer.
        cannot = frozenset({"n", "rerank_errors"})
        splits_texts = True

        def __init__(self, place):
            self._place = place

        def _address(self):
            # The address is a variable of the client's module, so it is set before every call.
            dashscope.base_http_api_url = self._place.native

        def model(self, options, stream=False):
            self._address()
            options = dict(options)
            model, tools = options.pop("model"), options.pop("tools", None)
            if stream and tools:
                # Without it, this class takes apart what comes again and again, and stumbles over
                # a second call.
                options["incremental_output"] = True
            own = {"top_p": options.pop("top_p")} if "top_p" in options else {}
            model = ChatTongyi(
                model=model,
                api_key=self._place.key,
                max_retries=1,
                model_kwargs=options,
                # Else LangChain's core takes the default for a wish, and asks at once.
                streaming=stream,
                **own,
            )
            return model.bind_tools(tools) if tools else model

        @staticmethod
        def _turns(messages):
            turns = []
            for message in messages:
                content = message["content"]
                if isinstance(content, list):
                    parts = [
                        {"image": part["image_url"]["url"]}
                        if part["type"] == "image_url"
                        else {"text": part["text"]}
                        for part in content
                    ]
                    message = {**message, "content": parts}
                (turn,) = convert_to_messages([message])
                if isinstance(turn, AIMessage) and "tool_calls" in message:
                    # Where this class keeps the calls of its own answers.
                    turn.additional_kwargs["tool_calls"] = message["tool_calls"]
                turns.append(turn)
            return turns

        @staticmethod
        def _told():
            return _Raised((ValueError, HTTPError), _tongyi_failure)

        @staticmethod
        def _answer(message, pieces=1) -> Answer:
            told = message.response_metadata
            usage = told["token_usage"]
            details = usage.get("output_tokens_details") or {}
            content = message.content
            if isinstance(content, list):
                content = "".join(part["text"] for part in content)
            return Answer(
                texts=[content],
                reasoning=message.additional_kwargs.get("reasoning_content") or "",
                tool_calls=_calls(message),
                finish_reasons=[told["finish_reason"]],
                usage=Usage(
                    usage["input_tokens"],
                    usage["output_tokens"],
                    usage["total_tokens"],
                    details.get("reasoning_tokens") or 0,
                ),
                request_id=told["request_id"],
                pieces=pieces,
            )

    class TongyiSync(_Tongyi, _Sync):
        name = "ChatTongyi"

        def embed(self, texts, **options) -> Embedded:
            self._address()
            embeddings = DashScopeEmbeddings(
                dashscope_api_key=self._place.key, max_retries=1, **options
            )
            with self._told():
                return Embedded(embeddings.embed_documents(texts))

        def rerank(self, query, documents, model, top_n) -> Ranked:
            self._address()
            # Only with a client given does it take another model than one that is no more.
            compressor = DashScopeRerank(
                client=dashscope.TextReRank, model=model, api_key=self._place.key
            )
            results = compressor.rerank(documents, query, top_n=top_n)
            return Ranked([(result["index"], result["relevance_score"]) for result in results])

    class TongyiAsync(_Tongyi, _Async):
        # Its requests run in threads, so there is no giving one up.
        name = "ChatTongyi(async)"
        cannot = _Tongyi.cannot | {"embeddings", "rerank"}

    def _tongyi_failure(error) -> CallFailed:
        told = _FAILURE.match(str(error))
        assert told, f"no failure of the service: {error!r}"
        request_id = told["request_id"] or error.response.request_id
        kind = type(error).__name__
        return CallFailed(kind, int(told["status"]), told["code"], told["message"], request_id)

    DRIVERS += [TongyiSync, TongyiAsync]
