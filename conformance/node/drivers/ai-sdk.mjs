// Vercel's AI SDK with its provider for services that are compatible with OpenAI's.

import assert from "node:assert/strict";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateText, jsonSchema, streamText, tool } from "ai";

export const dialect = "openai";
// It has no call for models, and parses JSON by itself.
export const cannot = new Set(["n", "json_object", "models", "count_tokens"]);
export const kinds = {
  400: "APICallError",
  401: "APICallError",
  403: "APICallError",
  404: "APICallError",
  429: "APICallError",
};
const FINISH = { "tool-calls": "tool_calls" };

/** The SDK for a place; it does not retry unless told to. */
export function make({ url, key }, { maxRetries = 0 } = {}) {
  const provider = createOpenAICompatible({
    name: "bailian",
    baseURL: `${url}/compatible-mode/v1`,
    apiKey: key,
    includeUsage: true,
    supportsStructuredOutputs: true,
    // Else it fetches pictures itself and sends them within the request.
    supportedUrls: () => ({ "image/*": [/^https:/] }),
  });
  const asked = (messages, options, request = {}) => ({
    ...body(provider, messages, options),
    maxRetries,
    abortSignal: request.signal,
  });
  return {
    async chat(messages, options, request) {
      return answered(await generateText(asked(messages, options, request)));
    },
    async stream(messages, options) {
      let failed;
      const onError = ({ error }) => (failed = error);
      const result = streamText({ ...asked(messages, options), onError });
      await result.consumeStream();
      if (failed) throw failed;
      const [text, reasoningText, toolCalls, finishReason, usage] = await Promise.all([
        result.text,
        result.reasoningText,
        result.toolCalls,
        result.finishReason,
        result.usage,
      ]);
      return answered({ text, reasoningText, toolCalls, finishReason, usage });
    },
    async abandon(messages, options) {
      const leaving = new AbortController();
      const request = { signal: leaving.signal };
      for await (const _ of streamText(asked(messages, options, request)).textStream) {
        leaving.abort();
        break;
      }
    },
    async embed(values, model) {
      const embedding = provider.embeddingModel(model);
      const { embeddings, usage } = await embedMany({ model: embedding, values, maxRetries });
      return { vectors: embeddings, tokens: usage.tokens };
    },
  };
}

/** What a caller learns of a failure. */
export function failure(error) {
  // With retries it says that they are used up, and keeps what it heard.
  const { statusCode: status, data, responseHeaders } = error.lastError ?? error;
  return {
    kind: error.constructor.name,
    status,
    code: data?.error?.code,
    message: data?.error?.message,
    requestId: responseHeaders?.["x-request-id"],
  };
}

function body(provider, messages, options) {
  const { model, tools, max_tokens, stop, seed, top_p, response_format: format, ...own } = options;
  const described = (tools ?? []).map(({ function: { name, description, parameters } }) => [
    name,
    tool({ description, inputSchema: jsonSchema(parameters) }),
  ]);
  const system = messages.filter(({ role }) => role === "system");
  const names = new Map();
  return {
    model: provider.chatModel(model),
    instructions: system[0]?.content,
    messages: messages.filter(({ role }) => role !== "system").map((turn) => said(turn, names)),
    tools: tools && Object.fromEntries(described),
    maxOutputTokens: max_tokens,
    stopSequences: stop,
    seed,
    topP: top_p,
    output: format && Output.object({ schema: jsonSchema(format.json_schema.schema) }),
    providerOptions: { bailian: own },
  };
}

/** A turn in the SDK's form; `names` remembers whose results are awaited. */
function said({ role, content, tool_calls: calls, tool_call_id: id }, names) {
  if (role === "tool") {
    const output = { type: "text", value: content };
    const result = { type: "tool-result", toolCallId: id, toolName: names.get(id), output };
    return { role, content: [result] };
  }
  if (calls) {
    const made = calls.map(({ id, function: { name, arguments: text } }) => {
      names.set(id, name);
      return { type: "tool-call", toolCallId: id, toolName: name, input: JSON.parse(text) };
    });
    return { role, content: content ? [{ type: "text", text: content }, ...made] : made };
  }
  if (!Array.isArray(content)) return { role, content };
  const parts = content.map((part) => (part.type === "image_url" ? picture(part) : part));
  return { role, content: parts };
}

function picture({ image_url: { url } }) {
  return { type: "file", mediaType: "image/*", data: url.startsWith("data:") ? url : new URL(url) };
}

function answered({ text, reasoningText, toolCalls, finishReason, usage }) {
  assert.ok(usage);
  return {
    texts: [text],
    reasoning: reasoningText ?? "",
    toolCalls: toolCalls.map(({ toolCallId: id, toolName: name, input }) => ({
      id,
      name,
      arguments: JSON.stringify(input),
    })),
    finishReasons: [FINISH[finishReason] ?? finishReason],
    usage: {
      input: usage.inputTokens,
      output: usage.outputTokens,
      total: usage.totalTokens,
      reasoning: usage.outputTokenDetails?.reasoningTokens ?? 0,
    },
  };
}
