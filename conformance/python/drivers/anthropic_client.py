"""The ``anthropic`` client on the compatible address."""

import asyncio
import json

import anthropic

from answers import Answer, CallFailed, Joiner, ToolCall, Usage

# A bad key is 403 on this surface only.
KINDS = {
    400: "BadRequestError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}

_FINISH = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
# What the service has and this client does not know.
_EXTRA = {"enable_search"}


class _Anthropic:
    dialect = "anthropic"
    kinds = KINDS
    # One answer, and JSON only by a schema: the dialect has no other way to ask.
    cannot = frozenset({"n", "json_object", "embeddings", "rerank"})

    def __init__(self, place, max_retries=0):
        self._options = {
            "api_key": place.key,
            "base_url": place.anthropic,
            "max_retries": max_retries,
        }

    @staticmethod
    def _arguments(messages, options):
        options = dict(options)
        # The protocol has no seed; the simulator needs none to say the same again.
        options.pop("seed", None)
        arguments = {"max_tokens": options.pop("max_tokens", 2048), "messages": []}
        for message in messages:
            _add_turn(arguments, message)
        if "stop" in options:
            arguments["stop_sequences"] = options.pop("stop")
        thinking = options.pop("enable_thinking", None)
        if thinking:
            arguments["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        elif thinking is not None:
            arguments["thinking"] = {"type": "disabled"}
        tools = options.pop("tools", None)
        if tools:
            arguments["tools"] = [
                {
                    "name": tool["function"]["name"],
                    "description": tool["function"]["description"],
                    "input_schema": tool["function"]["parameters"],
                }
                for tool in tools
            ]
        parallel = options.pop("parallel_tool_calls", None)
        if parallel is not None:
            arguments["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": not parallel}
        response_format = options.pop("response_format", None)
        extra = {name: options.pop(name) for name in list(options) if name in _EXTRA}
        if response_format:
            schema = response_format["json_schema"]["schema"]
            extra["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        # This client warns of or refuses what its own service has given up.
        for name in ("temperature", "top_p", "top_k"):
            if name in options:
                extra[name] = options.pop(name)
        if extra:
            arguments["extra_body"] = extra
        arguments.update(options)
        return arguments


def _add_turn(arguments, message):
    role, content = message["role"], message["content"]
    if role == "system":
        arguments["system"] = content
        return
    if role == "tool":
        result = {
            "type": "tool_result",
            "tool_use_id": message["tool_call_id"],
            "content": content,
        }
        last = arguments["messages"][-1] if arguments["messages"] else None
        if last and last["role"] == "user" and isinstance(last["content"], list):
            last["content"].append(result)
            return
        role, content = "user", [result]
    elif message.get("tool_calls"):
        blocks = [{"type": "text", "text": content}] if content else []
        for call in message["tool_calls"]:
            function = call["function"]
            blocks.append(
                {
                    "type": "tool_use",
                    "id": call["id"],
                    "name": function["name"],
                    "input": json.loads(function["arguments"]),
                }
            )
        content = blocks
    elif isinstance(content, list):
        content = [_block(part) for part in content]
    arguments["messages"].append({"role": role, "content": content})


def _block(part):
    if part["type"] == "image_url":
        url = part["image_url"]["url"]
        if url.startswith("data:"):
            media_type, data = url[len("data:") :].split(";base64,")
            source = {"type": "base64", "media_type": media_type, "data": data}
        else:
            source = {"type": "url", "url": url}
        return {"type": "image", "source": source}
    return part


class Sync(_Anthropic):
    name = "Anthropic"

    def chat(self, messages, **options) -> Answer:
        with anthropic.Anthropic(**self._options) as client:
            try:
                message = client.messages.create(**self._arguments(messages, options))
            except anthropic.APIError as error:
                raise _failure(error) from error
            return _answer(message)

    def stream(self, messages, **options) -> Answer:
        with anthropic.Anthropic(**self._options) as client:
            joiner = _Events()
            try:
                arguments = self._arguments(messages, options)
                for event in client.messages.create(stream=True, **arguments):
                    joiner.take(event)
            except anthropic.APIError as error:
                raise _failure(error) from error
            return joiner.answer()

    def abandon(self, messages, **options):
        with anthropic.Anthropic(**self._options) as client:
            arguments = self._arguments(messages, options)
            with client.messages.create(stream=True, **arguments) as events:
                for event in events:
                    if event.type == "content_block_delta":
                        break


class Async(_Anthropic):
    name = "AsyncAnthropic"

    def chat(self, messages, **options) -> Answer:
        async def run():
            async with anthropic.AsyncAnthropic(**self._options) as client:
                try:
                    message = await client.messages.create(**self._arguments(messages, options))
                except anthropic.APIError as error:
                    raise _failure(error) from error
                return _answer(message)

        return asyncio.run(run())

    def stream(self, messages, **options) -> Answer:
        async def run():
            async with anthropic.AsyncAnthropic(**self._options) as client:
                joiner = _Events()
                try:
                    arguments = self._arguments(messages, options)
                    async for event in await client.messages.create(stream=True, **arguments):
                        joiner.take(event)
                except anthropic.APIError as error:
                    raise _failure(error) from error
                return joiner.answer()

        return asyncio.run(run())

    def abandon(self, messages, **options):
        async def run():
            async with anthropic.AsyncAnthropic(**self._options) as client:
                arguments = self._arguments(messages, options)
                events = await client.messages.create(stream=True, **arguments)
                async for event in events:
                    if event.type == "content_block_delta":
                        break
                await events.close()

        asyncio.run(run())

    def give_up(self, seconds, messages, **options):
        async def run():
            async with anthropic.AsyncAnthropic(**self._options) as client:
                call = client.messages.create(**self._arguments(messages, options))
                await asyncio.wait_for(call, seconds)

        asyncio.run(run())


def _failure(error) -> CallFailed:
    body = error.body if isinstance(error.body, dict) else {}
    told = body.get("error") or {}
    return CallFailed(
        type(error).__name__,
        getattr(error, "status_code", None),
        told.get("type"),
        told.get("message"),
        body.get("request_id") or getattr(error, "request_id", None),
    )


def _answer(message) -> Answer:
    blocks = message.content
    return Answer(
        texts=["".join(block.text for block in blocks if block.type == "text")],
        reasoning="".join(block.thinking for block in blocks if block.type == "thinking"),
        tool_calls=[
            ToolCall(block.id, block.name, json.dumps(block.input, ensure_ascii=False))
            for block in blocks
            if block.type == "tool_use"
        ],
        finish_reasons=[_FINISH.get(message.stop_reason, message.stop_reason)],
        usage=_usage(message.usage),
        request_id=message.id,
    )


class _Events:
    """Joins the events of one message."""

    def __init__(self):
        self._joiner = Joiner()
        self._tools = {}
        self._usage = {}

    def take(self, event):
        if event.type == "message_start":
            self._joiner.request_id = event.message.id
            self._joiner.choice(0, "", "", [], None)
        elif event.type == "content_block_start" and event.content_block.type == "tool_use":
            self._tools[event.index] = len(self._tools)
            block = event.content_block
            self._call(event.index, block.id, block.name, "")
        elif event.type == "content_block_delta":
            delta = event.delta
            if delta.type == "text_delta":
                self._joiner.choice(0, delta.text, "", [], None)
            elif delta.type == "thinking_delta":
                self._joiner.choice(0, "", delta.thinking, [], None)
            elif delta.type == "input_json_delta":
                self._call(event.index, None, None, delta.partial_json)
        elif event.type == "message_delta":
            reason = event.delta.stop_reason
            self._joiner.choice(0, "", "", [], _FINISH.get(reason, reason))
            self._joiner.usage = _usage(event.usage)

    def _call(self, index, call_id, name, arguments):
        self._joiner.choice(0, "", "", [(self._tools[index], call_id, name, arguments)], None)

    def answer(self) -> Answer:
        answer = self._joiner.answer()
        # The whole answer has arguments as an object: both are written the same way here.
        answer.tool_calls = [
            ToolCall(
                call.id,
                call.name,
                json.dumps(json.loads(call.arguments or "{}"), ensure_ascii=False),
            )
            for call in answer.tool_calls
        ]
        return answer


def _usage(usage) -> Usage:
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    read = (usage.input_tokens or 0) + cached
    return Usage(read, usage.output_tokens, read + usage.output_tokens)


DRIVERS = [Sync, Async]
