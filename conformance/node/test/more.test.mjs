// What a client has beside chat: embeddings, models, counts of tokens.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CHINESE, EMBEDDING_MODEL, HISTORY, MODEL, TEXTS } from "../support/conversations.mjs";
import { can, driver } from "../support/driver.mjs";
import { direct, kind, place, simulated, simulator } from "../support/target.mjs";

const through = driver.make(place);

if (can("embeddings")) {
  test("as many texts as a model takes are embedded", async () => {
    const { vectors, tokens } = await through.embed(TEXTS.slice(0, 10), EMBEDDING_MODEL);
    assert.deepEqual(vectors.map(({ length }) => length), Array(10).fill(1024));
    assert.ok(tokens > 0);
  });

  test("more texts than a model takes come back as one answer", async () => {
    if (kind !== "gateway") {
      // So says the service itself.
      await assert.rejects(through.embed(TEXTS, EMBEDDING_MODEL), (error) => {
        const { status, message } = driver.failure(error);
        assert.equal(status, 400);
        assert.match(message, /batch size is invalid/);
        return true;
      });
      return;
    }
    await simulator.reset();
    const { vectors, tokens } = await through.embed(TEXTS, EMBEDDING_MODEL);
    const entries = await simulator.journal();
    assert.equal(entries.length, 4);
    assert.equal(tokens, entries.reduce((sum, entry) => sum + entry.input_tokens, 0));
    const straight = driver.make(direct);
    const parts = [];
    for (let start = 0; start < TEXTS.length; start += 10) {
      const part = await straight.embed(TEXTS.slice(start, start + 10), EMBEDDING_MODEL);
      parts.push(...part.vectors);
    }
    assert.deepEqual(vectors, parts);
  });
}

if (can("models") && (driver.dialect === "openai" || kind === "gateway")) {
  // The service has no list of models in Anthropic's protocol; the gateway has.
  test("models are listed", async () => {
    assert.ok((await through.models()).includes(MODEL));
  });
}

if (can("count_tokens") && kind === "gateway") {
  // Nor has it this; the gateway estimates.
  test("tokens are counted before they are spent", async () => {
    const few = await through.countTokens(CHINESE, { model: MODEL });
    const more = await through.countTokens(HISTORY, { model: MODEL });
    assert.ok(few > 0 && more > few, `${few}, ${more}`);
    if (!simulated) return;
    const { usage } = await through.chat(HISTORY, { model: MODEL });
    assert.ok(Math.abs(more - usage.input) <= usage.input / 2, `${more}, ${usage.input}`);
  });
}
