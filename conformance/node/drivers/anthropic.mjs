// The `@anthropic-ai/sdk` client for Node, of either line.

import assert from "node:assert/strict";

const { default: Anthropic } = await import(process.env.CONFORMANCE_NODE_PACKAGE);

export const dialect = "anthropic";
// One answer, and JSON only by a schema: the protocol has no other way to ask.
export const cannot = new Set(["n", "json_object", "embeddings", "seed", "reasoning_tokens"]);
export const kinds = {
  400: "BadRequestError",
  403: "PermissionDeniedError",
  404: "NotFoundError",
  429: "RateLimitError",
};
const FINISH = { end_turn: "stop", max_tokens: "length", tool_use: "tool_calls" };

/** A client for a place; it does not retry unless told to. */
export function make({ url, key }, options = {}) {
  const client = new Anthropic({
    apiKey: key,
    baseURL: `${url}/apps/anthropic`,
    maxRetries: 0,
    ...options,
  });
  return {
    async chat(messages, options, request) {
      return answered(await client.messages.create(body(messages, options), request));
    },
    async stream(messages, options) {
      // The client joins the events by itself.
      return answered(await client.messages.stream(body(messages, options)).finalMessage());
    },
    async abandon(messages, options) {
      const asked = { ...body(messages, options), stream: true };
      for await (const event of await client.messages.create(asked)) {
        if (event.type === "content_block_delta") break;
      }
    },
    async models() {
      const ids = [];
      for await (const { id } of client.models.list()) ids.push(id);
      return ids;
    },
    async countTokens(messages, options) {
      const { max_tokens: _, ...asked } = body(messages, options);
      return (await client.messages.countTokens(asked)).input_tokens;
    },
  };
}

/** What a caller learns of a failure. */
export function failure(error) {
  const { type, message } = error.error?.error ?? {};
  const requestId = error.error?.request_id ?? error.requestID;
  return { kind: error.constructor.name, status: error.status, code: type, requestId, message };
}

/** A request in this protocol, from one in OpenAI's. */
function body(messages, options) {
  const {
    seed: _,
    stop,
    tools,
    max_tokens = 2048,
    enable_thinking,
    parallel_tool_calls: parallel,
    response_format: format,
    ...rest
  } = options;
  const asked = { max_tokens, messages: [], ...rest };
  for (const message of messages) addTurn(asked, message);
  if (stop) asked.stop_sequences = stop;
  if (enable_thinking) asked.thinking = { type: "enabled", budget_tokens: 1024 };
  if (enable_thinking === false) asked.thinking = { type: "disabled" };
  if (tools) {
    asked.tools = tools.map(({ function: { name, description, parameters } }) => ({
      name,
      description,
      input_schema: parameters,
    }));
  }
  if (parallel !== undefined) {
    asked.tool_choice = { type: "auto", disable_parallel_tool_use: !parallel };
  }
  if (format) {
    asked.output_config = { format: { type: "json_schema", schema: format.json_schema.schema } };
  }
  return asked;
}

function addTurn(asked, { role, content, tool_calls: calls, tool_call_id: id }) {
  if (role === "system") {
    asked.system = content;
  } else if (role === "tool") {
    const result = { type: "tool_result", tool_use_id: id, content };
    const last = asked.messages.at(-1);
    if (last.role === "user" && Array.isArray(last.content)) last.content.push(result);
    else asked.messages.push({ role: "user", content: [result] });
  } else if (calls) {
    const said = content ? [{ type: "text", text: content }] : [];
    const used = calls.map(({ id, function: called }) => ({
      type: "tool_use",
      id,
      name: called.name,
      input: JSON.parse(called.arguments),
    }));
    asked.messages.push({ role, content: [...said, ...used] });
  } else {
    asked.messages.push({ role, content: Array.isArray(content) ? content.map(block) : content });
  }
}

function block(part) {
  if (part.type !== "image_url") return part;
  const { url } = part.image_url;
  const inline = url.match(/^data:([^;]+);base64,(.*)$/);
  return {
    type: "image",
    source: inline
      ? { type: "base64", media_type: inline[1], data: inline[2] }
      : { type: "url", url },
  };
}

function answered(message) {
  assert.ok(message.id);
  const of = (type) => message.content.filter((block) => block.type === type);
  const { usage } = message;
  const input =
    usage.input_tokens +
    (usage.cache_read_input_tokens ?? 0) +
    (usage.cache_creation_input_tokens ?? 0);
  return {
    texts: [of("text").map(({ text }) => text).join("")],
    reasoning: of("thinking").map(({ thinking }) => thinking).join(""),
    toolCalls: of("tool_use").map(({ id, name, input }) => ({
      id,
      name,
      arguments: JSON.stringify(input),
    })),
    finishReasons: [FINISH[message.stop_reason] ?? message.stop_reason],
    usage: { input, output: usage.output_tokens, total: input + usage.output_tokens, reasoning: 0 },
  };
}
