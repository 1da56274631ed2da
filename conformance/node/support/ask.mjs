// One form for an answer, streamed or not.

import assert from "node:assert/strict";

export const MODEL = "qwen-plus";

export const user = (content) => [{ role: "user", content }];

/** Asks at once. */
export async function chat(client, messages, options = {}) {
  const completion = await client.chat.completions.create({ model: MODEL, messages, ...options });
  assert.ok(completion._request_id, "the answer has no x-request-id");
  const { message } = completion.choices[0];
  return {
    texts: completion.choices.map((choice) => choice.message.content ?? ""),
    reasoning: message.reasoning_content ?? "",
    toolCalls: (message.tool_calls ?? []).map(toolCall),
    finishReasons: completion.choices.map((choice) => choice.finish_reason),
    usage: usage(completion.usage),
  };
}

/** Asks for a stream and joins it. */
export async function stream(client, messages, options = {}) {
  const chunks = await client.chat.completions.create({
    model: MODEL,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    ...options,
  });
  const texts = [];
  const finishReasons = [];
  const calls = [];
  const answer = { reasoning: "", usage: undefined };
  for await (const chunk of chunks) {
    for (const { index, delta, finish_reason: finish } of chunk.choices) {
      texts[index] = (texts[index] ?? "") + (delta.content ?? "");
      answer.reasoning += delta.reasoning_content ?? "";
      if (finish) finishReasons[index] = finish;
      for (const part of delta.tool_calls ?? []) {
        const call = (calls[part.index] ??= { id: "", name: "", arguments: "" });
        call.id ||= part.id ?? "";
        call.name ||= part.function?.name ?? "";
        call.arguments += part.function?.arguments ?? "";
      }
    }
    if (chunk.usage) answer.usage = usage(chunk.usage);
  }
  return { texts, reasoning: answer.reasoning, toolCalls: calls, finishReasons, usage: answer.usage };
}

/** What has to be the same whichever way an answer came: all but the ids of tool calls. */
export function content({ toolCalls, ...rest }) {
  return { ...rest, toolCalls: toolCalls.map(({ id: _, ...call }) => call) };
}

function toolCall({ id, function: called }) {
  return { id, name: called.name, arguments: called.arguments };
}

function usage(usage) {
  return {
    input: usage.prompt_tokens,
    output: usage.completion_tokens,
    total: usage.total_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
  };
}
