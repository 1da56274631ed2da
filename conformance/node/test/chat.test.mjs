// What a caller gets from a chat, whichever client and whichever way.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";

import {
  BOTH_TOOLS,
  CHINESE,
  ERRANDS,
  FORECAST,
  HISTORY,
  LONG,
  MODEL,
  PERSON,
  PICTURES,
  SCHEMA,
  TOOLS,
  UNICODE,
  VISION_MODEL,
  aboutPicture,
  content,
  results,
} from "../support/conversations.mjs";
import { can, driver } from "../support/driver.mjs";
import { direct, place, simulated, simulator } from "../support/target.mjs";

// What the simulator counts: the least that a small one costs, and 1024 x 768 for what it cannot see.
const PICTURE_TOKENS = { data: 64, https: 768 };

const through = driver.make(place);
const straight = simulated ? driver.make(direct) : undefined;

before(async () => {
  // At once instead of at a model's speed.
  if (simulated) await simulator.configure({ speed: null });
});

for (const way of ["chat", "stream"]) {
  const ask = (client, messages, options = {}) =>
    client[way](messages, { model: MODEL, ...options });
  const isWhatUpstreamGave = async (answer, messages, options) =>
    assert.deepEqual(content(answer), content(await ask(straight, messages, options)));

  describe(way, () => {
    test("a prompt is answered", async () => {
      const answer = await ask(through, CHINESE);
      assert.ok(answer.texts[0].trim());
      assert.deepEqual(answer.finishReasons, ["stop"]);
      assert.equal(answer.usage.total, answer.usage.input + answer.usage.output);
      assert.ok(answer.usage.output > 0);
      if (simulated) await isWhatUpstreamGave(answer, CHINESE);
    });

    test("text of all planes survives", async () => {
      const answer = await ask(through, UNICODE);
      assert.ok(answer.texts[0].trim());
      assert.ok(!answer.texts[0].includes("\ufffd"));
      if (simulated) await isWhatUpstreamGave(answer, UNICODE);
    });

    test("a system message and history are accepted", async () => {
      const answer = await ask(through, HISTORY);
      assert.ok(answer.texts[0].trim());
      if (simulated) await isWhatUpstreamGave(answer, HISTORY);
    });

    test("a tool call makes a round trip", async () => {
      const first = await ask(through, FORECAST, { tools: TOOLS });
      assert.deepEqual(first.finishReasons, ["tool_calls"]);
      assert.equal(first.toolCalls.length, 1);
      const [call] = first.toolCalls;
      assert.ok(call.id);
      assert.equal(call.name, "get_weather");
      assert.equal(typeof JSON.parse(call.arguments).city, "string");
      if (simulated) await isWhatUpstreamGave(first, FORECAST, { tools: TOOLS });
      const turns = [...FORECAST, ...results(first, { get_weather: '{"sky":"晴","celsius":21}' })];
      const second = await ask(through, turns, { tools: TOOLS });
      assert.deepEqual(second.finishReasons, ["stop"]);
      assert.ok(second.texts[0].includes("21"));
    });

    test("parallel tool calls make a round trip", async () => {
      const options = { tools: BOTH_TOOLS, parallel_tool_calls: true };
      const first = await ask(through, ERRANDS, options);
      assert.deepEqual(first.finishReasons, ["tool_calls"]);
      const names = first.toolCalls.map(({ name }) => name);
      assert.deepEqual(names.sort(), ["get_time", "get_weather"]);
      assert.equal(new Set(first.toolCalls.map(({ id }) => id)).size, 2);
      if (simulated) await isWhatUpstreamGave(first, ERRANDS, options);
      const said = { get_weather: "晴，21 度", get_time: "10:45" };
      const second = await ask(through, [...ERRANDS, ...results(first, said)], options);
      assert.deepEqual(second.finishReasons, ["stop"]);
      assert.ok(second.texts[0].includes("21") && second.texts[0].includes("10:45"));
    });

    if (simulated) {
      test("without parallel calls one tool is called at a time", async () => {
        const options = { tools: BOTH_TOOLS, parallel_tool_calls: false };
        const { toolCalls } = await ask(through, ERRANDS, options);
        assert.deepEqual(toolCalls.map(({ name }) => name), ["get_weather"]);
      });
    }

    for (const [kind, picture] of Object.entries(PICTURES)) {
      test(`a picture is answered (${kind})`, async () => {
        const options = { model: VISION_MODEL };
        const answer = await ask(through, aboutPicture(picture), options);
        assert.ok(answer.texts[0].trim());
        assert.deepEqual(answer.finishReasons, ["stop"]);
        if (!simulated) return;
        // The simulator says what it was sent.
        assert.ok(answer.texts[0].startsWith("I received: image."), answer.texts[0]);
        const tokens = PICTURE_TOKENS[kind];
        const { input } = answer.usage;
        assert.ok(input > tokens && input < tokens + 100, `${input} tokens`);
        await isWhatUpstreamGave(answer, aboutPicture(picture), options);
      });
    }

    if (can("json_object")) {
      test("JSON mode gives JSON", async () => {
        const answer = await ask(through, PERSON, { response_format: { type: "json_object" } });
        assert.equal(typeof JSON.parse(answer.texts[0]), "object");
      });
    }

    test("a JSON schema is kept", async () => {
      const response_format = { type: "json_schema", json_schema: SCHEMA };
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
      const whole = (await through.chat(LONG, { model: MODEL, seed: 7 })).texts[0];
      const word = whole.match(/\w{2,}/g).at(-1);
      const answer = await ask(through, LONG, { stop: [word], seed: 7 });
      assert.ok(!answer.texts[0].includes(word));
      assert.deepEqual(answer.finishReasons, ["stop"]);
    });

    if (can("n")) {
      test("several answers come to one request", async () => {
        const answer = await ask(through, CHINESE, { n: 2, enable_thinking: false });
        assert.equal(answer.texts.length, 2);
        assert.ok(answer.texts.every((text) => text.trim()));
        assert.deepEqual(answer.finishReasons, ["stop", "stop"]);
      });
    }

    test("thinking can be switched off", async () => {
      const answer = await ask(through, CHINESE, { enable_thinking: false });
      assert.equal(answer.reasoning, "");
      assert.ok(answer.texts[0].trim());
    });

    if (simulated) {
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
  const options = { model: MODEL, enable_thinking: true };
  const answer = await through.stream(CHINESE, options);
  assert.ok(answer.reasoning.trim());
  assert.ok(answer.texts[0].trim());
  if (can("reasoning_tokens")) {
    assert.ok(answer.usage.reasoning > 0 && answer.usage.reasoning < answer.usage.output);
  }
  if (simulated) {
    assert.deepEqual(content(answer), content(await straight.stream(CHINESE, options)));
  }
});

if (simulated) {
  const slowly = async (body) => {
    await simulator.reset();
    await simulator.configure({ speed: { tokens_per_second: 20 } });
    try {
      await body();
      const entry = await simulator.waitFor((entry) => entry.verdict !== "open");
      assert.equal(entry.verdict, "client_left");
    } finally {
      await simulator.configure({ speed: null });
    }
  };

  test("a stream joins to the answer without stream", async () => {
    const options = { model: MODEL };
    const joined = await through.stream(LONG, options);
    assert.deepEqual(content(joined), content(await through.chat(LONG, options)));
  });

  test("a caller that leaves ends the work upstream", () =>
    slowly(() => through.abandon(LONG, { model: MODEL })));

  test("a caller that waits no longer ends the work upstream", () =>
    slowly(() =>
      assert.rejects(through.chat(LONG, { model: MODEL }, { signal: AbortSignal.timeout(300) })),
    ));
}
