// The `openai` client for Node, of either line.

import assert from "node:assert/strict";

const { default: OpenAI } = await import(process.env.CONFORMANCE_NODE_PACKAGE);

// The service answers with figures whatever is asked for. Versions before 7 take them for base64,
// and give back what is none of them, unless figures are asked for.
const FIGURES = process.env.CONFORMANCE_NODE_PACKAGE === "openai" ? {} : { encoding_format: "float" };

export const dialect = "openai";
export const cannot = new Set(["count_tokens"]);
export const kinds = {
  400: "BadRequestError",
  401: "AuthenticationError",
  403: "PermissionDeniedError",
  404: "NotFoundError",
  429: "RateLimitError",
};

/** A client for a place; it does not retry unless told to. */
export function make({ url, key }, options = {}) {
  const client = new OpenAI({
    apiKey: key,
    baseURL: `${url}/compatible-mode/v1`,
    maxRetries: 0,
    ...options,
  });
  const ask = (messages, options, more) =>
    client.chat.completions.create({ messages, ...options, ...more.body }, more.options);
  const streamed = { stream: true, stream_options: { include_usage: true } };
  return {
    async chat(messages, options, request) {
      const completion = await ask(messages, options, { options: request });
      assert.ok(completion._request_id, "the answer has no x-request-id");
      return answered(completion);
    },
    async stream(messages, options) {
      const chunks = await ask(messages, options, { body: streamed });
      return joined(chunks);
    },
    async abandon(messages, options) {
      for await (const chunk of await ask(messages, options, { body: streamed })) {
        assert.ok(chunk.id);
        break;
      }
    },
    async embed(texts, model) {
      const { data, usage } = await client.embeddings.create({ model, input: texts, ...FIGURES });
      return { vectors: data.map(({ embedding }) => embedding), tokens: usage.total_tokens };
    },
    async models() {
      return (await client.models.list()).data.map(({ id }) => id);
    },
  };
}

/** What a caller learns of a failure. */
export function failure(error) {
  const { status, code, requestID: requestId } = error;
  const message = error.error?.message;
  return { kind: error.constructor.name, status, code, requestId, message };
}

function answered(completion) {
  const { message } = completion.choices[0];
  return {
    texts: completion.choices.map((choice) => choice.message.content ?? ""),
    reasoning: message.reasoning_content ?? "",
    toolCalls: (message.tool_calls ?? []).map(({ id, function: called }) => ({
      id,
      name: called.name,
      arguments: called.arguments,
    })),
    finishReasons: completion.choices.map((choice) => choice.finish_reason),
    usage: used(completion.usage),
  };
}

async function joined(chunks) {
  const answer = { texts: [], reasoning: "", toolCalls: [], finishReasons: [], usage: undefined };
  for await (const chunk of chunks) {
    for (const { index, delta, finish_reason: finish } of chunk.choices) {
      answer.texts[index] = (answer.texts[index] ?? "") + (delta.content ?? "");
      answer.reasoning += delta.reasoning_content ?? "";
      if (finish) answer.finishReasons[index] = finish;
      for (const part of delta.tool_calls ?? []) {
        const call = (answer.toolCalls[part.index] ??= { id: "", name: "", arguments: "" });
        call.id ||= part.id ?? "";
        call.name ||= part.function?.name ?? "";
        call.arguments += part.function?.arguments ?? "";
      }
    }
    if (chunk.usage) answer.usage = used(chunk.usage);
  }
  return answer;
}

function used(usage) {
  return {
    input: usage.prompt_tokens,
    output: usage.completion_tokens,
    total: usage.total_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
  };
}
