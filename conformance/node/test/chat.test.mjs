// What a caller gets from a chat with the `openai` client for Node.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";

import { MODEL, chat, content, stream, user } from "../support/ask.mjs";
import { client, direct, simulated, simulator } from "../support/target.mjs";

const CHINESE = user("用一句话介绍杭州。");
const LONG = user("Write about the West Lake in Hangzhou through the four seasons, in two paragraphs.");
const UNICODE = user("请解释这些字符：👩‍👩‍👧‍👦 𠮷野家 e\u0301 ﷽ \u200f שלום “引号” \\ \t");
const HISTORY = [
  { role: "system", content: "You answer in one short sentence." },
  { role: "user", content: "Which river flows through Hangzhou?" },
  { role: "assistant", content: "The Qiantang River." },
  { role: "user", content: "And which lake is it known for?" },
];
const FORECAST = user("What is the weather in Hangzhou today? Use the tool.");
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Tells today's weather in a city.",
      parameters: {
        type: "object",
        properties: { city: { type: "string", description: "The city's name." } },
        required: ["city"],
      },
    },
  },
];
const PERSON = user("Invent a person and describe them as JSON with name and age.");
const schema = {
  name: "person",
  strict: true,
  schema: {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer" } },
    required: ["name", "age"],
    additionalProperties: false,
  },
};

const through = client();

before(async () => {
  // At once instead of at a model's speed.
  if (simulated) await simulator.configure({ speed: null });
});

for (const [way, ask] of Object.entries({ chat, stream })) {
  describe(way, () => {
    test("a prompt is answered", async () => {
      const answer = await ask(through, CHINESE);
      assert.ok(answer.texts[0].trim());
      assert.deepEqual(answer.finishReasons, ["stop"]);
      assert.equal(answer.usage.total, answer.usage.input + answer.usage.output);
      assert.ok(answer.usage.output > 0);
    });

    test("text of all planes survives", async () => {
      const answer = await ask(through, UNICODE);
      assert.ok(answer.texts[0].trim());
      assert.ok(!answer.texts[0].includes("\ufffd"));
      if (simulated) assert.deepEqual(content(answer), content(await ask(direct(), UNICODE)));
    });

    test("a system message and history are accepted", async () => {
      const answer = await ask(through, HISTORY);
      assert.ok(answer.texts[0].trim());
      if (simulated) assert.deepEqual(content(answer), content(await ask(direct(), HISTORY)));
    });

    test("a tool call makes a round trip", async () => {
      const first = await ask(through, FORECAST, { tools });
      assert.deepEqual(first.finishReasons, ["tool_calls"]);
      assert.equal(first.toolCalls.length, 1);
      const [call] = first.toolCalls;
      assert.ok(call.id);
      assert.equal(call.name, "get_weather");
      assert.equal(typeof JSON.parse(call.arguments).city, "string");
      const asked = {
        role: "assistant",
        content: first.texts[0],
        tool_calls: [
          {
            id: call.id,
            type: "function",
            function: { name: call.name, arguments: call.arguments },
          },
        ],
      };
      const result = { role: "tool", tool_call_id: call.id, content: '{"sky":"晴","celsius":21}' };
      const second = await ask(through, [...FORECAST, asked, result], { tools });
      assert.deepEqual(second.finishReasons, ["stop"]);
      assert.ok(second.texts[0].trim());
    });

    test("JSON mode gives JSON", async () => {
      const answer = await ask(through, PERSON, { response_format: { type: "json_object" } });
      assert.equal(typeof JSON.parse(answer.texts[0]), "object");
    });

    test("a JSON schema is kept", async () => {
      const response_format = { type: "json_schema", json_schema: schema };
      const person = JSON.parse((await ask(through, PERSON, { response_format })).texts[0]);
      assert.deepEqual(Object.keys(person).sort(), ["age", "name"]);
      assert.equal(typeof person.name, "string");
      assert.ok(Number.isInteger(person.age));
    });

    test("max_tokens cuts the answer", async () => {
      const answer = await ask(through, LONG, { max_tokens: 8 });
      assert.deepEqual(answer.finishReasons, ["length"]);
      assert.ok(answer.usage.output > 0 && answer.usage.output <= 8);
    });

    test("stop ends the answer before the word", async () => {
      const whole = (await chat(through, LONG, { seed: 7 })).texts[0];
      const word = whole.match(/\w{2,}/g).at(-1);
      const answer = await ask(through, LONG, { stop: [word], seed: 7 });
      assert.ok(!answer.texts[0].includes(word));
      assert.deepEqual(answer.finishReasons, ["stop"]);
    });

    test("several answers come to one request", async () => {
      const answer = await ask(through, CHINESE, { n: 2, enable_thinking: false });
      assert.equal(answer.texts.length, 2);
      assert.ok(answer.texts.every((text) => text.trim()));
      assert.deepEqual(answer.finishReasons, ["stop", "stop"]);
    });

    if (simulated) {
      test("the answer is what upstream gave", async () => {
        const answer = content(await ask(through, CHINESE));
        assert.deepEqual(answer, content(await ask(direct(), CHINESE)));
      });

      test("usage is what upstream counted", async () => {
        await simulator.reset();
        const { usage } = await ask(through, CHINESE);
        const entry = await simulator.waitFor((entry) => entry.verdict === "ok");
        assert.equal(entry.input_tokens, usage.input);
        assert.equal(entry.output_tokens, usage.output);
      });
    }
  });
}

test("thinking comes beside the answer", async () => {
  const answer = await stream(through, CHINESE, { enable_thinking: true });
  assert.ok(answer.reasoning.trim());
  assert.ok(answer.texts[0].trim());
  assert.ok(answer.usage.reasoning > 0 && answer.usage.reasoning < answer.usage.output);
});

test("models are listed", async () => {
  const models = await through.models.list();
  assert.ok(models.data.some((model) => model.id === MODEL));
});

if (simulated) {
  test("a stream joins to the answer without stream", async () => {
    assert.deepEqual(content(await stream(through, LONG)), content(await chat(through, LONG)));
  });

  test("a caller that leaves ends the work upstream", async () => {
    await simulator.reset();
    await simulator.configure({ speed: { tokens_per_second: 20 } });
    try {
      const messages = LONG;
      const chunks = await through.chat.completions.create({ model: MODEL, messages, stream: true });
      for await (const chunk of chunks) {
        assert.ok(chunk.id);
        break;
      }
      const entry = await simulator.waitFor((entry) => entry.verdict !== "open");
      assert.equal(entry.verdict, "client_left");
    } finally {
      await simulator.configure({ speed: null });
    }
  });

  test("a caller that waits no longer ends the work upstream", async () => {
    await simulator.reset();
    await simulator.configure({ speed: { tokens_per_second: 20 } });
    try {
      const signal = AbortSignal.timeout(300);
      await assert.rejects(
        through.chat.completions.create({ model: MODEL, messages: LONG }, { signal }),
      );
      const entry = await simulator.waitFor((entry) => entry.verdict !== "open");
      assert.equal(entry.verdict, "client_left");
    } finally {
      await simulator.configure({ speed: null });
    }
  });
}
